"""Global state that blocks of code change for a while: it is as before when the last of them ends."""

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
    """How many blocks use a model at this moment, and the mode of each module before the first."""

    blocks: int
    modes: list[tuple[nn.Module, bool]]


_uses: WeakKeyDictionary[nn.Module, _Use] = WeakKeyDictionary()
_lock = threading.Lock()


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block.

    Blocks of one model may overlap, in one thread or in several: the last to end restores the mode that each module of
    the model had before the first began.

    Args:
        model: on any device.
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
    """Whether the CPU takes denormal numbers for 0 in this thread; torch cannot be asked."""
    return not torch.full((1,), torch.finfo(torch.float32).tiny).div(2).item()


_denormals = Held(flushes_denormals, torch.set_flush_denormal, of_thread=True)
_gradients = Held(torch.is_grad_enabled, torch.set_grad_enabled, of_thread=True)


@contextmanager
def flushing_denormals() -> Iterator[None]:
    """Let the CPU take denormal numbers for 0 inside the block, in this thread.

    The softmax of a confident model underflows to denormal numbers, with which a CPU multiplies matrices about three
    hundred times slower.
    """
    with _denormals(True):
        yield


@contextmanager
def without_gradients() -> Iterator[None]:
    """Compute no gradients inside the block, in this thread; unlike those of `torch.no_grad`, blocks may overlap."""
    with _gradients(False):
        yield
