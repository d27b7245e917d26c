"""Global state that blocks of code change: when the last block ends, the state is restored."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

Value = TypeVar("Value")


class Held(Generic[Value]):
    """A setting that blocks change, such as how much a library prints.

    Blocks may overlap: the first to begin stores the value, the last to end restores it.

    Args:
        read: function that returns the value.
        write: function that sets it.
        of_thread: whether each thread has a value of its own; otherwise the process has one.

    Example:
        >>> settings = {"level": 1}
        >>> level = Held(lambda: settings["level"], lambda value: settings.update(level=value))
        >>> with level(5), level(7):
        ...     print(settings["level"])
        7
        >>> settings["level"]
        1
    """

    def __init__(
        self, read: Callable[[], Value], write: Callable[[Value], object], of_thread: bool = False
    ) -> None:
        self._read, self._write = read, write
        self._lock = threading.Lock()
        self._use: Any = threading.local() if of_thread else SimpleNamespace()

    @contextmanager
    def __call__(self, value: Value) -> Iterator[None]:
        """Set the value inside the block."""
        use = self._use
        with self._lock:
            if not getattr(use, "blocks", 0):
                use.blocks, use.before = 0, self._read()
            use.blocks += 1
            self._write(value)
        try:
            yield
        finally:
            with self._lock:
                use.blocks -= 1
                if not use.blocks:
                    self._write(use.before)


@dataclass
class _Use:
    """Number of blocks that use a model now, and the mode of each of its modules before the first block."""

    blocks: int
    modes: list[tuple[nn.Module, bool]]


_uses: WeakKeyDictionary[nn.Module, _Use] = WeakKeyDictionary()
_lock = threading.Lock()


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode inside the block.

    Blocks of one model may overlap, in one thread or in several. The last to end restores the mode that each module had
    before the first began.

    Args:
        model: a model on any device.
    """
    with _lock:
        use = _uses.setdefault(model, _Use(0, [(module, module.training) for module in model.modules()]))
        use.blocks += 1
        if any(module.training for module in model.modules()):
            model.eval()
    try:
        yield
    finally:
        with _lock:
            use.blocks -= 1
            if not use.blocks:
                del _uses[model]
                for module, training in use.modes:
                    module.training = training


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restore the global random states of Python, NumPy and torch at the end of the block."""
    states = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def flushes_denormals() -> bool:
    """Whether the CPU treats denormal numbers as 0 in this thread; it is tried out, as torch has no function for it."""
    return not torch.full((1,), torch.finfo(torch.float32).tiny).div(2).item()


_denormals = Held(flushes_denormals, torch.set_flush_denormal, of_thread=True)
_gradients = Held(torch.is_grad_enabled, torch.set_grad_enabled, of_thread=True)


@contextmanager
def flushing_denormals() -> Iterator[None]:
    """Make the CPU treat denormal numbers as 0 inside the block, in this thread.

    The softmax of a confident model underflows to denormal numbers. A CPU multiplies matrices of such numbers about
    three hundred times slower.
    """
    with _denormals(True):
        yield


@contextmanager
def without_gradients() -> Iterator[None]:
    """Compute no gradients inside the block, in this thread. Unlike `torch.no_grad`, blocks may overlap."""
    with _gradients(False):
        yield
