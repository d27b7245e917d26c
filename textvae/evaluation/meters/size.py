"""The size of the evaluated data."""

from __future__ import annotations

from typing import Any, Self

import torch

from textvae.evaluation.meters.sums import Sums
from textvae.evaluation.quantities import Description, Setting
from textvae.inference.bounds import Bounds
from textvae.text.batches import Batch


class Size(Sums):
    """Numbers of tokens and sentences, and the size of the latent.

    Args:
        latent_size: Z.
    """

    describes = (
        Description("tokens"),
        Description("sentences"),
        Description("latent_size", shown=False),
    )

    def __init__(self, latent_size: int) -> None:
        super().__init__()
        self.latent_size = latent_size

    @classmethod
    def of(cls, setting: Setting) -> Self:
        """For every model."""
        return cls(setting.model.config.latent_size)

    def measure(
        self, model: Any, batch: Batch, found: Bounds, number: int, generator: torch.Generator
    ) -> tuple[float, ...]:
        """The numbers of tokens and sentences of a batch."""
        return batch.tokens, batch.size

    def results(self) -> dict[str, tuple[Any, str]]:
        """The numbers of tokens and sentences, and Z."""
        tokens, sentences = map(int, self.totals)
        return {
            "tokens": (tokens, "with end of sentence and unknown words, without beginning of sentence"),
            "sentences": (sentences, ""),
            "latent_size": (self.latent_size, ""),
        }
