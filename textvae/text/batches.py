"""Batches: tensors of token ids with their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class Batch(dict[str, Tensor]):
    """A batch of B examples: a dict from the names of the model's arguments to tensors with B rows each.

    Because it is a dict, ``model(**batch)`` works, and every data loader can move it to a device. ``batch.inputs`` is
    ``batch["inputs"]``.

    Keys of batches of text:
        inputs: what the decoder reads, BOS x_1 … x_{n-1}, ids of shape (B, T).
        targets: what the decoder predicts and the encoder reads, x_1 … x_{n-1} EOS, ids of shape (B, T).
        mask: True on real tokens, shape (B, T).
        lengths: number of real tokens of each sentence, including EOS but not BOS, shape (B,).
        labels: class of each sentence, -1 if it is not known, shape (B,).
        source: the sentences to translate, with EOS, ids of shape (B, S).
        source_mask: True on real tokens of the source, shape (B, S).

    Raises:
        ValueError: if two tensors have different numbers of rows, a mask is not boolean, or ids and their mask have
            different shapes.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(tensors)
        if not self:
            raise ValueError("expected at least one tensor, got none")
        if len({len(tensor) for tensor in self.values()}) > 1:
            found = ", ".join(f"{name} of {tuple(tensor.shape)}" for name, tensor in self.items())
            raise ValueError(f"expected tensors with the same number of rows, got {found}")
        for names in (("inputs", "targets", "mask"), ("source", "source_mask")):
            self._check_shapes([name for name in names if name in self])
        for name in self:
            if name.endswith("mask") and self[name].dtype != torch.bool:
                raise ValueError(f"expected a boolean {name}, got {self[name].dtype}")

    def __getattr__(self, name: str) -> Tensor:
        """The tensor with this name."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"a batch of {', '.join(self)} has no {name}") from None

    @property
    def size(self) -> int:
        """Number of examples, B."""
        return len(next(iter(self.values())))

    @property
    def tokens(self) -> int:
        """Number of tokens that the model predicts; the number of examples if the batch holds no tokens."""
        return int(self["lengths"].sum()) if "lengths" in self else self.size

    @property
    def width(self) -> int:
        """Number of tokens including pads; the number of examples if the batch holds no tokens."""
        return self["inputs"].numel() if "inputs" in self else self.size

    def to(self, device: torch.device | str, **options: Any) -> Batch:
        """The same batch on ``device``."""
        return Batch({name: tensor.to(device, **options) for name, tensor in self.items()})

    def _check_shapes(self, names: Sequence[str]) -> None:
        shapes = {name: tuple(self[name].shape) for name in names}
        if len(set(shapes.values())) > 1:
            found = " and ".join(map(str, shapes.values()))
            raise ValueError(f"expected {' and '.join(names)} of the same shape, got {found}")


def padded(rows: Sequence[Sequence[Any]], pad_id: int) -> tuple[Tensor, Tensor]:
    """The rows of ids as one padded tensor (B, T), and a mask (B, T), True where there is no pad."""
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    ids = torch.full(mask.shape, pad_id)
    ids[mask] = torch.tensor([token for row in rows for token in row])
    return ids, mask
