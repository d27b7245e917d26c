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
"""Of the posteriors at first."""


class DocumentVAEConfig(VAEConfig):
    """Sizes and parts of a `DocumentVAEModel`.

    Attributes:
        vocab_size: number of words that are counted, set from the vocabulary.
        latent_size: Z.
        hidden_size: of an encoder with a hidden layer.
        dropout: rate at which the encoder does without a word in training.
        weights: how much a word counts, one of `WEIGHTS`.
        encoder: what reads the bag, one of `BAG_ENCODERS`.
        prior: p(z), one of `PRIORS` but that with classes.
        decoder: what gives the words their probabilities, one of `BAG_DECODERS`.

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
    """q(z | x) = N(mean, diag(exp(v))) with one v for all documents; N(0, I) for one without a word.

    Args:
        latent_size: Z.
    """

    def __init__(self, latent_size: Size) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.full((latent_size,), LOG_VARIANCE))

    def forward(self, mean: Tensor, empty: Tensor) -> Any:
        """The posteriors, batch shape (B,).

        Args:
            mean: (B, Z).
            empty: which documents have no word, (B,).
        """
        scale = (0.5 * self.log_variance).exp().expand_as(mean)
        says_nothing = empty[:, None]
        return diagonal_gaussian(mean.masked_fill(says_nothing, 0.0), scale.masked_fill(says_nothing, 1.0))


class DocumentVAEModel(VAEModel):
    """A variational auto-encoder of documents as bags of words.

        z ~ N(0, I)                          prior, or a mixture of Gaussians
        x_i ~ softmax(W z + b)               each word by itself
        q(z | x) = N(mean(x), diag(s²))

    Words are weighted, so that the score of a document is that of its weighted bag (`TfIdfWeights`). It tells how well
    z knows what the document is about, and is a likelihood of its words only with weights of kind counts.

    A new model is `start`ed at latent semantic analysis: its posterior means are the vectors of the truncated singular
    value decomposition of the train split's weighted bags.
    """

    config_class = DocumentVAEConfig
    main_input_name = "words"
    shared_fields = ("vocab_size", "weights", "decoder")
    latent_fields = ("latent_size", "hidden_size", "encoder", "prior")
    used_by = "DocumentVAE, or textvae encode, cluster, map and evaluate"

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
        """More words, or a longer bag."""
        return ["tokenizer.counts.minimum_documents: 2", f"model.weights.length: {2 * self.weights.length:g}"]

    def _init_weights(self, module: nn.Module) -> None:
        """The parts draw their own weights."""

    @classmethod
    def field_kinds(cls, config: Any) -> Sequence[type[Field]]:
        """The counts of words."""
        return (CountsField,)

    def inference_modules(self) -> Iterable[nn.Module]:
        """The encoder and the deviations."""
        return (self.encoder, self.deviations)

    def start(self, rows: Dataset | IterableDataset, seed: int) -> None:
        """Become latent semantic analysis of the train split.

        Args:
            rows: prepared; of a stream the first million.
            seed: of the random projections by which the singular vectors are found.
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
            words: numbers of their words, (B, T).
            counts: how often each occurs, (B, T).
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
    """The counts of prepared rows as a sparse matrix, (n, V)."""
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
