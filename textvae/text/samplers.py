"""The order in which examples are read: those of like length together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from datasets import Dataset, IterableDataset
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from textvae.text.fields import Fields


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


def token_counts(dataset: Dataset, columns: Sequence[str]) -> Tensor:
    """The tokens of each example of a prepared data set, of its text and of what else has tokens, (N, C).

    Args:
        dataset: with the columns.
        columns: the C columns of lengths (`Fields.length_columns`); none: every example counts 1.
    """
    if not columns:
        return torch.ones(len(dataset), 1, dtype=torch.long)
    return torch.stack([torch.as_tensor(dataset[name]) for name in columns], 1)


def grouping_lengths(dataset: Dataset, columns: Sequence[str]) -> Tensor:
    """What examples of a prepared data set are grouped by, (N,): the first length, then the second, ...

    Args:
        dataset: with the columns.
        columns: the columns of lengths.
    """
    return _key(token_counts(dataset, columns))


def _key(counts: Tensor) -> Tensor:
    """Numbers (N,) in whose order rows of counts (N, C) are sorted by the first count, then the second, ..."""
    key = counts[:, 0]
    for column in counts.unbind(1)[1:]:
        key = key * (int(column.max()) + 1) + column
    return key


def evaluation_loader(dataset: Dataset | IterableDataset, fields: Fields, batch_size: int = 32) -> DataLoader:
    """Every example of a prepared data set once, those of like length together where the lengths are known.

    Args:
        dataset: with the columns that ``fields`` prepares.
        fields: what makes the batches.
        batch_size: examples at once.
    """
    # A loader draws a seed for its workers, from the global random state unless it has one of its own.
    options: dict[str, Any] = {"collate_fn": fields.collate, "generator": torch.Generator()}
    if isinstance(dataset, Dataset):
        order = torch.argsort(grouping_lengths(dataset, fields.length_columns), stable=True).tolist()
        return DataLoader(dataset, batch_size, sampler=order, **options)
    return DataLoader(dataset, batch_size, **options)
