"""Texts of any number and length become the moments of their posteriors, in bounded memory."""

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
"""Tokens of a chunk at most where the model says no maximum length; memory grows with them."""

READ = 2**18
"""Tokens whose chunks are held, sorted by length and read at once."""

FAR = 10
"""A text of more chunks than this is far longer than those that a model was trained on."""


def moments(
    model: TextVAEModel,
    fields: Fields,
    texts: Sequence[str],
    maximum_length: int | None,
    batch_size: int | None,
    bar: tqdm,
) -> tuple[Tensor, Tensor, Tensor]:
    """The means and the deviations of the posteriors of texts, and the number of chunks that each text was read in.

    Those of a text that is longer than ``maximum_length`` are those of the mean of its chunks, weighted by their
    lengths, for independent chunks:

        mean = sum_i w_i mean_i, deviation² = sum_i (w_i deviation_i)², w_i = length_i / sum_j length_j

    Args:
        model: in evaluation mode, called without gradients.
        fields: the model's.
        texts: n of them.
        maximum_length: tokens of a chunk at most, EOS counted; None: `CEILING`.
        batch_size: chunks at once; None: as many as have 4,096 tokens.
        bar: goes on by one for each text.

    Returns:
        Means and deviations, each (n, Z) in single precision on the model's device; the chunks, (n,), on the CPU.
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
    """A part of a text.

    Attributes:
        place: of the text among the texts.
        ids: without BOS and EOS.
        begins: whether it is the first of its text.
    """

    place: int
    ids: list[int]
    begins: bool


def _together(found: Iterable[tuple[int, list[int]]]) -> Iterator[list[_Chunk]]:
    """Chunks of `READ` tokens, or little more."""
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
    """The means and the deviations of chunks, each (c, Z), on the model's device."""
    means, deviations = torch.zeros(2, len(chunks), model.vector_size, device=model.device)
    examples = [{"ids": chunk.ids, "length": len(chunk.ids) + 1} for chunk in chunks]
    for places, batch in batches_of(examples, fields, batch_size, model.device, False, "encoding"):
        posterior = model.encode(batch.targets, batch.mask)
        means[places], deviations[places] = posterior.mean.float(), posterior.stddev.float()
        bar.update(sum(chunks[place].begins for place in places))
    return means, deviations


@dataclass
class _Sums:
    """Sums over the chunks of k texts that follow one another, in double precision on the CPU.

    Attributes:
        first: the place of the first text.
        chunks: how many of each, (k,).
        lengths: of all chunks, (k,).
        means: weighted by the lengths, (k, Z).
        variances: weighted by the squares of the lengths, (k, Z).
    """

    first: int
    chunks: Tensor
    lengths: Tensor
    means: Tensor
    variances: Tensor

    @classmethod
    def of(cls, chunks: Sequence[_Chunk], means: Tensor, deviations: Tensor) -> _Sums:
        """The sums of chunks with these moments, each (c, Z)."""
        first = chunks[0].place
        texts = torch.tensor([chunk.place - first for chunk in chunks])
        lengths = torch.tensor([len(chunk.ids) + 1.0 for chunk in chunks], dtype=torch.float64)
        means, deviations = (lengths[:, None] * part.cpu().double() for part in (means, deviations))
        k = int(texts[-1]) + 1

        def summed(values: Tensor) -> Tensor:
            return torch.zeros(k, *values.shape[1:], dtype=values.dtype).index_add_(0, texts, values)

        return cls(first, torch.bincount(texts), summed(lengths), summed(means), summed(deviations**2))

    def add(self, before: _Sums) -> None:
        """Add the chunks of the first text that came before."""
        for name in ("chunks", "lengths", "means", "variances"):
            getattr(self, name)[0] += getattr(before, name)[0]

    def last(self) -> _Sums:
        """Those of the last text, to which more may come."""
        place = len(self.lengths) - 1
        return _Sums(
            self.first + place,
            self.chunks[-1:],
            self.lengths[-1:],
            self.means[-1:],
            self.variances[-1:],
        )

    def moments(self) -> tuple[Tensor, Tensor]:
        """The mean and the deviation of each text, (k, Z)."""
        return self.means / self.lengths[:, None], self.variances.sqrt() / self.lengths[:, None]
