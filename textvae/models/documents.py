"""The VAE of documents as bags of words, which starts at latent semantic analysis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Any

import numpy as np
import torch
from datasets import Dataset, IterableDataset
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from textvae.models.base import VAEModel
from textvae.models.configuration import Section, VAEConfig
from textvae.models.outputs import Reading
from textvae.modules.distributions import diagonal_gaussian
from textvae.modules.documents import BAG_DECODERS, BAG_ENCODERS, WEIGHTS, Bags, latent_semantics
from textvae.modules.priors import PRIORS
from textvae.support.options import Count, Dropout, Size, validated
from textvae.text.counts import CountsField
from textvae.text.fields import STREAMED, Field

LOG_VARIANCE = -2.0
"""Initial log-variance of the posteriors."""


class DocumentVAEConfig(VAEConfig):
    """Sizes and parts of a `DocumentVAEModel`.

    Attributes:
        vocab_size: number of words in the vocabulary, from which it is set.
        latent_size: Z.
        hidden_size: size of the encoder's hidden layer, if it has one.
        dropout: probability that the encoder leaves out a word in training, if its kind has dropout.
        weights: weights of the words, one of `WEIGHTS`.
        encoder: encoder of the bag, one of `BAG_ENCODERS`.
        prior: p(z), one of `PRIORS` except ``classes``.
        decoder: decoder, which computes the probabilities of the words, one of `BAG_DECODERS`.

    Raises:
        UserError: if an option is unknown, of another type or out of its range.
    """

    model_type = "textvae-documents"
    parts = {  # noqa: RUF012
        "weights": WEIGHTS,
        "encoder": BAG_ENCODERS,
        "prior": {name: kind for name, kind in PRIORS.items() if name != "classes"},
        "decoder": BAG_DECODERS,
    }

    vocab_size: Count = 0
    latent_size: Size = 32
    hidden_size: Size = 128
    dropout: Dropout = 0.0
    weights: Section = field(default_factory=dict)
    encoder: Section = field(default_factory=dict)
    prior: Section = field(default_factory=dict)
    decoder: Section = field(default_factory=dict)


@validated
class SharedDeviations(nn.Module):
    """q(z | x) = N(mean, diag(exp(v))) with the same v for all documents; N(0, I) for a document without words.

    Args:
        latent_size: Z.
    """

    def __init__(self, latent_size: Size) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.full((latent_size,), LOG_VARIANCE))

    def forward(self, mean: Tensor, empty: Tensor) -> Any:
        """The posteriors, batch shape (B,).

        Args:
            mean: posterior means, (B, Z).
            empty: True for documents without words, (B,).
        """
        scale = (0.5 * self.log_variance).exp().expand_as(mean)
        says_nothing = empty[:, None]
        return diagonal_gaussian(mean.masked_fill(says_nothing, 0.0), scale.masked_fill(says_nothing, 1.0))


class DocumentVAEModel(VAEModel):
    """A variational auto-encoder of documents as bags of words.

        z ~ N(0, I)                          prior, or a mixture of Gaussians
        x_i ~ softmax(W z + b)               each word independently
        q(z | x) = N(mean(x), diag(s²))

    The score of a document is that of its weighted bag (`TfIdfWeights`). It measures how well z represents the topic of
    the document. It is the log-likelihood of the words only if the weights are of kind ``counts``.

    `start` initialises a new model by latent semantic analysis: its posterior means are then the vectors that a
    truncated singular value decomposition of the weighted bags of the train split gives.
    """

    config_class = DocumentVAEConfig
    main_input_name = "words"
    shared_fields = ("vocab_size", "weights", "decoder")
    latent_fields = ("latent_size", "hidden_size", "encoder", "prior")
    used_by = "DocumentVAE, or textvae encode, cluster, map and evaluate"
    few_steps = 60  # it starts from what linear algebra knows

    def __init__(self, config: DocumentVAEConfig) -> None:
        super().__init__(config)
        sizes = {"vocabulary_size": config.vocab_size, "latent_size": config.latent_size}
        self.weights = config.build("weights", **sizes)
        self.encoder = config.build("encoder", **sizes)
        self.deviations = SharedDeviations(config.latent_size)
        self.prior = config.build("prior", **sizes)
        self.decoder = config.build("decoder", **sizes)
        self.post_init()

    def cures(self) -> list[str]:
        """A larger vocabulary, or a larger bag."""
        return ["tokenizer.counts.minimum_documents: 2", f"model.weights.length: {2 * self.weights.length:g}"]

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: the parts initialise their own weights."""

    @classmethod
    def field_kinds(cls, config: Any) -> Sequence[type[Field]]:
        """The counts of the words."""
        return (CountsField,)

    def inference_modules(self) -> Iterable[nn.Module]:
        """The encoder and the deviations."""
        return (self.encoder, self.deviations)

    def start(self, rows: Dataset | IterableDataset, seed: int) -> None:
        """Initialise the model by latent semantic analysis of the train split.

        Args:
            rows: the prepared train split; if it is a stream, the first million documents are used.
            seed: seed of the random projections that find the singular vectors.
        """
        weighted = self.weights.start(counts_of(rows, self.config.vocab_size))
        found = latent_semantics(weighted, self.config.latent_size, seed)
        self.encoder.start(found)
        self.decoder.start(found)

    def read(  # type: ignore[override]
        self, words: Tensor, counts: Tensor, mask: Tensor, **_: Tensor
    ) -> Reading:
        """Posterior, prior and score of documents.

        Args:
            words: ids of the different words of each document, (B, T).
            counts: count of each word, (B, T).
            mask: True on words, (B, T).
        """
        bags = self.weights(Bags.of(words, counts.to(self.deviations.log_variance.dtype), mask))
        posterior = self.deviations(self.encoder(bags.directions), ~mask.any(1))
        return Reading(
            posterior,
            self.prior(len(mask), posterior.mean),
            lambda z: self.decoder(z, bags),
        )


def counts_of(rows: Dataset | IterableDataset, vocabulary_size: int) -> csr_matrix:
    """The word counts of prepared rows as a sparse matrix, (n, V)."""
    words: list[Any] = []
    counts: list[Any] = []
    ends = [0]
    for part in rows.take(min(STREAMED, _length(rows))).select_columns(["words", "counts"]).iter(1_000):
        for own, how_often in zip(part["words"], part["counts"], strict=True):
            words.append(np.asarray(own, np.int32))
            counts.append(np.asarray(how_often, np.float32))
            ends.append(ends[-1] + len(own))
    return csr_matrix(
        (np.concatenate(counts), np.concatenate(words), ends), shape=(len(words), vocabulary_size)
    )


def _length(rows: Dataset | IterableDataset) -> int:
    return len(rows) if isinstance(rows, Dataset) else STREAMED


AutoConfig.register(DocumentVAEConfig.model_type, DocumentVAEConfig)
AutoModel.register(DocumentVAEConfig, DocumentVAEModel)
