"""Documents as bags of words: how often each word occurs in a document."""

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
    """The numbers of the words in a document, and how often each occurs.

    Words outside the vocabulary are left out. A document without any word of the vocabulary is kept, as an empty one.

    Args:
        tokenizer: the vocabulary; the argument has the same name as in other fields.

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
        """Make the field with a vocabulary."""
        return cls(tokenizer)

    @classmethod
    def learn(cls, rows: Dataset | IterableDataset, options: FieldOptions) -> Self:
        """Make the field and learn its vocabulary from its column, see `Vocabulary.learn`."""
        (column,) = cls.columns
        tokenizer = None
        if options.counts.units == "tokens":
            tokenizer = train_tokenizer(texts_of(rows, column), **options.learning())
        return cls(Vocabulary.learn(_texts(rows, column), options.counts, tokenizer))

    @classmethod
    def load(cls, run: str) -> Self:
        """Load the vocabulary of a run."""
        return cls(Vocabulary.load(run, lambda: load_tokenizer(run)))

    def save(self, folder: Path) -> None:
        """Write the vocabulary and, if its units are tokens, the tokenizer."""
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
        """The columns ``words`` (numbers, ascending), ``counts`` and ``unseen`` (number of other words).

        Other words are those that are neither in the vocabulary nor stop words.
        """
        (column,) = self.columns
        found = [self.tokenizer.counts(text) for text in rows[column]]
        return {
            "words": [list(counts) for counts, _ in found],
            "counts": [list(counts.values()) for counts, _ in found],
            "unseen": [unseen for _, unseen in found],
        }

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """``words``, ``counts`` and ``mask`` (B, T), ``lengths`` (the sums of the counts) and ``unseen`` (B,)."""
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
    """The texts of a column (for a stream, the first million), read in batches because that is much faster."""
    chosen = rows.take(STREAMED) if isinstance(rows, IterableDataset) else rows
    for batch in chosen.select_columns([column]).iter(1_000):
        yield from batch[column]


def _flat(examples: Sequence[Mapping[str, Any]], column: str) -> Tensor:
    """The numbers of a column, all examples concatenated."""
    return torch.tensor([number for example in examples for number in example[column]], dtype=torch.long)
