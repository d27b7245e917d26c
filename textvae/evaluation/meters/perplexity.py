"""The perplexity per token."""

from __future__ import annotations

from typing import Any, Self

import torch

from textvae.evaluation.meters.characters import spells_exactly
from textvae.evaluation.meters.sums import Sums, exp
from textvae.evaluation.quantities import Description, Setting
from textvae.inference.bounds import Bounds
from textvae.text.batches import Batch
from textvae.text.fields import TextField


class Perplexity(Sums):
    """exp(total iw_nll / tokens).

    Args:
        pieces: whether the tokens are pieces of words.
    """

    describes = (Description("ppl", progress="PPL", greater_is_better=False),)

    def __init__(self, pieces: bool) -> None:
        super().__init__()
        self.pieces = pieces

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """For models that write text."""
        if not any(issubclass(kind, TextField) for kind in setting.model.field_kinds(setting.model.config)):
            return None
        tokenizer = setting.fields.tokenizer if setting.fields else None
        return cls(tokenizer is not None and spells_exactly(tokenizer))

    def measure(
        self, model: Any, batch: Batch, found: Bounds, number: int, generator: torch.Generator
    ) -> tuple[float, ...]:
        """The sum of the bounds, and the number of tokens."""
        return float(found.iw_nll.cpu().double().sum()), batch.tokens

    def results(self) -> dict[str, tuple[Any, str]]:
        """The perplexity."""
        total, tokens = self.totals
        limits = (
            "not comparable with word perplexities" if self.pieces else "comparable only for the same tokens"
        )
        return {"ppl": (exp(total / tokens), f"exp(nats per {'sub-word ' * self.pieces}token); {limits}")}
