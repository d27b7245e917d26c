"""Checks for NaN and infinity."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that hold NaN or infinity, in order; one pass and one read from the device.

    Example:
        >>> not_finite({"a": torch.zeros(2), "b": torch.tensor([0.0, float("nan")]), "c": torch.tensor(7)})
        ['b']
    """
    floating = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    if not floating:
        return []
    with torch.no_grad():
        finite = torch.stack([torch.isfinite(tensor).all() for tensor in floating.values()]).tolist()
    return [name for name, is_finite in zip(floating, finite, strict=True) if not is_finite]


class FiniteWatch:
    """Remembers on the device whether a loss was NaN or infinite, so that no step waits for the result."""

    def __init__(self) -> None:
        self._faults: Tensor | None = None

    def observe(self, loss: Tensor) -> None:
        """Add the loss of a batch; nothing is read from the device."""
        fault = (~torch.isfinite(loss.detach())).any().float()
        self._faults = fault if self._faults is None else torch.maximum(self._faults, fault)

    @property
    def faults(self) -> Tensor | None:
        """A scalar on the device: 1 if a loss was NaN or infinite, otherwise 0; None before the first loss."""
        return self._faults
