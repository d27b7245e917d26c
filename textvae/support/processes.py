"""The processes of one call, as torchrun starts them, and the work that they share."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

import torch.distributed as distributed
from accelerate import PartialState

Item = TypeVar("Item")
Result = TypeVar("Result")


def join() -> None:
    """Become one of the processes that torchrun has started; alone, nothing happens."""
    PartialState()


def started() -> int:
    """How many processes torchrun has started, also before they have joined; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leave() -> None:
    """End what holds the processes together, when all work is done.

    Its threads end with the last reference to it, which a trainer holds: one that still runs while the interpreter
    ends may abort the process, and torchrun would report a run as failed that is whole.
    """
    gc.collect()
    PartialState().destroy_process_group()


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return _place()[0] == 0


def hidden_bar(show: bool | None) -> bool | None:
    """What a progress bar takes as ``disable``: there is one, the first process's.

    Args:
        show: None: only on a terminal.
    """
    if not is_first():
        return True
    return None if show is None else not show


def shared(items: Iterable[Item], work: Callable[[Item], Result]) -> Iterator[Result]:
    """What ``work`` makes of each item, in their order, the same on every process.

    Each item is worked on by one process. All must ask for all results, of the same items.

    Args:
        items: as many as there are; they are read by every process.
        work: what is done with one; its result is pickled, so tensors of it belong on the CPU.

    Example:
        >>> list(shared(["a", "b"], str.upper))
        ['A', 'B']
    """
    rank, processes = _place()
    waiting = iter(items)
    while turn := list(islice(waiting, processes)):
        yield from _gathered([work(item) for item in turn[rank : rank + 1]])


def _place() -> tuple[int, int]:
    """The number of this process, from 0, and of all."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def _gathered(own: list[Result]) -> list[Result]:
    """The results of all processes in their order."""
    _, processes = _place()
    if processes == 1:
        return own
    found: list[list[Result]] = [[]] * processes
    distributed.all_gather_object(found, own)
    return [result for part in found for result in part]
