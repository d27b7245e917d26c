"""Randomness that is passed, for libraries that know only the global random state."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()


def generator_of(seed: int | None) -> torch.Generator | None:
    """A generator on the CPU with a seed; None without one, which stands for the global random state."""
    return None if seed is None else torch.Generator().manual_seed(seed)


@contextmanager
def seeded(generator: torch.Generator | None) -> Iterator[None]:
    """The global random state drawn from ``generator`` inside the block, and as before afterwards.

    One block at a time holds the state, so that two threads do not draw each other's numbers.

    Args:
        generator: None leaves the global random state as it is.
    """
    if generator is None:
        yield
        return
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    with _lock, torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
