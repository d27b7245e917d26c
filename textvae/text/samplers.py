"""Samplers: the order in which examples are read. Examples of similar length are in the same batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from datasets import Dataset, IterableDataset
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from textvae.support.options import Size, validated
from textvae.text.fields import Fields


@validated
class LengthGroupedSampler(Sampler[int]):
    """Batches of sentences with (nearly) the same length, in random order, as a flat sequence of indices.

    In each epoch the data is shuffled, sorted stably by length and cut into batches of ``batch_size``; then the batches
    are shuffled. So sentences of the same length meet in different batches each epoch, as in the published set-ups, and
    there are hardly any pads.

    Args:
        lengths: number of tokens of each sentence, or other keys to group by, shape (N,).
        batch_size: number of sentences in an optimiser step, over all processes and accumulation steps.
        seed: random seed. The order depends only on the seed and the epoch, so a resumed run needs no further state.
        epoch: function that returns the current epoch.
    """

    def __init__(
        self,
        lengths: Sequence[int] | Tensor,
        batch_size: Size,
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
        # The incomplete batch comes last, because otherwise the batches after it would be shifted. It is taken from a
        # random place, so that it does not always hold the longest sentences.
        batches, remainder = divmod(len(self), self.batch_size)
        cut = self.batch_size * int(torch.randint(batches + 1, (), generator=generator))
        grouped = torch.cat([order[:cut], order[cut + remainder :]]).view(batches, self.batch_size)
        yield from grouped[torch.randperm(batches, generator=generator)].flatten().tolist()
        yield from order[cut : cut + remainder].tolist()


@validated
class TokenBatchSampler(Sampler[list[int]]):
    """Batches of indices of sentences with (nearly) the same length, with up to ``tokens`` tokens, in random order.

    It differs from `LengthGroupedSampler` in that batches of short sentences hold more of them. The number of batches
    and their sizes are the same in every epoch.

    Args:
        lengths: number of tokens of each sentence and, for pairs, of its source, see `token_counts`, (N, C).
        tokens: maximum number of tokens in a batch, including pads; a longer sentence has a batch of its own.
        multiple: the number of batches is a multiple of this, so that all processes get the same number.
        seed: random seed. The order depends only on the seed and the epoch, so a resumed run needs no further state.
        epoch: function that returns the current epoch.
    """

    def __init__(
        self,
        lengths: Tensor,
        tokens: Size,
        *,
        multiple: Size = 1,
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
    """Yields batches of indices of examples with (nearly) the same length, the shortest examples first.

    Args:
        counts: number of tokens of each sentence and, for pairs, of its source, (N, C).
        size: number of examples in a batch; None: as many as ``tokens`` allows.
        tokens: maximum number of tokens in a batch, including pads; used only if ``size`` is None.

    Example:
        >>> list(alike(torch.tensor([[5], [1], [2], [4]]), None, 8))
        [[1, 2], [3], [0]]
    """
    order = torch.argsort(_key(counts), stable=True)
    for part in order.split(_sizes(counts[order], tokens) if size is None else size):
        yield part.tolist()


def _sizes(lengths: Tensor, tokens: int, multiple: int = 1) -> list[int]:
    """The number of sentences in each batch, given sorted lengths (N, C); see `TokenBatchSampler`."""
    sizes: list[int] = []
    start = 0
    while start < len(lengths):
        fitting = lengths[start : start + max(1, tokens // int(lengths[start].sum()))]
        # The number of tokens, with pads, in a batch of the first 1, 2, ... sentences; it never decreases.
        padded = torch.arange(1, len(fitting) + 1) * fitting.cummax(0).values.sum(1)
        sizes.append(max(1, int((padded <= tokens).sum())))
        start += sizes[-1]
    while len(sizes) % multiple and max(sizes) > 1:
        largest = sizes.index(max(sizes))
        half = sizes[largest] // 2
        sizes[largest : largest + 1] = [half, sizes[largest] - half]
    return sizes


def token_counts(dataset: Dataset, columns: Sequence[str]) -> Tensor:
    """The number of tokens of each example of a prepared data set, in its text and, for pairs, its source, (N, C).

    Args:
        dataset: a data set with the columns.
        columns: the C columns of lengths (`Fields.length_columns`); if there are none, each example counts as 1 token.
    """
    if not columns:
        return torch.ones(len(dataset), 1, dtype=torch.long)
    return torch.stack([torch.as_tensor(dataset[name]) for name in columns], 1)


def grouping_lengths(dataset: Dataset, columns: Sequence[str], mixed: bool = False) -> Tensor:
    """Keys (N,) that sort the examples of a prepared data set by the first length, then the second, and so on.

    Args:
        dataset: a data set with the columns.
        columns: the columns of lengths.
        mixed: whether batches hold examples of all lengths; all keys are then 0.
    """
    if mixed:
        return torch.zeros(len(dataset), dtype=torch.long)
    return _key(token_counts(dataset, columns))


def _key(counts: Tensor) -> Tensor:
    """Keys (N,) that sort rows of counts (N, C) by the first count, then the second, and so on."""
    key = counts[:, 0]
    for column in counts.unbind(1)[1:]:
        key = key * (int(column.max()) + 1) + column
    return key


def evaluation_loader(dataset: Dataset | IterableDataset, fields: Fields, batch_size: int = 32) -> DataLoader:
    """A loader of each example of a prepared data set, sorted by length unless the data set is a stream.

    Args:
        dataset: a data set with the columns that ``fields`` prepares.
        fields: the fields, which collate the batches.
        batch_size: number of examples in a batch.
    """
    # A loader draws a seed for its workers. With a generator of its own it does not change the global random state.
    options: dict[str, Any] = {"collate_fn": fields.collate, "generator": torch.Generator()}
    if isinstance(dataset, Dataset):
        order = torch.argsort(grouping_lengths(dataset, fields.length_columns), stable=True).tolist()
        return DataLoader(dataset, batch_size, sampler=order, **options)
    return DataLoader(dataset, batch_size, **options)
