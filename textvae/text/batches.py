"""Ids of tokens become tensors, and examples of like length are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class Batch(dict[str, Tensor]):
    """A batch of B examples: tensors by the names of the model's arguments, each with B rows.

    It is a dict, so that ``model(**batch)`` works and every data loader can move it to a device; ``batch.inputs`` is
    ``batch["inputs"]``.

    Keys of text:
        inputs: what the decoder reads, BOS x_1 … x_{n-1}, ids of shape (B, T).
        targets: what the decoder predicts and the encoder reads, x_1 … x_{n-1} EOS, ids of shape (B, T).
        mask: True on real tokens, shape (B, T).
        lengths: number of real tokens of each sentence, EOS counted and BOS not, shape (B,).
        labels: the class of each sentence, -1 where it is not known, shape (B,).
        source: the sentence to translate, with EOS, ids of shape (B, S).
        source_mask: True on its real tokens, shape (B, S).

    Raises:
        ValueError: if two tensors have different numbers of rows, if a mask is not boolean, or if tensors of tokens
            and their masks differ in shape.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(tensors)
        if not self:
            raise ValueError("expected one tensor or more, got none")
        if len({len(tensor) for tensor in self.values()}) > 1:
            found = ", ".join(f"{name} of {tuple(tensor.shape)}" for name, tensor in self.items())
            raise ValueError(f"expected tensors with one number of rows, got {found}")
        for names in (("inputs", "targets", "mask"), ("source", "source_mask")):
            self._check_shapes([name for name in names if name in self])
        for name in self:
            if name.endswith("mask") and self[name].dtype != torch.bool:
                raise ValueError(f"expected a boolean {name}, got {self[name].dtype}")

    def __getattr__(self, name: str) -> Tensor:
        """The tensor of a name."""
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
        """Tokens that are predicted; of what has none, the examples."""
        return int(self["lengths"].sum()) if "lengths" in self else self.size

    @property
    def width(self) -> int:
        """Tokens that are computed, pads counted; of what has none, the examples."""
        return self["inputs"].numel() if "inputs" in self else self.size

    def to(self, device: torch.device | str, **options: Any) -> Batch:
        """The same batch on ``device``."""
        return Batch({name: tensor.to(device, **options) for name, tensor in self.items()})

    def _check_shapes(self, names: Sequence[str]) -> None:
        shapes = {name: tuple(self[name].shape) for name in names}
        if len(set(shapes.values())) > 1:
            found = " and ".join(map(str, shapes.values()))
            raise ValueError(f"expected {' and '.join(names)} of one shape, got {found}")


def padded(rows: Sequence[Sequence[Any]], pad_id: int) -> tuple[Tensor, Tensor]:
    """The rows of ids as one tensor (B, T), and a mask (B, T), True on what is no pad."""
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    ids = torch.full(mask.shape, pad_id)
    ids[mask] = torch.tensor([token for row in rows for token in row])
    return ids, mask
