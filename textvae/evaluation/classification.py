"""How well a model with classes classifies."""

from __future__ import annotations

from typing import Any

from textvae.models.language import TextVAEModel
from textvae.text.batches import Batch


class Classification:
    """Accuracy of the likeliest class under q(y | x), of the sentences whose label is known."""

    def __init__(self) -> None:
        self.right = self.labelled = 0

    def measure(
        self, model: TextVAEModel, batch: Batch, found: dict[str, Any], number: int
    ) -> tuple[int, int]:
        """How many classes are right, of how many that are known."""
        if (labels := batch.get("labels")) is None:
            return 0, 0
        known = labels >= 0
        right = found["posterior"].probabilities.argmax(-1) == labels
        return int((right & known).sum()), int(known.sum())

    def add(self, measured: tuple[int, int]) -> None:
        """Take in what was measured of the next batch."""
        self.right += measured[0]
        self.labelled += measured[1]

    def quantities(self) -> dict[str, Any]:
        """The accuracy, if there are labels."""
        return {"accuracy": self.right / self.labelled} if self.labelled else {}
