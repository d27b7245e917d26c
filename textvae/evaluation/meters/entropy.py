"""How far a model is from the best possible one, where that is known."""

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
    """The exact entropy of the sentences, and by how much the bound lies above it.

    Args:
        entropy: mean exact -log p(x) of the sentences, in nats.
    """

    describes = (
        Description("entropy", PER_SENTENCE),
        Description("gap", PERCENT, decimals=1),
    )

    def __init__(self, entropy: float) -> None:
        super().__init__()
        self.entropy = entropy

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """For a model of whole texts, on rows that hold their exact log-probability, as the embedded corpus's do."""
        if setting.has_condition or setting.cut or not isinstance(setting.rows, Dataset):
            return None
        entropy = exact_entropy(setting.rows)
        return None if entropy is None else cls(entropy)

    def measure(
        self, model: Any, batch: Batch, found: Bounds, number: int, generator: torch.Generator
    ) -> tuple[float, ...]:
        """The bound of all sentences together, and how many they are."""
        return float(found.iw_nll.cpu().double().sum()), batch.size

    def results(self) -> dict[str, tuple[Any, str]]:
        """Entropy and gap."""
        total, sentences = self.totals
        gap = total / sentences / self.entropy - 1
        return {
            "entropy": (self.entropy, "exact, of these sentences under the grammar"),
            "gap": (gap, "how far iw_nll is above the entropy, the best there is"),
        }


def exact_entropy(rows: Dataset) -> float | None:
    """Mean exact -log p(x) of a split in nats per sentence; None if its rows do not hold it."""
    if "log_prob" not in rows.column_names:
        return None
    return -math.fsum(rows["log_prob"]) / len(rows)
