"""Meters that look at the posterior means of a random sample of texts."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from textvae.evaluation.quantities import Meter, Setting
from textvae.models.base import VAEModel
from textvae.text.fields import Fields

SAMPLE = 2_000
"""Texts that are looked at, a random sample if there are more."""

FEWEST = 100
"""With fewer texts the results would be chance."""


class Sampled(Meter):
    """Reads a random sample of a split after all batches were measured.

    Args:
        model: in evaluation mode.
        fields: the model's fields.
        rows: the split, with a column text.
        batch_size: texts per batch.
        seed: seeds the sample.
    """

    def __init__(self, model: VAEModel, fields: Fields, rows: Dataset, batch_size: int, seed: int) -> None:
        self.model, self.fields, self.batch_size, self.seed = model, fields, batch_size, seed
        chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:SAMPLE])
        self.rows = rows.select(chosen)

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """For models with a latent and without a condition, on at least `FEWEST` texts that are not a stream."""
        rows, fields = setting.rows, setting.fields
        if fields is None or not setting.model.has_latent or setting.has_condition:
            return None
        if not isinstance(rows, Dataset) or "text" not in rows.column_names or len(rows) < FEWEST:
            return None
        return cls(setting.model, fields, rows, setting.batch_size, setting.seed)

    def texts(self) -> list[str]:
        """The n texts of the sample."""
        return self.rows["text"][:]

    def means(self) -> NDArray[Any]:
        """Their posterior means, (n, Z); a model with classes is not told the labels."""
        read = {name: self.rows[name][:] for field in self.fields for name in field.columns}
        prepared = {name: values for field in self.fields for name, values in field.prepare(read).items()}
        examples = [dict(zip(prepared, row, strict=True)) for row in zip(*prepared.values(), strict=True)]
        parts = [
            examples[start : start + self.batch_size] for start in range(0, len(examples), self.batch_size)
        ]
        return np.concatenate([self._means(self.fields.collate(part)) for part in parts])

    def _means(self, batch: Any) -> NDArray[Any]:
        given = {name: tensor.to(self.model.device) for name, tensor in batch.items()}
        return self.model.read(**given).posterior.mean.cpu().double().numpy()
