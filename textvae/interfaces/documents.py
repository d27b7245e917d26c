"""`DocumentVAE`: a VAE of bags of words with its vocabulary."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from torch import Tensor

from textvae.inference.mode import evaluating
from textvae.interfaces.sentence_encoder import SentenceEncoder
from textvae.models.documents import DocumentVAEModel
from textvae.support.errors import UserError
from textvae.text.counts import CountsField
from textvae.text.given import as_list
from textvae.text.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

DOCUMENTS = 512
"""Number of documents read at once if no batch size is given."""

BAGS = 8192
"""Number of documents times draws scored at once if no batch size is given."""


class DocumentVAE(SentenceEncoder):
    """A `DocumentVAEModel` and its vocabulary: encode, compare and score documents, and name the words of a vector.

    Documents are read whole. Their vectors are compared by direction, because topics differ in direction. The length of
    a vector says how much of the document is about its topic.

    Args:
        model: a model on any device.
        vocabulary: the vocabulary with which it was trained.

    Raises:
        UserError: if the size of the vocabulary is not that of the model.

    Example:
        >>> vae = DocumentVAE.from_pretrained("runs/documents")                       # doctest: +SKIP
        >>> vae.words(vae.encode("the central bank cut its rates"))                   # doctest: +SKIP
    """

    kind = DocumentVAEModel
    field_kinds = (CountsField,)
    by_direction = True
    clusters_by = "k-means"

    def __init__(self, model: DocumentVAEModel, vocabulary: Vocabulary) -> None:
        super().__init__(model, vocabulary)

    @property
    def vocabulary(self) -> Vocabulary:
        """The words that the model knows."""
        return self.fields.of_kind(CountsField).tokenizer

    @property
    def maximum_length(self) -> None:
        """None, because documents are never cut."""
        return None

    @property
    def word_counter(self) -> CountVectorizer:
        """Counts the words that the model knows."""
        return self.vocabulary.vectorizer()

    def words(self, z: NDArray[np.floating] | Tensor, n: int = 10) -> list[list[str]]:
        """The n most characteristic words of each vector, the most characteristic first.

        They are the words with the largest

            p(w | z) log(p(w | z) / p(w | 0))

        whose sum over all words is KL(p(w | z) ‖ p(w | 0)). The vector 0 is the mean of the standard normal prior.

        Args:
            z: vectors (m, Z), as `encode` returns them, or one vector (Z,).
            n: number of words.

        Raises:
            UserError: if the vectors do not have the model's size.
        """
        given = z if isinstance(z, Tensor) else torch.from_numpy(np.array(z))
        vectors = torch.atleast_2d(given).to(self.model.device, self.model.dtype)
        size = self.model.config.latent_size
        if vectors.ndim != 2 or vectors.shape[1] != size:
            raise UserError(f"expected vectors (m, {size}), got {tuple(given.shape)}: take them from encode")
        with evaluating(self.model):
            known, usual = (
                self.model.decoder.logits(part).log_softmax(-1)
                for part in (vectors, torch.zeros_like(vectors[:1]))
            )
            said = known.exp() * (known - usual)
            best = said.topk(min(n, said.shape[1])).indices.tolist()
        names = self.vocabulary.words
        return [[names[place] for place in row] for row in best]

    def log_likelihood(
        self,
        texts: Any,
        samples: int = 100,
        *,
        seed: int = 0,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> NDArray[np.float64]:
        """The importance-weighted lower bound on the log-likelihood of each document's weighted bag, in nats, (n,).

        It is a bound for the words themselves only if the model's weights are of kind ``counts`` (see `TfIdfWeights`).

        Args:
            texts: n texts, in any form that `given.as_list` takes, or one text.
            samples: K.
            seed: seed of the draws from the posteriors.
            batch_size: number of documents scored at once; None: fewer with more samples.
            show_progress_bar: whether to show a progress bar; None: only on a terminal.

        Raises:
            UserError: if ``samples`` is less than 1, or the seed is out of range.
        """
        at_once = batch_size or max(1, min(DOCUMENTS, BAGS // max(1, samples)))
        return self._log_likelihood(self._rows(as_list(texts)), samples, seed, at_once, show_progress_bar)

    def unseen(self, texts: Any) -> NDArray[np.int64]:
        """Number of words in each text that are not in the vocabulary, without stop words, (n,)."""
        return np.array([row["unseen"] for row in self._rows(as_list(texts))], dtype=np.int64)

    def _rows(self, texts: list[str]) -> list[dict[str, Any]]:
        """The texts as prepared rows."""
        columns = self.fields.of_kind(CountsField).prepare({"text": texts})
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _posteriors(
        self, texts: list[str], batch_size: int | None, show_progress_bar: bool | None
    ) -> tuple[Tensor, Tensor]:
        """The posterior means and standard deviations of the documents, in their order and in single precision."""
        rows = self._rows(texts)
        means, deviations = torch.zeros(2, len(rows), self.model.vector_size, device=self.model.device)
        with evaluating(self.model):
            for places, batch in self._batches(rows, batch_size or DOCUMENTS, show_progress_bar, "encoding"):
                posterior = self.model.read(**batch).posterior
                means[places], deviations[places] = posterior.mean.float(), posterior.stddev.float()
        self._remark_on_words(rows)
        return means, deviations

    def _remark_on_words(self, rows: list[dict[str, Any]]) -> None:
        """Warn, once, if documents have no word that the model knows."""
        empty = sum(not row["words"] for row in rows)
        if empty and not self._remarked:
            self._remarked = True
            logger.warning(
                "%d of %d documents have no word that the model knows; their vectors are 0, the mean of the prior",
                empty,
                len(rows),
            )

    def _spelling(self) -> str:
        """The vocabulary as a string, for the fingerprint."""
        return self.vocabulary.to_json()
