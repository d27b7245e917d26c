"""Bits per character, which are comparable between vocabularies."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from datasets import Dataset
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerBase

from textvae.evaluation.meters.sums import Sums
from textvae.evaluation.quantities import Description, Setting
from textvae.inference.bounds import Bounds
from textvae.support.options import Count, validated
from textvae.text.batches import Batch
from textvae.text.fields import TextField


@validated
class BitsPerCharacter(Sums):
    """The bound on -log p(x) in bits, divided by the number of characters.

    Args:
        characters: number of characters of all texts; the end of each text counts as one.
    """

    describes = (
        Description("bits_per_character", decimals=3, greater_is_better=False),
        Description("characters", shown=False),
    )

    def __init__(self, characters: Count) -> None:
        super().__init__()
        self.characters = characters

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """For uncut texts that the tokens spell exactly, so that log p(tokens) is log p(characters)."""
        text = setting.fields.of_kind(TextField) if setting.fields else None
        if text is None or setting.cut or not isinstance(setting.rows, Dataset):
            return None
        if not spells_exactly(text.tokenizer):
            return None
        (column,) = text.columns
        return cls(sum(len(written) + 1 for written in setting.rows[column]))

    def measure(
        self, model: Any, batch: Batch, found: Bounds, number: int, generator: torch.Generator
    ) -> tuple[float, ...]:
        """The sum of the bounds of all sentences."""
        return (float(found.iw_nll.cpu().double().sum()),)

    def results(self) -> dict[str, tuple[Any, str]]:
        """The bits per character, and the number of characters."""
        bits = self.totals[0] / math.log(2) / self.characters
        return {
            "bits_per_character": (bits, f"iw_nll / {self.characters:,} characters, ends counted"),
            "characters": (self.characters, ""),
        }


def spells_exactly(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether tokens can be decoded to exactly the text: pieces can; words and lower-cased pieces cannot."""
    backend = tokenizer.backend_tokenizer
    if isinstance(backend.model, WordLevel):
        return False
    return backend.normalizer is None or backend.normalizer.normalize_str("A") != "a"
