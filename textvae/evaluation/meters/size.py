"""The size of the evaluated data."""

from __future__ import annotations

from typing import Any, Self

import torch

from textvae.evaluation.meters.sums import Sums
from textvae.evaluation.quantities import PERCENT, Description, Setting
from textvae.inference.bounds import Bounds
from textvae.support.options import Count, validated
from textvae.text.batches import Batch


@validated
class Size(Sums):
    """Numbers of tokens and sentences, and the size of the latent.

    Args:
        latent_size: Z.
    """

    describes = (
        Description("tokens"),
        Description("sentences"),
        Description("unknown_tokens", PERCENT, 1, shown=False),
        Description("latent_size", shown=False),
    )

    def __init__(self, latent_size: Count) -> None:
        super().__init__()
        self.latent_size = latent_size

    @classmethod
    def of(cls, setting: Setting) -> Self:
        """For every model."""
        return cls(setting.model.config.latent_size)

    def measure(
        self, model: Any, batch: Batch, found: Bounds, number: int, generator: torch.Generator
    ) -> tuple[float, ...]:
        """The numbers of tokens, sentences and UNK tokens of a batch."""
        unknown = batch["targets"] == model.config.unk_token_id if "targets" in batch else torch.zeros(1)
        return batch.tokens, batch.size, float(unknown.sum())

    def results(self) -> dict[str, tuple[Any, str]]:
        """The numbers of tokens and sentences, and Z."""
        tokens, sentences, unknown = map(int, self.totals)
        return {
            "tokens": (tokens, "with end of sentence and unknown words, without beginning of sentence"),
            "sentences": (sentences, ""),
            "unknown_tokens": (unknown / tokens, "share of the tokens that are <unk>"),
            "latent_size": (self.latent_size, ""),
        }
