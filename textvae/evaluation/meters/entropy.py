"""The gap between a model and the best possible one, if the entropy of the data is known."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from datasets import Dataset

from textvae.evaluation.meters.sums import Sums
from textvae.evaluation.quantities import PER_SENTENCE, PERCENT, Description, Setting
from textvae.inference.bounds import Bounds
from textvae.text.batches import Batch


class Gap(Sums):
    """The exact entropy of the sentences, and how far the bound is above it.

    Args:
        entropy: mean exact -log p(x) of the sentences, in nats.
    """

    describes = (
        Description("entropy", PER_SENTENCE),
        Description("gap", PERCENT, decimals=1, greater_is_better=False),
    )

    def __init__(self, entropy: float) -> None:
        super().__init__()
        self.entropy = entropy

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """For unconditional models and uncut rows with a known log-probability, as in the embedded corpus."""
        if setting.has_condition or setting.cut or not isinstance(setting.rows, Dataset):
            return None
        entropy = exact_entropy(setting.rows)
        return None if entropy is None else cls(entropy)

    def measure(
        self, model: Any, batch: Batch, found: Bounds, number: int, generator: torch.Generator
    ) -> tuple[float, ...]:
        """The sum of the bounds, and the number of sentences."""
        return float(found.iw_nll.cpu().double().sum()), batch.size

    def results(self) -> dict[str, tuple[Any, str]]:
        """The entropy and the gap."""
        total, sentences = self.totals
        gap = total / sentences / self.entropy - 1
        return {
            "entropy": (self.entropy, "exact, for these sentences under the grammar"),
            "gap": (gap, "how far iw_nll is above the entropy, the best possible value"),
        }


def exact_entropy(rows: Dataset) -> float | None:
    """Mean exact -log p(x) of a split in nats per sentence; None if it is not known."""
    if "log_prob" not in rows.column_names:
        return None
    return -math.fsum(rows["log_prob"]) / len(rows)
