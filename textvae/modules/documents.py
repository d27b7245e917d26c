"""Parts of a VAE of documents, which weight, encode and score bags of words without a dense row for each document.

Encoder and decoder start at latent semantic analysis, a truncated singular value decomposition of the bags of the train
split, which takes about a second.
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
"""Maximum number of logits in memory at once if no gradient is needed."""


@dataclass(frozen=True)
class Bags:
    """The bags of words of B documents, concatenated: N words in total.

    Attributes:
        words: ids of the words, (N,).
        weights: weight of each word, (N,).
        documents: number of the document of each word, ascending, (N,).
        size: B.
    """

    words: Tensor
    weights: Tensor
    documents: Tensor
    size: int

    @classmethod
    def of(cls, words: Tensor, counts: Tensor, mask: Tensor) -> Bags:
        """Make the bags from padded rows of ids, of counts and of the mask, each (B, T)."""
        return cls(words[mask], counts[mask], mask.nonzero()[:, 0], len(mask))

    def sums(self, vectors: Tensor) -> Tensor:
        """The weighted sum of the word vectors of each document, (B, D), given the vectors (V, D) of all words."""
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
        """The bags, each scaled to length 1 as a vector of V weights; an empty bag stays empty."""
        lengths = replace(self, weights=self.weights**2).totals.sqrt()
        return replace(self, weights=self.weights / lengths[self.documents])


@validated
class TfIdfWeights(nn.Module):
    """TF-IDF weights: rare words have more weight, and repeated words have less than their count.

        w = s (1 + log n) (1 + log((1 + D) / (1 + d)))

    The word occurs n times in its document, and in d of the D documents of the train split. The factor s is such that
    the weights of a document of the train split sum to ``length`` on average. So the model learns the likelihood of
    bags of this size; with a larger ``length``, z carries more information about each document.

    Args:
        vocabulary_size: V.
        length: mean sum of the weights of a document.
    """

    inverse: Tensor
    scale: Tensor

    def __init__(self, vocabulary_size: Size, length: Positive = 20.0) -> None:
        super().__init__()
        self.length = length
        self.register_buffer("inverse", torch.ones(vocabulary_size))
        self.register_buffer("scale", torch.ones(()))

    def start(self, counts: csr_matrix) -> csr_matrix:
        """Learn the document frequencies from the counts of the train split (n, V); return its weights (n, V)."""
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
        """The bags, with each count replaced by the weight."""
        weights = (1 + bags.weights.to(self.inverse.dtype).log()) * self.inverse[bags.words]
        return replace(bags, weights=self.scale * weights)


class CountWeights(nn.Module):
    """Counts as weights, so that the score of a document is the log-likelihood of its words."""

    def __init__(self) -> None:
        super().__init__()

    def start(self, counts: csr_matrix) -> csr_matrix:
        """The counts (n, V), unchanged."""
        return counts.astype(np.float64)

    def forward(self, bags: Bags) -> Bags:
        """The bags, unchanged."""
        return bags


@dataclass(frozen=True)
class LatentSemantics:
    """The weights with which a VAE of documents starts, computed by `latent_semantics`.

    Attributes:
        projection: P, (V, Z); a bag x of length 1, a row of V weights, has the latent semantic vector x P.
        centre: mean of these vectors over the train split, (Z,).
        decoder: W, (V, Z); W times the vector of a bag is sqrt(V) / 2 times the rank-Z approximation of the bag. The
            factor gives the product the size of logits.
        logarithms: logarithm of the relative frequency of each word, (V,).
    """

    projection: Tensor
    centre: Tensor
    decoder: Tensor
    logarithms: Tensor


def latent_semantics(weighted: csr_matrix, size: int, seed: int) -> LatentSemantics:
    """Compute a randomised truncated singular value decomposition of weighted bags, which stay sparse.

    The vectors x P are those of latent semantic analysis times one factor, which gives the dimension with the largest
    standard deviation a standard deviation of 1. Dimensions beyond the rank of the bags start at 0; their decoder
    weights are small but not 0, so that gradients flow.

    Args:
        weighted: weights of the words in n documents, (n, V).
        size: Z.
        seed: seed of the random projections.

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
    """The relative frequency of each word by weight, (V,), smoothed by adding 1 / V to the weight of each word."""
    totals = weighted.sum(0).A1
    return (totals + 1 / len(totals)) / (totals.sum() + 1)


@validated
class LinearBagEncoder(nn.Module):
    """Computes the posterior means x P + b of bags x of length 1.

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
        """Set P and b, so that the means are the latent semantic vectors minus their mean over the train split."""
        self.projection.copy_(found.projection)
        self.bias.copy_(-found.centre)

    def forward(self, directions: Bags) -> Tensor:
        """The means, (B, Z)."""
        return directions.sums(self.projection) + self.bias


@validated
class ResidualBagEncoder(nn.Module):
    """Computes the posterior means x P + b + f(x) of bags x of length 1.

    f is a network with one hidden layer; its output is 0 at first.

    Args:
        vocabulary_size: V.
        latent_size: Z.
        hidden_size: size of the hidden layer.
        dropout: probability that a word of a document is left out in training.
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
        """Set P and b, as `LinearBagEncoder.start` does."""
        self.linear.start(found)

    def forward(self, directions: Bags) -> Tensor:
        """The means, (B, Z)."""
        kept = replace(directions, weights=self.dropout(directions.weights))
        states = (kept.sums(self.hidden) + self.hidden_bias).relu()
        return self.linear(kept) + self.output(states).to(self.linear.bias.dtype)


@validated
class LinearBagDecoder(nn.Module):
    """Draws each word independently from softmax(W z + b) (the decoder of NVDM, Miao et al. 2016).

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
        """Set W and b, so that z = 0 gives the word frequencies, and other z the bags of latent semantic analysis."""
        self.weight.copy_(found.decoder)
        self.bias.copy_(found.logarithms)

    def logits(self, z: Tensor) -> Tensor:
        """W z + b, (..., V), given z (..., Z)."""
        return functional.linear(z, self.weight.to(z.dtype), self.bias.to(z.dtype))

    def forward(self, z: Tensor, bags: Bags) -> Tensor:
        """sum_v w_v log softmax(W z + b)_v, (K, B), where w are the weights of each bag.

        Args:
            z: (K, B, Z).
            bags: bags of B documents.
        """
        # The first term, sum_v w_v (W z + b)_v, needs only the words of the bag.
        chosen = (z * bags.sums(self.weight)).sum(-1) + bags.sums(self.bias[:, None])[:, 0]
        at_once = len(z) if torch.is_grad_enabled() else max(1, AT_ONCE // (bags.size * len(self.bias)))
        normalizers = torch.cat([_precise(self.logits(part)).logsumexp(-1) for part in z.split(at_once)])
        return chosen - bags.totals * normalizers


def _precise(logits: Tensor) -> Tensor:
    """The logits in single precision or better; under autocast they may be bf16."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


WEIGHTS: dict[str, type[nn.Module]] = {"tf_idf": TfIdfWeights, "counts": CountWeights}
"""The weights of words, by the kind that a configuration names."""

BAG_ENCODERS: dict[str, type[nn.Module]] = {"residual": ResidualBagEncoder, "linear": LinearBagEncoder}
"""Encoders of weighted bags of words, by the kind that a configuration names."""

BAG_DECODERS: dict[str, type[nn.Module]] = {"linear": LinearBagDecoder}
"""Decoders of weighted bags of words, by the kind that a configuration names."""
