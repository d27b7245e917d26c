"""Token ids become tensors: the only place that shifts, pads or counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from transformers import PreTrainedTokenizerBase

AnyDataset = TypeVar("AnyDataset", Dataset, DatasetDict, IterableDataset, IterableDatasetDict)


class Batch(dict[str, Tensor]):
    """A batch of B sentences, right-padded to T tokens.

    It is a dict, so that ``model(**batch)`` works and every data loader can move it to a device.

    Keys:
        inputs: what the decoder reads, BOS x_1 … x_{n-1}, ids of shape (B, T).
        targets: what the decoder predicts and the encoder reads, x_1 … x_{n-1} EOS, ids of shape (B, T).
        mask: True on real tokens, shape (B, T).
        lengths: number of real tokens of each sentence, EOS counted and BOS not, shape (B,).
        labels: the class of each sentence, -1 where it is not known, shape (B,); only for models with classes.
        source: what the sentence is a translation of, with EOS, ids of shape (B, S); only for conditional models.
        source_mask: True on its real tokens, shape (B, S).

    Raises:
        ValueError: if a key is missing, or a dtype or shape is not as above.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(tensors)
        if missing := {"inputs", "targets", "mask", "lengths"} - self.keys():
            raise ValueError(
                f"expected inputs, targets, mask and lengths, got no {', '.join(sorted(missing))}"
            )
        if not self.inputs.shape == self.targets.shape == self.mask.shape:
            raise ValueError(
                f"expected inputs, targets and mask of one shape (B, T), got {tuple(self.inputs.shape)}, "
                f"{tuple(self.targets.shape)} and {tuple(self.mask.shape)}"
            )
        for name in {"lengths", "labels"} & self.keys():
            if self[name].shape != self.inputs.shape[:1]:
                raise ValueError(
                    f"expected {name} of shape ({len(self.inputs)},), got {tuple(self[name].shape)}"
                )
        sources = {name: tensor.shape for name, tensor in self.items() if name.startswith("source")}
        if sources and not (
            sources.keys() == {"source", "source_mask"}
            and sources["source"] == sources["source_mask"]
            and sources["source"][:1] == self.inputs.shape[:1]
        ):
            raise ValueError(
                f"expected source and source_mask of one shape ({len(self.inputs)}, S), got "
                f"{', '.join(f'{name} of {tuple(shape)}' for name, shape in sorted(sources.items()))}"
            )
        for name in {"mask", "source_mask"} & self.keys():
            if self[name].dtype != torch.bool:
                raise ValueError(f"expected a boolean {name}, got {self[name].dtype}")

    @property
    def inputs(self) -> Tensor:
        """Decoder inputs, (B, T)."""
        return self["inputs"]

    @property
    def targets(self) -> Tensor:
        """Shifted targets, (B, T)."""
        return self["targets"]

    @property
    def mask(self) -> Tensor:
        """True on real tokens, (B, T)."""
        return self["mask"]

    @property
    def lengths(self) -> Tensor:
        """Tokens of each sentence, (B,)."""
        return self["lengths"]

    @property
    def source(self) -> Tensor:
        """Sources, (B, S)."""
        return self["source"]

    @property
    def source_mask(self) -> Tensor:
        """True on the real tokens of the sources, (B, S)."""
        return self["source_mask"]

    def to(self, device: torch.device | str, **options: Any) -> Batch:
        """The same batch on ``device``."""
        return Batch({name: tensor.to(device, **options) for name, tensor in self.items()})


class Collator:
    """Turns sentences, given as ids without BOS and EOS, into a `Batch`.

    Args:
        pad_id: written behind the end of short sentences; any id does, since it is masked.
        bos_id: the first decoder input.
        eos_id: the last target.
        labels: whether the examples' ``label``, which may be None, goes into the batch.
        source_pad_id: written behind the end of short sources; None: the examples' ``source_ids`` are not read.
        source_eos_id: the end of the sources.

    Example:
        >>> batch = Collator(pad_id=0, bos_id=1, eos_id=2)([{"ids": [5, 6]}, {"ids": [7]}])
        >>> batch.inputs
        tensor([[1, 5, 6],
                [1, 7, 0]])
        >>> batch.targets
        tensor([[5, 6, 2],
                [7, 2, 0]])
        >>> batch.lengths
        tensor([3, 2])
    """

    def __init__(
        self,
        pad_id: int,
        bos_id: int,
        eos_id: int,
        labels: bool = False,
        source_pad_id: int | None = None,
        source_eos_id: int | None = None,
    ) -> None:
        self.pad_id, self.bos_id, self.eos_id, self.labels = pad_id, bos_id, eos_id, labels
        self.source_pad_id, self.source_eos_id = source_pad_id, source_eos_id

    @classmethod
    def for_tokenizer(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        labels: bool = False,
        source_tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> Collator:
        """The collator that uses the special ids of ``tokenizer`` and, for pairs, of ``source_tokenizer``."""
        ids = tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id
        if source_tokenizer is None:
            return cls(*ids, labels)
        return cls(*ids, labels, source_tokenizer.pad_token_id, source_tokenizer.eos_token_id)

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> Batch:
        """Batch ``examples``, each with a list ``ids`` and, of pairs, a list ``source_ids``."""
        sentences = [list(example["ids"]) for example in examples]
        inputs, _ = _padded([[self.bos_id, *ids] for ids in sentences], self.pad_id)
        targets, mask = _padded([[*ids, self.eos_id] for ids in sentences], self.pad_id)
        batch = {"inputs": inputs, "targets": targets, "mask": mask, "lengths": mask.sum(1)}
        if self.source_pad_id is not None:
            sources = [[*example["source_ids"], self.source_eos_id] for example in examples]
            batch["source"], batch["source_mask"] = _padded(sources, self.source_pad_id)
        if self.labels:
            labels = [example.get("label") for example in examples]
            batch["labels"] = torch.tensor([-1 if label is None else label for label in labels])
        return Batch(batch)


def _padded(rows: Sequence[Sequence[Any]], pad_id: int) -> tuple[Tensor, Tensor]:
    """The rows of ids as one tensor (B, T), and a mask (B, T), True on what is no pad."""
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    ids = torch.full(mask.shape, pad_id)
    ids[mask] = torch.tensor([token for row in rows for token in row])
    return ids, mask


def tokenize(
    dataset: AnyDataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    column: str = "text",
    source_tokenizer: PreTrainedTokenizerBase | None = None,
    maximum_length: int | None = None,
) -> AnyDataset:
    """The data set with the columns ``ids`` (no BOS, no EOS) and ``length`` (EOS counted) in place of its text.

    Of pairs, these are of the column ``target``, and ``source_ids`` and ``source_length`` of the column ``source``.
    The result is memory-mapped and cached by ``datasets``; a streamed data set is tokenised as it is read.

    Args:
        dataset: a data set, or a dict of them, with a column of strings, or of pairs two.
        tokenizer: what splits the strings.
        column: the column to read, unless the rows are pairs.
        source_tokenizer: of pairs, what splits the sources; None: the rows are no pairs.
        maximum_length: longer sentences are cut to so many tokens, EOS counted; None: never.
    """
    limit = None if maximum_length is None else maximum_length - 1
    sides = {"": (column, tokenizer)}
    if source_tokenizer is not None:
        sides = {"": ("target", tokenizer), "source_": ("source", source_tokenizer)}

    def ids_of(rows: dict[str, list[str]]) -> dict[str, list[Any]]:
        made: dict[str, list[Any]] = {}
        for prefix, (name, splitter) in sides.items():
            # Not verbose, or the tokenizer would warn of what is cut here.
            found = splitter(rows[name], add_special_tokens=False, verbose=False)["input_ids"]
            made[f"{prefix}ids"] = [sentence[:limit] for sentence in found]
            made[f"{prefix}length"] = [len(sentence) + 1 for sentence in made[f"{prefix}ids"]]
        return made

    return dataset.map(ids_of, batched=True, remove_columns=[name for name, _ in sides.values()])


class LengthGroupedSampler(Sampler[int]):
    """Indices such that each run of ``batch_size`` of them has (nearly) one length, in random order.

    Every epoch shuffles the data, sorts it stably by length, cuts it into batches and shuffles the batches. So
    sentences of one length are mixed anew each epoch, as in the published set-ups, and hardly a pad is computed.

    Args:
        lengths: tokens of each sentence, or what else there is to group by, shape (N,).
        batch_size: how many consecutive indices make one optimiser step, over all processes and accumulation.
        seed: with the epoch, decides the order, so that a resumed run needs no further state.
        epoch: tells the current epoch.
    """

    def __init__(
        self,
        lengths: Sequence[int] | Tensor,
        batch_size: int,
        *,
        seed: int = 0,
        epoch: Callable[[], int] = lambda: 0,
    ) -> None:
        self.lengths = torch.as_tensor(lengths)
        self.batch_size, self.seed, self.epoch = batch_size, seed, epoch

    def __len__(self) -> int:
        """Number of sentences."""
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        """The indices of one epoch."""
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.epoch())
        order = torch.randperm(len(self), generator=generator)
        order = order[torch.argsort(self.lengths[order], stable=True)]
        # The remainder comes last, or the batches behind it would straddle two lengths; it is cut out of a random
        # place, so that it is not always the longest sentences.
        batches, remainder = divmod(len(self), self.batch_size)
        cut = self.batch_size * int(torch.randint(batches + 1, (), generator=generator))
        grouped = torch.cat([order[:cut], order[cut + remainder :]]).view(batches, self.batch_size)
        yield from grouped[torch.randperm(batches, generator=generator)].flatten().tolist()
        yield from order[cut : cut + remainder].tolist()


class TokenBatchSampler(Sampler[list[int]]):
    """Batches of indices, each of sentences of (nearly) one length and of nearly so many tokens, in random order.

    As `LengthGroupedSampler`, except that short sentences come in larger batches than long ones. The number of batches
    is the same in every epoch, and so are their sizes.

    Args:
        lengths: tokens of each sentence and, of pairs, of its source, see `token_counts`, (N, C).
        tokens: so many are in a batch at most, pads counted; a longer sentence is a batch alone.
        multiple: the number of batches is one of it, so that every process has as many.
        seed: with the epoch, decides the order, so that a resumed run needs no further state.
        epoch: tells the current epoch.
    """

    def __init__(
        self,
        lengths: Tensor,
        tokens: int,
        *,
        multiple: int = 1,
        seed: int = 0,
        epoch: Callable[[], int] = lambda: 0,
    ) -> None:
        self.seed, self.epoch = seed, epoch
        self.key = _key(lengths)
        self.sizes = _sizes(lengths[torch.argsort(self.key)], tokens, multiple)

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.sizes)

    def __iter__(self) -> Iterator[list[int]]:
        """The batches of one epoch."""
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.epoch())
        order = torch.randperm(len(self.key), generator=generator)
        batches = order[torch.argsort(self.key[order], stable=True)].split(self.sizes)
        for batch in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[batch].tolist()


def alike(counts: Tensor, size: int | None, tokens: int) -> Iterator[list[int]]:
    """Places of examples, those of (nearly) one length together, from the shortest on.

    Args:
        counts: tokens of each sentence and, of pairs, of its source, (N, C).
        size: how many are together; None: as many as have so many tokens, pads counted.
        tokens: which counts if there is no size.

    Example:
        >>> list(alike(torch.tensor([[5], [1], [2], [4]]), None, 8))
        [[1, 2], [3], [0]]
    """
    order = torch.argsort(_key(counts), stable=True)
    for part in order.split(_sizes(counts[order], tokens) if size is None else size):
        yield part.tolist()


def _sizes(lengths: Tensor, tokens: int, multiple: int = 1) -> list[int]:
    """How many sentences of the sorted lengths (N, C) are in each batch."""
    sizes: list[int] = []
    start = 0
    while start < len(lengths):
        fitting = lengths[start : start + max(1, tokens // int(lengths[start].sum()))]
        # What so many sentences take, from one on: never less than before.
        padded = torch.arange(1, len(fitting) + 1) * fitting.cummax(0).values.sum(1)
        sizes.append(max(1, int((padded <= tokens).sum())))
        start += sizes[-1]
    while len(sizes) % multiple and max(sizes) > 1:
        largest = sizes.index(max(sizes))
        half = sizes[largest] // 2
        sizes[largest : largest + 1] = [half, sizes[largest] - half]
    return sizes


def token_counts(dataset: Dataset) -> Tensor:
    """The tokens of each sentence of a tokenised data set and, of pairs, those of its source, (N, 1) or (N, 2)."""
    columns = [name for name in ("length", "source_length") if name in dataset.column_names]
    return torch.stack([torch.as_tensor(dataset[name]) for name in columns], 1)


def grouping_lengths(dataset: Dataset) -> Tensor:
    """What sentences of a tokenised data set are grouped by, (N,): their length and, of pairs, then the source's."""
    return _key(token_counts(dataset))


def _key(counts: Tensor) -> Tensor:
    """Numbers (N,) in whose order rows of counts (N, C) are sorted by the first count, then the second, ..."""
    key = counts[:, 0]
    for column in counts.unbind(1)[1:]:
        key = key * (int(column.max()) + 1) + column
    return key


def evaluation_loader(
    dataset: Dataset | IterableDataset, collator: Collator, batch_size: int = 32
) -> DataLoader:
    """Every sentence of a tokenised data set once, those of like length together where the lengths are known.

    Args:
        dataset: with the columns that `tokenize` makes.
        collator: what makes the batches.
        batch_size: sentences at once.
    """
    if isinstance(dataset, Dataset):
        order = torch.argsort(grouping_lengths(dataset), stable=True).tolist()
        return DataLoader(dataset, batch_size, sampler=order, collate_fn=collator)
    return DataLoader(dataset, batch_size, collate_fn=collator)
