"""Evaluation mode that several threads may share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import nn


@dataclass
class _Use:
    """How many blocks use a model at this moment, and the mode that it had before the first."""

    blocks: int
    training: bool


_uses: WeakKeyDictionary[nn.Module, _Use] = WeakKeyDictionary()
_lock = threading.Lock()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside the block.

    Blocks of one model may overlap, in one thread or in several: the last to end restores the mode that the model had
    before the first began.

    Args:
        model: on any device.
    """
    with _lock:
        use = _uses.setdefault(model, _Use(0, model.training))
        use.blocks += 1
        if model.training:
            model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        with _lock:
            use.blocks -= 1
            if not use.blocks:
                del _uses[model]
                if use.training:
                    model.train()
