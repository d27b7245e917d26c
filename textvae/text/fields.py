"""Fields: what a model reads from a corpus, from strings in columns to tensors in a batch.

A kind of model names its fields. Each field reads columns of the corpus, prepares them once (token ids, cached by
`datasets`), turns them into tensors, and gives the model's configuration the sizes that it determines. So neither the
trainer nor the evaluation needs to know what a model reads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from annotated_types import Ge
from datasets import ClassLabel, Dataset, IterableDataset
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedTokenizerBase
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from textvae.support.errors import UserError
from textvae.support.files import replacing_files_in
from textvae.support.options import Size, check_fields
from textvae.text.batches import Batch, padded
from textvae.text.tokenizer import (
    Coverage,
    Texts,
    VocabularySize,
    load_tokenizer,
    train_tokenizer,
    train_tokenizers,
)
from textvae.text.vocabulary import CountOptions

STREAMED = 1_000_000
"""Number of texts from which a tokenizer is learnt if the corpus is a stream, which may have no end."""

Length = Annotated[int, Ge(2)]
"""A number of tokens including EOS, so at least one other token fits."""

READ = 1_000
"""Texts that are read at once: reading them one by one takes a hundred times as long."""


@dataclass(frozen=True)
class FieldOptions:
    """The ``tokenizer`` section of a recipe: how text becomes tokens, and where long texts are cut.

    Attributes:
        kind: "sentencepiece" for raw text, "words" for text that is already tokenised.
        vocabulary_size: number of tokens; None: all words, or 8,000 pieces.
        algorithm: how SentencePiece learns its pieces.
        minimum_count: words that occur less often become UNK.
        character_coverage: share of the characters that get their own piece; the rest are spelt in bytes.
        lower: whether text is lower-cased.
        maximum_length: texts are cut to this many tokens, including EOS; None: never.
        joint: whether source and target share one vocabulary.
        counts: which words a bag-of-words model counts.
    """

    kind: Literal["sentencepiece", "words"] = "sentencepiece"
    vocabulary_size: VocabularySize | None = None
    algorithm: Literal["unigram", "bpe"] = "unigram"
    minimum_count: Size = 1
    character_coverage: Coverage = 0.9995
    lower: bool = False
    maximum_length: Length | None = None
    joint: bool = True
    counts: CountOptions = CountOptions()  # noqa: RUF009  (it is frozen)

    def __post_init__(self) -> None:
        check_fields(self)

    def learning(self) -> dict[str, Any]:
        """The arguments of `train_tokenizers`."""
        names = ("kind", "vocabulary_size", "algorithm", "minimum_count", "character_coverage", "lower")
        return {name: getattr(self, name) for name in names}


class Field(ABC):
    """Columns of a corpus that become tensors in a batch.

    Attributes:
        columns: the columns of the corpus that the field reads.
        lengths: the prepared columns that hold lengths, used to group examples of similar length.
        folder: the subfolder of a run that holds the field's files; "": the run folder itself.
        is_condition: whether the field is a condition c rather than the data x.
    """

    columns: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ()
    folder: str = ""
    is_condition = False

    @classmethod
    @abstractmethod
    def learn(cls, rows: Dataset | IterableDataset, options: FieldOptions) -> Self:
        """Make the field of a new model and learn what it needs from the train split."""

    @classmethod
    @abstractmethod
    def load(cls, run: str) -> Self:
        """Load the field from a run, which is a folder or a name on the Hub."""

    def save(self, folder: Path) -> None:  # noqa: B027
        """Write what the field has learnt to ``folder``; by default, nothing."""

    def sizes(self) -> dict[str, Any]:
        """Values of the model's configuration that the field determines."""
        return {}

    def align(self, rows: Any) -> Any:
        """Adapt a split of a corpus to the field before it is prepared."""
        return rows

    def agrees(self, other: Field) -> bool:
        """Whether the tensors of the other field have the same meaning."""
        return self.sizes() == other.sizes()

    @abstractmethod
    def prepare(self, rows: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Prepare a batch of rows: each new column is a list."""

    @abstractmethod
    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Turn prepared examples into tensors, by the names of the model's arguments."""


class _Tokens(Field):
    """Text that becomes token ids.

    Args:
        tokenizer: splits the text.
        maximum_length: texts are cut to this many tokens, including EOS; None: never.
    """

    prefix = ""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, maximum_length: int | None = None) -> None:
        self.tokenizer, self.maximum_length = tokenizer, maximum_length

    @classmethod
    def learn(cls, rows: Dataset | IterableDataset, options: FieldOptions) -> Self:
        """Make the field and learn its tokenizer from its column."""
        return cls.with_tokenizer(
            train_tokenizer(texts_of(rows, *cls.columns), **options.learning()), options
        )

    @classmethod
    def with_tokenizer(cls, tokenizer: PreTrainedTokenizerBase, options: FieldOptions) -> Self:
        """Make the field with a tokenizer, and store the maximum length in the tokenizer."""
        if options.maximum_length is not None:
            # The tokenizer is saved with the model, which can then read longer documents in chunks of this length.
            tokenizer.model_max_length = options.maximum_length
        return cls(tokenizer, options.maximum_length)

    @classmethod
    def load(cls, run: str) -> Self:
        """Load the tokenizer of a run; for a checkpoint, it may be in the folder of the run."""
        return cls.of(load_tokenizer(cls._place(run)))

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Self:
        """Make the field with a tokenizer, and cut texts at the length that was used in training."""
        length = tokenizer.model_max_length
        return cls(tokenizer, None if length >= VERY_LARGE_INTEGER else length)

    @classmethod
    def _place(cls, run: str) -> str | Path:
        if not cls.folder:
            return run
        places = [Path(run) / cls.folder, Path(run).parent / cls.folder]
        return next((place for place in places if place.is_dir()), places[0])

    def agrees(self, other: Field) -> bool:
        """Whether the other field has the same vocabulary of tokens."""
        return isinstance(other, _Tokens) and self.tokenizer.get_vocab() == other.tokenizer.get_vocab()

    def save(self, folder: Path) -> None:
        """Write the tokenizer."""
        with replacing_files_in(folder / self.folder, "tokenizer.json") as partial:
            self.tokenizer.save_pretrained(partial)

    def prepare(self, rows: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """The columns ``ids`` (without BOS and EOS), ``length`` (including EOS) and ``cut`` (tokens cut off).

        The field's prefix is put before each name.
        """
        limit = None if self.maximum_length is None else self.maximum_length - 1
        (column,) = self.columns
        # verbose=True would warn of long texts, which are cut here.
        found = self.tokenizer(rows[column], add_special_tokens=False, verbose=False)["input_ids"]
        ids = [sentence[:limit] for sentence in found]
        prepared = {
            "ids": ids,
            "length": [len(sentence) + 1 for sentence in ids],
            "cut": [len(whole) - len(sentence) for whole, sentence in zip(found, ids, strict=True)],
        }
        return {f"{self.prefix}{name}": values for name, values in prepared.items()}

    def loss(self, prepared: Dataset) -> str:
        """A sentence about the texts and tokens of a prepared split that the maximum length cuts; "" if none."""
        cut, kept = (np.asarray(prepared[f"{self.prefix}{name}"]) for name in ("cut", "length"))
        if not cut.any():
            return ""
        share = 100 * cut.sum() / (cut.sum() + kept.sum())
        part = f"{share:.1f} %" if share >= 0.05 else "under 0.1 %"
        return (
            f"{np.count_nonzero(cut):,} of {len(cut):,} texts ({', '.join(self.columns)}) are longer than "
            f"tokenizer.maximum_length, {self.maximum_length}, and are cut there: {part} of the tokens are not "
            "read"
        )


class TextField(_Tokens):
    """The text that a model generates, as decoder inputs and targets.

    Example:
        >>> from textvae.text.tokenizer import train_tokenizer
        >>> field = TextField(train_tokenizer(["a b"], "words"))
        >>> batch = field.collate([{"ids": [4, 5]}, {"ids": [5]}])
        >>> batch["inputs"]
        tensor([[1, 4, 5],
                [1, 5, 0]])
        >>> batch["targets"]
        tensor([[4, 5, 2],
                [5, 2, 0]])
        >>> batch["lengths"]
        tensor([3, 2])
    """

    columns = ("text",)
    lengths = ("length",)

    def sizes(self) -> dict[str, Any]:
        """The vocabulary size and the ids of the special tokens."""
        tokens = {
            f"{name}_token_id": getattr(self.tokenizer, f"{name}_token_id")
            for name in ("pad", "bos", "eos", "unk")
        }
        return {"vocab_size": len(self.tokenizer), **tokens}

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """``inputs``, ``targets``, ``mask`` (B, T) and ``lengths`` (B,) from examples with ``ids``."""
        special = self.tokenizer
        sentences = [list(example["ids"]) for example in examples]
        inputs, _ = padded([[special.bos_token_id, *ids] for ids in sentences], special.pad_token_id)
        targets, mask = padded([[*ids, special.eos_token_id] for ids in sentences], special.pad_token_id)
        return {"inputs": inputs, "targets": targets, "mask": mask, "lengths": mask.sum(1)}


class TargetField(TextField):
    """The text that a model generates from a source."""

    columns = ("target",)


class SourceField(_Tokens):
    """The source text, a condition of the model."""

    columns = ("source",)
    lengths = ("source_length",)
    prefix = "source_"
    is_condition = True
    folder = "source"

    def sizes(self) -> dict[str, Any]:
        """The size of the source vocabulary."""
        return {"source_vocab_size": len(self.tokenizer)}

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """``source`` and ``source_mask`` (B, S) from examples with ``source_ids``."""
        end, pad = self.tokenizer.eos_token_id, self.tokenizer.pad_token_id
        source, mask = padded([[*example["source_ids"], end] for example in examples], pad)
        return {"source": source, "source_mask": mask}


class LabelField(Field):
    """The class of each text, if it is known.

    Args:
        names: names of the classes, in the order of their numbers.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    @classmethod
    def learn(cls, rows: Dataset | IterableDataset, options: FieldOptions) -> Self:
        """Make the field with the classes of the corpus.

        Raises:
            UserError: if the corpus has no classes.
        """
        label = (rows.features or {}).get("label")
        if not isinstance(label, ClassLabel):
            raise UserError(
                "expected a stored corpus with labels for a model with classes, found none: name their column in "
                "corpus.columns"
            )
        return cls(label.names)

    @classmethod
    def load(cls, run: str) -> Self:
        """Load the classes from a run's configuration."""
        return cls(PretrainedConfig.get_config_dict(run)[0].get("classes") or ())

    def sizes(self) -> dict[str, Any]:
        """The names of the classes."""
        return {"classes": list(self.names)}

    def align(self, rows: Any) -> Any:
        """Renumber the labels of the rows, by class name, as in the model.

        Raises:
            UserError: if the rows have a class that the model does not know.
        """
        label = (rows.features or {}).get("label")
        if not isinstance(label, ClassLabel) or list(label.names) == list(self.names):
            return rows
        if strange := [name for name in label.names if name not in self.names]:
            raise UserError(
                f"expected the classes of the model, {', '.join(self.names)}, got {', '.join(strange)} too: leave the "
                "rows of other classes out, or rename them"
            )
        numbers = [list(self.names).index(name) for name in label.names]
        features = rows.features.copy()
        features["label"] = ClassLabel(names=list(self.names))

        def renumbered(row: dict[str, Any]) -> dict[str, Any]:
            return {"label": None if row["label"] is None else numbers[row["label"]]}

        return rows.map(renumbered, features=features)

    def prepare(self, rows: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Nothing: the labels of the corpus are already numbers."""
        return {}

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """``labels`` (B,) from examples with a ``label``; -1 if it is missing or None."""
        labels = [example.get("label") for example in examples]
        return {"labels": torch.tensor([-1 if label is None else label for label in labels])}


class Fields(tuple[Field, ...]):
    """All fields of a model, in their order."""

    @classmethod
    def learn(
        cls, kinds: Iterable[type[Field]], rows: Dataset | IterableDataset, options: FieldOptions
    ) -> Self:
        """Make the fields of a new model; token fields may share one vocabulary.

        Raises:
            UserError: if a column is missing from the corpus.
        """
        kinds = list(kinds)
        _check_columns(rows, [name for kind in kinds for name in kind.columns])
        spoken = sorted((kind for kind in kinds if issubclass(kind, _Tokens)), key=lambda kind: kind.columns)
        made: dict[type[Field], Field] = {}
        if len(spoken) > 1:
            sides = [texts_of(rows, *kind.columns) for kind in spoken]
            tokenizers = train_tokenizers(*sides, joint=options.joint, **options.learning())
            pairs = zip(spoken, tokenizers, strict=True)
            made = {kind: kind.with_tokenizer(tokenizer, options) for kind, tokenizer in pairs}
        return cls(made[kind] if kind in made else kind.learn(rows, options) for kind in kinds)

    @classmethod
    def load(cls, kinds: Iterable[type[Field]], run: str) -> Self:
        """Load the fields of a run, one of its checkpoints, or a model on the Hub."""
        return cls(kind.load(run) for kind in kinds)

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """Write what the fields have learnt; the first field, whose files are in the folder itself, is written last."""
        for field in reversed(self):
            field.save(Path(folder))

    def sizes(self) -> dict[str, Any]:
        """Values of the model's configuration that the fields determine."""
        return {name: value for field in self for name, value in field.sizes().items()}

    def of_kind(self, kind: type[Field]) -> Any:
        """The field of this class, or None."""
        return next((field for field in self if isinstance(field, kind)), None)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the text that the model generates; None if it generates none."""
        text = self.of_kind(TextField)
        return None if text is None else text.tokenizer

    def agrees(self, others: Iterable[Field]) -> bool:
        """Whether the other fields have the same meaning."""
        return all(own.agrees(other) for own, other in zip(self, others, strict=True))

    def prepare(self, corpus: Any) -> Any:
        """Replace the columns that the fields read by prepared columns, in a data set or a dict of data sets.

        The result is memory-mapped and cached by `datasets`; a stream is prepared while it is read.
        """

        def prepared(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
            return {name: values for field in self for name, values in field.prepare(rows).items()}

        if isinstance(corpus, dict):
            return type(corpus)({name: self.prepare(rows) for name, rows in corpus.items()})
        for field in self:
            corpus = field.align(corpus)
        read = [name for field in self for name in field.columns]
        return corpus.map(prepared, batched=True, remove_columns=read)

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> Batch:
        """Make a batch from prepared examples."""
        return Batch({name: tensor for field in self for name, tensor in field.collate(examples).items()})

    def cuts(self, prepared: Any) -> bool:
        """Whether texts of a prepared split were cut; for a stream this is not known, and True is returned."""
        limited = [field for field in self if isinstance(field, _Tokens) and field.maximum_length is not None]
        if not isinstance(prepared, Dataset):
            return bool(limited)
        return any(any(prepared[f"{field.prefix}cut"]) for field in limited)

    def losses(self, prepared: Any) -> list[str]:
        """What the maximum length cuts off a prepared split: a sentence for each field that loses tokens.

        Args:
            prepared: a split; for a stream nothing is known.
        """
        if not isinstance(prepared, Dataset):
            return []
        spoken = [field for field in self if isinstance(field, _Tokens)]
        return list(filter(None, (field.loss(prepared) for field in spoken)))

    @property
    def length_columns(self) -> list[str]:
        """The prepared columns that hold lengths, used to group examples of similar length."""
        return [name for field in self for name in field.lengths]


def texts_of(rows: Dataset | IterableDataset, column: str) -> Texts:
    """The texts of a column, which can be read more than once; for a stream, the first million."""
    limit = STREAMED if isinstance(rows, IterableDataset) else None

    def read() -> Iterator[str]:
        batches = rows.select_columns([column]).iter(READ)
        return islice((text for batch in batches for text in batch[column]), limit)

    return Texts(read)


def _check_columns(rows: Dataset | IterableDataset, wanted: Sequence[str]) -> None:
    """Raise an error if the corpus lacks a column that the model reads."""
    found = rows.column_names or []
    if not {*wanted} <= {*found}:
        raise UserError(
            f"expected a corpus with {' and '.join(sorted(wanted))}, got one with {', '.join(found)}: name the columns "
            "in corpus.columns, or give pairs as {source: a.en, target: a.de}"
        )
