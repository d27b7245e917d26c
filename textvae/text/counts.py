"""Documents as bags of words: how often each has which word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from datasets import Dataset, IterableDataset
from torch import Tensor

from textvae.support.files import replacing_files_in
from textvae.text.fields import STREAMED, Field, FieldOptions, texts_of
from textvae.text.tokenizer import load_tokenizer, train_tokenizer
from textvae.text.vocabulary import Vocabulary


class CountsField(Field):
    """The numbers of the words of a document, and how often it has each.

    Words outside the vocabulary are left out. A document without a word of it stays, as an empty one.

    Args:
        tokenizer: the vocabulary, under the name that other fields have for what splits their text.

    Example:
        >>> from textvae.text.vocabulary import CountOptions
        >>> field = CountsField(Vocabulary({"bank": 2, "dog": 1}, frozenset(), 3, CountOptions(units="words")))
        >>> rows = field.prepare({"text": ["Dog, bank, dog!", "a cat"]})
        >>> rows["words"], rows["counts"], rows["unseen"]
        ([[0, 1], []], [[1, 2], []], [0, 1])
        >>> batch = field.collate([{"words": [0, 1], "counts": [1, 2], "unseen": 0}])
        >>> batch["words"], batch["counts"]
        (tensor([[0, 1]]), tensor([[1., 2.]]))
    """

    columns = ("text",)

    def __init__(self, tokenizer: Vocabulary) -> None:
        self.tokenizer = tokenizer

    @classmethod
    def of(cls, tokenizer: Vocabulary) -> Self:
        """The field of a vocabulary."""
        return cls(tokenizer)

    @classmethod
    def learn(cls, rows: Dataset | IterableDataset, options: FieldOptions) -> Self:
        """The field with a vocabulary that is learnt from its column, see `Vocabulary.learn`."""
        (column,) = cls.columns
        tokenizer = None
        if options.counts.units == "tokens":
            tokenizer = train_tokenizer(texts_of(rows, column), **options.learning())
        return cls(Vocabulary.learn(_texts(rows, column), options.counts, tokenizer))

    @classmethod
    def load(cls, run: str) -> Self:
        """The field with the vocabulary in a run."""
        return cls(Vocabulary.load(run, lambda: load_tokenizer(run)))

    def save(self, folder: Path) -> None:
        """Write the vocabulary and, if it is one of tokens, the tokenizer."""
        if self.tokenizer.tokenizer is not None:
            with replacing_files_in(folder, "tokenizer.json") as partial:
                self.tokenizer.tokenizer.save_pretrained(partial)
        self.tokenizer.save(folder)

    def sizes(self) -> dict[str, Any]:
        """The size of the vocabulary."""
        return {"vocab_size": len(self.tokenizer)}

    def agrees(self, other: Field) -> bool:
        """Whether the other field has the same vocabulary."""
        return isinstance(other, CountsField) and self.tokenizer == other.tokenizer

    def prepare(self, rows: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """The columns ``words``, their numbers in rising order, ``counts``, and ``unseen``, how many were left out."""
        (column,) = self.columns
        found = [self.tokenizer.counts(text) for text in rows[column]]
        return {
            "words": [list(counts) for counts, _ in found],
            "counts": [list(counts.values()) for counts, _ in found],
            "unseen": [unseen for _, unseen in found],
        }

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """``words``, ``counts`` and ``mask`` (B, T), ``lengths``, the words that are counted, and ``unseen`` (B,)."""
        different = torch.tensor([len(example["words"]) for example in examples])
        mask = torch.arange(max(1, int(different.max()))) < different[:, None]
        words, counts = torch.zeros(mask.shape, dtype=torch.long), torch.zeros(mask.shape)
        words[mask] = _flat(examples, "words")
        counts[mask] = _flat(examples, "counts").to(counts.dtype)
        return {
            "words": words,
            "counts": counts,
            "mask": mask,
            "lengths": counts.sum(1).long(),
            "unseen": torch.tensor([example["unseen"] for example in examples]),
        }


def _texts(rows: Dataset | IterableDataset, column: str) -> Iterator[str]:
    """The texts of a column, of a stream the first million; read in batches, as row by row takes far longer."""
    chosen = rows.take(STREAMED) if isinstance(rows, IterableDataset) else rows
    for batch in chosen.select_columns([column]).iter(1_000):
        yield from batch[column]


def _flat(examples: Sequence[Mapping[str, Any]], column: str) -> Tensor:
    """The numbers of a column, one example behind the other."""
    return torch.tensor([number for example in examples for number in example[column]], dtype=torch.long)
