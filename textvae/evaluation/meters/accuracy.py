"""Classification accuracy of a model with classes."""

from __future__ import annotations

from typing import Any, Self

import torch

from textvae.evaluation.meters.sums import Sums
from textvae.evaluation.quantities import PERCENT, Description, Setting
from textvae.inference.bounds import Bounds
from textvae.text.batches import Batch
from textvae.text.fields import LabelField


class Accuracy(Sums):
    """How often the likeliest class under q(y | x) is the label, over the sentences with a known label."""

    describes = (
        Description(
            "accuracy", PERCENT, decimals=1, progress="accuracy", panel="accuracy", greater_is_better=True
        ),
    )

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """For models that read labels."""
        return cls() if LabelField in setting.model.field_kinds(setting.model.config) else None

    def measure(
        self, model: Any, batch: Batch, found: Bounds, number: int, generator: torch.Generator
    ) -> tuple[float, ...]:
        """The number of correct classes, and of known labels."""
        if (labels := batch.get("labels")) is None:
            return 0, 0
        known = labels >= 0
        # The posterior's probabilities would be 1 for a known label.
        right = found.reading.posterior.log_probabilities.argmax(-1) == labels
        return int((right & known).sum()), int(known.sum())

    def results(self) -> dict[str, tuple[Any, str]]:
        """The accuracy, if any label is known."""
        right, labelled = self.totals
        how = f"the likeliest class under q(y | x) is the label; {labelled:,} labelled sentences"
        return {"accuracy": (right / labelled, how)} if labelled else {}
