"""Explicit generators for libraries that use only the global random state."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()


def generator_of(seed: int | None) -> torch.Generator | None:
    """A CPU generator with this seed; None, which means the global random state, if there is no seed."""
    return None if seed is None else torch.Generator().manual_seed(seed)


@contextmanager
def seeded(generator: torch.Generator | None) -> Iterator[None]:
    """Seed the global random state from ``generator`` inside the block, and restore it afterwards.

    Only one block at a time holds the state, so that threads do not draw each other's numbers.

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
