"""Parts of a VAE of documents: bags of words are weighted, encoded and scored without a dense row for a document.

Encoder and decoder start at latent semantic analysis, the truncated singular value decomposition of the train split's
bags, so that training can only add to what a second of linear algebra finds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd
from torch import Tensor, nn
from torch.nn import functional

from textvae.support.options import Dropout, Positive, Size, validated

AT_ONCE = 2**23
"""Logits that are held at once where no gradient is needed."""


@dataclass(frozen=True)
class Bags:
    """The bags of words of B documents, one behind the other.

    Attributes:
        words: numbers of the words of all documents, (N,).
        weights: how much each counts, (N,).
        documents: the document of each, in rising order, (N,).
        size: B.
    """

    words: Tensor
    weights: Tensor
    documents: Tensor
    size: int

    @classmethod
    def of(cls, words: Tensor, counts: Tensor, mask: Tensor) -> Bags:
        """The bags of padded rows (B, T)."""
        return cls(words[mask], counts[mask], mask.nonzero()[:, 0], len(mask))

    def sums(self, vectors: Tensor) -> Tensor:
        """The weighted sum of the vectors of each document's words, (B, D), for vectors (V, D) of all words."""
        starts = torch.searchsorted(self.documents, torch.arange(self.size, device=self.documents.device))
        return functional.embedding_bag(
            self.words, vectors, starts, mode="sum", per_sample_weights=self.weights.to(vectors.dtype)
        )

    @property
    def totals(self) -> Tensor:
        """The sum of the weights of each document, (B,)."""
        return self.weights.new_zeros(self.size).index_add(0, self.documents, self.weights)

    @property
    def directions(self) -> Bags:
        """The bags scaled to length 1, as vectors of V weights; an empty one stays empty."""
        lengths = replace(self, weights=self.weights**2).totals.sqrt()
        return replace(self, weights=self.weights / lengths[self.documents])


@validated
class TfIdfWeights(nn.Module):
    """Weights by which rare words count more, and repeated ones less than their number says.

        w = s (1 + log n) (1 + log (1 + D) / (1 + d))

    for a word that occurs n times in the document, and in d of the D documents of the train split; s is such that a
    document of the train split weighs ``length`` words on the mean. So the likelihood of a model is that of a bag of
    this size: with more words z says more of each document, and more of what is its own.

    Args:
        vocabulary_size: V.
        length: see above.
    """

    inverse: Tensor
    scale: Tensor

    def __init__(self, vocabulary_size: Size, length: Positive = 20.0) -> None:
        super().__init__()
        self.length = length
        self.register_buffer("inverse", torch.ones(vocabulary_size))
        self.register_buffer("scale", torch.ones(()))

    def start(self, counts: csr_matrix) -> csr_matrix:
        """Learn the frequencies from the counts of the train split (n, V); returns its weights."""
        n, words = counts.shape
        documents = np.bincount(counts.indices, minlength=words)
        weighted = counts.astype(np.float64)
        weighted.data = 1 + np.log(weighted.data)
        inverse = 1 + np.log((1 + n) / (1 + documents))
        weighted.data *= inverse[weighted.indices]
        scale = self.length * n / max(weighted.sum(), 1e-12)
        self.inverse.copy_(torch.from_numpy(inverse))
        self.scale.fill_(scale)
        return weighted * scale

    def forward(self, bags: Bags) -> Bags:
        """The bags with weights in place of counts."""
        weights = (1 + bags.weights.to(self.inverse.dtype).log()) * self.inverse[bags.words]
        return replace(bags, weights=self.scale * weights)


class CountWeights(nn.Module):
    """Weights that are the counts, so that the score is the log-likelihood of the words themselves."""

    def __init__(self) -> None:
        super().__init__()

    def start(self, counts: csr_matrix) -> csr_matrix:
        """The counts (n, V) as they are."""
        return counts.astype(np.float64)

    def forward(self, bags: Bags) -> Bags:
        """The bags as they are."""
        return bags


@dataclass(frozen=True)
class LatentSemantics:
    """Where a VAE of documents starts, as `latent_semantics` finds it.

    Attributes:
        projection: P, (V, Z): a bag of length 1, as a row x, has the latent semantic vector x P.
        centre: the mean of these vectors over the train split, (Z,).
        decoder: W, (V, Z), whose product with the vector of a bag is the bag as Z dimensions can give it, times the
            square root of V over 2, which makes logits of it.
        logarithms: of the relative frequency of each word, (V,).
    """

    projection: Tensor
    centre: Tensor
    decoder: Tensor
    logarithms: Tensor


def latent_semantics(weighted: csr_matrix, size: int, seed: int) -> LatentSemantics:
    """The randomised truncated singular value decomposition of weighted bags, never made dense.

    The vectors x P have the proportions of latent semantic analysis, scaled as a whole so that the widest dimension has
    a deviation of 1. Dimensions beyond the rank of the bags are 0 at first, with small decoder weights that let a
    gradient through.

    Args:
        weighted: (n, V).
        size: Z.
        seed: of the random projections.

    References:
        Indexing by latent semantic analysis (Deerwester et al. 1990)
        Finding structure with randomness (Halko et al. 2011), https://arxiv.org/abs/0909.4061
    """
    n, words = weighted.shape
    directions = normalize(weighted)
    rank = min(size, n, words)
    _, _, rows = randomized_svd(directions, rank, random_state=seed)
    vectors = directions @ rows.T
    width = float(vectors.std(0).max()) or 1.0
    projection, decoder = np.zeros((words, size)), np.zeros((words, size))
    projection[:, :rank] = rows.T / width
    decoder[:, :rank] = rows.T * width * np.sqrt(words) / 2
    decoder[:, rank:] = np.random.default_rng(seed).normal(0, 0.1, (words, size - rank))
    totals = _smoothed(weighted)
    return LatentSemantics(
        *map(torch.from_numpy, (projection, directions.mean(0).A1 @ projection, decoder, np.log(totals)))
    )


def _smoothed(weighted: csr_matrix) -> NDArray[Any]:
    """The relative frequency of each word, (V,); one of all words is added as one more bag of their mean weight."""
    totals = weighted.sum(0).A1
    return (totals + 1 / len(totals)) / (totals.sum() + 1)


@validated
class LinearBagEncoder(nn.Module):
    """Means x P + b of bags x of length 1.

    Args:
        vocabulary_size: V.
        latent_size: Z.
    """

    def __init__(self, vocabulary_size: Size, latent_size: Size) -> None:
        super().__init__()
        self.projection = nn.Parameter(torch.randn(vocabulary_size, latent_size))
        self.bias = nn.Parameter(torch.zeros(latent_size))

    @torch.no_grad()
    def start(self, found: LatentSemantics) -> None:
        """Give the latent semantic vectors, minus their mean."""
        self.projection.copy_(found.projection)
        self.bias.copy_(-found.centre)

    def forward(self, directions: Bags) -> Tensor:
        """(B, Z)."""
        return directions.sums(self.projection) + self.bias


@validated
class ResidualBagEncoder(nn.Module):
    """Means x P + b + f(x) of bags x of length 1, with a network f of one hidden layer that is 0 at first.

    Args:
        vocabulary_size: V.
        latent_size: Z.
        hidden_size: of the hidden layer.
        dropout: rate at which words are left out in training.
    """

    def __init__(
        self, vocabulary_size: Size, latent_size: Size, hidden_size: Size = 128, dropout: Dropout = 0.0
    ) -> None:
        super().__init__()
        self.linear = LinearBagEncoder(vocabulary_size, latent_size)
        self.hidden = nn.Parameter(0.05 * torch.randn(vocabulary_size, hidden_size))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden_size))
        self.output = nn.Linear(hidden_size, latent_size)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def start(self, found: LatentSemantics) -> None:
        """Start the linear part."""
        self.linear.start(found)

    def forward(self, directions: Bags) -> Tensor:
        """(B, Z)."""
        kept = replace(directions, weights=self.dropout(directions.weights))
        states = (kept.sums(self.hidden) + self.hidden_bias).relu()
        return self.linear(kept) + self.output(states).to(self.linear.bias.dtype)


@validated
class LinearBagDecoder(nn.Module):
    """Words drawn from softmax(W z + b), in no order (the decoder of NVDM, Miao et al. 2016).

    Args:
        vocabulary_size: V.
        latent_size: Z.

    References:
        Neural Variational Inference for Text Processing (Miao et al. 2016), https://arxiv.org/abs/1511.06038
    """

    def __init__(self, vocabulary_size: Size, latent_size: Size) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(vocabulary_size, latent_size))
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    @torch.no_grad()
    def start(self, found: LatentSemantics) -> None:
        """Give the frequencies of the words where z is 0, and the bags of latent semantic analysis around it."""
        self.weight.copy_(found.decoder)
        self.bias.copy_(found.logarithms)

    def logits(self, z: Tensor) -> Tensor:
        """W z + b, (..., V), of z (..., Z)."""
        return functional.linear(z, self.weight.to(z.dtype), self.bias.to(z.dtype))

    def forward(self, z: Tensor, bags: Bags) -> Tensor:
        """sum_v w_v log softmax(W z + b)_v for the weights w of each bag, (K, B), of z (K, B, Z).

        Args:
            z: (K, B, Z).
            bags: of B documents.
        """
        # W z + b is only needed at the words of the bag: there it is linear in z.
        chosen = (z * bags.sums(self.weight)).sum(-1) + bags.sums(self.bias[:, None])[:, 0]
        at_once = len(z) if torch.is_grad_enabled() else max(1, AT_ONCE // (bags.size * len(self.bias)))
        normalizers = torch.cat([_precise(self.logits(part)).logsumexp(-1) for part in z.split(at_once)])
        return chosen - bags.totals * normalizers


def _precise(logits: Tensor) -> Tensor:
    """The logits in single precision or better: under autocast a product may be bf16."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


WEIGHTS: dict[str, type[nn.Module]] = {"tf_idf": TfIdfWeights, "counts": CountWeights}
"""How much a word counts, by the kind that a configuration names."""

BAG_ENCODERS: dict[str, type[nn.Module]] = {"residual": ResidualBagEncoder, "linear": LinearBagEncoder}
"""Encoders of weighted bags of words, by the kind that a configuration names."""

BAG_DECODERS: dict[str, type[nn.Module]] = {"linear": LinearBagDecoder}
"""Decoders of weighted bags of words, by the kind that a configuration names."""
