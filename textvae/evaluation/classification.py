"""How well a model with classes classifies."""

from __future__ import annotations

from typing import Any

from textvae.models.language import TextVAEModel
from textvae.text.batches import Batch


class Classification:
    """Accuracy of the likeliest class under q(y | x), of the sentences whose label is known."""

    def __init__(self) -> None:
        self.right = self.labelled = 0

    def update(self, model: TextVAEModel, batch: Batch, found: dict[str, Any]) -> None:
        """Take in what `bounds` found of a batch."""
        if (labels := batch.get("labels")) is None:
            return
        known = labels >= 0
        right = found["posterior"].probabilities.argmax(-1) == labels
        self.right += int((right & known).sum())
        self.labelled += int(known.sum())

    def quantities(self) -> dict[str, Any]:
        """The accuracy, if there are labels."""
        return {"accuracy": self.right / self.labelled} if self.labelled else {}
