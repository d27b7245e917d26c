"""Evaluation mode without gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from textvae.support.held import evaluation_mode, without_gradients


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode and compute no gradients inside the block; see `evaluation_mode`.

    Args:
        model: a model on any device.
    """
    with evaluation_mode(model), without_gradients():
        yield
