"""Processes that torchrun started, and the work that they share."""

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
    """Join the processes that torchrun started; does nothing in a single process."""
    PartialState()


def started() -> int:
    """How many processes torchrun has started, also before they have joined; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leave() -> None:
    """Destroy the process group, when all work is done.

    Its threads end with the last reference to it, which a trainer holds. A thread that still runs when the interpreter
    exits may abort the process, and torchrun would report a complete run as failed.
    """
    gc.collect()
    PartialState().destroy_process_group()


def is_first() -> bool:
    """Whether this is the process that writes and prints."""
    return _place()[0] == 0


def hidden_bar(show: bool | None) -> bool | None:
    """The argument ``disable`` of a progress bar; only the first process shows a bar.

    Args:
        show: whether to show the bar; None: only on a terminal.
    """
    if not is_first():
        return True
    return None if show is None else not show


def shared(items: Iterable[Item], work: Callable[[Item], Result]) -> Iterator[Result]:
    """The result of ``work`` for each item, in order, the same in every process.

    One process works on each item. All processes must pass the same items and read all results.

    Args:
        items: any number of items; every process reads all of them.
        work: function of one item; its result is pickled, so its tensors should be on the CPU.

    Example:
        >>> list(shared(["a", "b"], str.upper))
        ['A', 'B']
    """
    rank, processes = _place()
    waiting = iter(items)
    while turn := list(islice(waiting, processes)):
        yield from _gathered([work(item) for item in turn[rank : rank + 1]])


def _place() -> tuple[int, int]:
    """The rank of this process, and the number of processes."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def _gathered(own: list[Result]) -> list[Result]:
    """The results of all processes, in order of rank."""
    _, processes = _place()
    if processes == 1:
        return own
    found: list[list[Result]] = [[]] * processes
    distributed.all_gather_object(found, own)
    return [result for part in found for result in part]
