"""Compute the posterior means and standard deviations of texts of any number and length, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from textvae.interfaces.batching import batches_of
from textvae.models.language import TextVAEModel
from textvae.text.chunks import each_chunk
from textvae.text.fields import Fields

CEILING = 4096
"""Maximum tokens of a chunk if the model has no maximum length. Memory grows with this number."""

READ = 2**18
"""Tokens that are held in memory at a time; their chunks are batched by length."""

FAR = 10
"""A text with more chunks than this counts as far longer than the training sentences."""


def moments(
    model: TextVAEModel,
    fields: Fields,
    texts: Sequence[str],
    maximum_length: int | None,
    batch_size: int | None,
    bar: tqdm,
) -> tuple[Tensor, Tensor, Tensor]:
    """The posterior means and standard deviations of texts, and the number of chunks of each text.

    A text longer than ``maximum_length`` is split into chunks. Its vector is the mean of the chunks' vectors, weighted
    by length, and its standard deviation is that of this mean if the chunks are independent:

        mean = sum_i w_i mean_i, std² = sum_i (w_i std_i)², w_i = length_i / sum_j length_j

    Args:
        model: the model, in evaluation mode; the caller turns gradients off.
        fields: the fields of the model.
        texts: n texts.
        maximum_length: maximum tokens of a chunk, EOS included; None: `CEILING`.
        batch_size: chunks at once; None: as many as make 4,096 tokens.
        bar: a progress bar, which advances by one for each text.

    Returns:
        Means and standard deviations, each (n, Z), float32 on the model's device; the numbers of chunks, (n,), on the
        CPU.
    """
    means, deviations = torch.zeros(2, len(texts), model.vector_size, device=model.device)
    counts = torch.zeros(len(texts), dtype=torch.long)
    carried: _Sums | None = None
    for chunks in _together(each_chunk(texts, fields.tokenizer, maximum_length or CEILING)):
        found = _read(model, fields, chunks, batch_size, bar)
        sums = _Sums.of(chunks, *found)
        if carried is not None and carried.first == sums.first:
            sums.add(carried)
        own = slice(sums.first, sums.first + len(sums.lengths))
        means[own], deviations[own] = (part.float().to(means.device) for part in sums.moments())
        counts[own] = sums.chunks
        carried = sums.last()
    return means, deviations, counts


@dataclass
class _Chunk:
    """A chunk of a text.

    Attributes:
        place: index of the text.
        ids: token ids, without BOS and EOS.
        begins: whether this is the first chunk of its text.
    """

    place: int
    ids: list[int]
    begins: bool


def _together(found: Iterable[tuple[int, list[int]]]) -> Iterator[list[_Chunk]]:
    """Lists of chunks that have `READ` tokens together, or slightly more."""
    part: list[_Chunk] = []
    tokens, last = 0, -1
    for place, ids in found:
        part.append(_Chunk(place, ids, place != last))
        tokens, last = tokens + len(ids) + 1, place
        if tokens >= READ:
            yield part
            part, tokens = [], 0
    if part:
        yield part


def _read(
    model: TextVAEModel,
    fields: Fields,
    chunks: Sequence[_Chunk],
    batch_size: int | None,
    bar: tqdm,
) -> tuple[Tensor, Tensor]:
    """The posterior means and standard deviations of c chunks, each (c, Z), on the model's device."""
    means, deviations = torch.zeros(2, len(chunks), model.vector_size, device=model.device)
    examples = [{"ids": chunk.ids, "length": len(chunk.ids) + 1} for chunk in chunks]
    for places, batch in batches_of(examples, fields, batch_size, model.device, False, "encoding"):
        posterior = model.encode(batch.targets, batch.mask)
        means[places], deviations[places] = posterior.mean.float(), posterior.stddev.float()
        bar.update(sum(chunks[place].begins for place in places))
    return means, deviations


@dataclass
class _Sums:
    """Sums over the chunks of each of k consecutive texts, in double precision on the CPU.

    Attributes:
        first: index of the first text.
        chunks: number of chunks, (k,).
        lengths: sum of the chunks' lengths, (k,).
        means: sum of the chunks' means, weighted by length, (k, Z).
        variances: sum of the chunks' variances, weighted by squared length, (k, Z).
    """

    first: int
    chunks: Tensor
    lengths: Tensor
    means: Tensor
    variances: Tensor

    @classmethod
    def of(cls, chunks: Sequence[_Chunk], means: Tensor, deviations: Tensor) -> _Sums:
        """The sums for c chunks with these means and standard deviations, each (c, Z)."""
        first = chunks[0].place
        texts = torch.tensor([chunk.place - first for chunk in chunks])
        lengths = torch.tensor([len(chunk.ids) + 1.0 for chunk in chunks], dtype=torch.float64)
        means, deviations = (lengths[:, None] * part.cpu().double() for part in (means, deviations))
        k = int(texts[-1]) + 1

        def summed(values: Tensor) -> Tensor:
            return torch.zeros(k, *values.shape[1:], dtype=values.dtype).index_add_(0, texts, values)

        return cls(first, torch.bincount(texts), summed(lengths), summed(means), summed(deviations**2))

    def add(self, before: _Sums) -> None:
        """Add the earlier chunks of the first text."""
        for name in ("chunks", "lengths", "means", "variances"):
            getattr(self, name)[0] += getattr(before, name)[0]

    def last(self) -> _Sums:
        """The sums of the last text, which may have more chunks to come."""
        place = len(self.lengths) - 1
        return _Sums(
            self.first + place,
            self.chunks[-1:],
            self.lengths[-1:],
            self.means[-1:],
            self.variances[-1:],
        )

    def moments(self) -> tuple[Tensor, Tensor]:
        """The mean and the standard deviation of each text, each (k, Z)."""
        return self.means / self.lengths[:, None], self.variances.sqrt() / self.lengths[:, None]
