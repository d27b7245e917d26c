"""Encode sentences as vectors, with the methods of `SentenceTransformer`."""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from torch import Tensor
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from textvae.inference.mode import evaluating
from textvae.interfaces.adapters import Adapters
from textvae.interfaces.batching import progress
from textvae.interfaces.encoding import CEILING, FAR, moments
from textvae.interfaces.interface import Interface
from textvae.latent_space.clusters import Method
from textvae.latent_space.neighbours import Metric, nearest
from textvae.support.errors import UserError
from textvae.support.quiet import silenced
from textvae.text.given import as_list

logger = logging.getLogger(__name__)

MTEB_TASK = {"task_name", "task_metadata", "hf_split", "hf_subset", "prompt_type"}
"""Keyword arguments with which MTEB, in its various versions, tells `encode` about the task."""


class SentenceEncoder(Adapters, Interface):
    """A model that encodes sentences: the vector of a sentence is its posterior mean.

    Attributes:
        by_direction: whether vectors are compared by direction; clusters and maps then scale them to length 1 first.
        clusters_by: the method of `fit_clusters` that suits the vectors.
    """

    by_direction: ClassVar[bool] = False
    clusters_by: ClassVar[Method] = "tied-mixture"
    _remarked = False

    @property
    def maximum_length(self) -> int | None:
        """Length in tokens, EOS included, to which training cut its sentences; None if it cut none."""
        length = self.tokenizer.model_max_length
        return None if length >= VERY_LARGE_INTEGER else length

    @property
    def word_counter(self) -> CountVectorizer | None:
        """Counts the words that describe a cluster; None: runs of letters and digits."""
        return None

    def encode(
        self,
        sentences: str | Iterable[Any] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        output_value: str | None = "sentence_embedding",
        precision: str | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | torch.device | None = None,
        normalize_embeddings: bool = False,
        *,
        truncate_dim: int | None = None,
        inputs: str | Iterable[Any] | None = None,
        return_deviations: bool = False,
        **task: Any,
    ) -> Any:
        """The posterior means. The arguments and results are those of `SentenceTransformer.encode`.

        A text longer than the model's `maximum_length` (or than `encoding.CEILING` tokens if it has none) is read in
        chunks. Its vector is the mean of the chunks' vectors, weighted by their lengths; its standard deviation is
        that of this mean if the chunks are independent.

        Args:
            sentences: n of them in anything that `given.as_list` takes, such as a list, a Series, a table with a
                column of text, or batches as MTEB's loaders give; or a single one.
            prompt_name: must be None, as these models have no named prompts.
            prompt: put before each sentence.
            batch_size: sentences at once; None: as many as make 4,096 tokens.
            show_progress_bar: None: only on a terminal.
            output_value: must be "sentence_embedding".
            precision: must be "float32" or None.
            convert_to_numpy: return a numpy array; False: a list of tensors.
            convert_to_tensor: return one tensor, on the model's device, whatever ``convert_to_numpy`` says.
            device: move the model there first; None: leave it where it is.
            normalize_embeddings: scale each vector to length 1, and its standard deviations with it.
            truncate_dim: keep the first dimensions, this many; None: all. The dimensions of a VAE are in no order.
            inputs: another name of ``sentences``.
            return_deviations: return a pair, the posterior means and standard deviations.
            **task: what MTEB says about its task (`MTEB_TASK`), which changes nothing.

        Returns:
            (n, Z) in the order of the sentences, float32; (Z,) for a single sentence.

        Raises:
            UserError: if the model has no latent, a sentence is not a string, or another value is asked for.
        """
        _check_options(task, prompt_name=prompt_name, output_value=output_value, precision=precision)
        if device is not None:
            torch.nn.Module.to(self.model, device)
        sentences = _one_of(sentences, inputs)
        texts = [(prompt or "") + text for text in as_list(sentences)]
        found = self._posteriors(texts, batch_size, show_progress_bar)
        found = _finished(*found, truncate_dim, normalize_embeddings)
        rows = [part[0] if isinstance(sentences, str) else part for part in found]
        given = tuple(rows if convert_to_tensor else (_untied(part, convert_to_numpy) for part in rows))
        return given if return_deviations else given[0]

    def similarity(self, embeddings1: NDArray[Any] | Tensor, embeddings2: NDArray[Any] | Tensor) -> Tensor:
        """The cosine similarity of each pair of vectors, (n, m), as in `SentenceTransformer.similarity`.

        Args:
            embeddings1: (n, Z), or (Z,) for a single vector.
            embeddings2: (m, Z), or (Z,) for a single vector.
        """
        return _unit(embeddings1) @ _unit(embeddings2).T

    def similarity_pairwise(
        self, embeddings1: NDArray[Any] | Tensor, embeddings2: NDArray[Any] | Tensor
    ) -> Tensor:
        """The cosine similarity of row i of one set with row i of the other, (n,).

        Args:
            embeddings1: (n, Z).
            embeddings2: (n, Z).
        """
        return (_unit(embeddings1) * _unit(embeddings2)).sum(1)

    def neighbours(
        self,
        queries: str | Sequence[str] | NDArray[np.floating] | Tensor,
        corpus: Sequence[str] | NDArray[np.floating] | Tensor,
        k: int | None = None,
        *,
        metric: Metric = "cosine",
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The indices in the corpus of the k nearest neighbours of each query, nearest first, and the distances.

        Args:
            queries: m texts, a single text, or vectors (m, Z) from `encode`.
            corpus: n texts, or vectors (n, Z), which may be memory-mapped and larger than memory.
            k: number of neighbours; None: 10, or all if the corpus is smaller.
            metric: the distance between posterior means.
            batch_size: sentences at once; None: as many as make 4,096 tokens.
            show_progress_bar: None: only on a terminal.

        Returns:
            Indices and distances, each (m, k).

        Raises:
            UserError: if the corpus has fewer than k members, or the model has no latent code.
        """

        def vectors(given: Any) -> NDArray[np.floating]:
            if isinstance(given, Tensor):
                given = given.cpu().numpy()
            if isinstance(given, np.ndarray) and given.dtype.kind == "f":
                return given
            return self._means(given, batch_size, show_progress_bar).cpu().numpy()

        within = vectors(corpus)
        return nearest(vectors(queries), within, min(10, len(within)) if k is None else k, metric)

    def fingerprint(self) -> str:
        """A digest of everything that determines the model's output: weights, configuration, tokenizer."""
        own = inspect.get_annotations(type(self.model.config))
        config = {name: getattr(self.model.config, name) for name in own}
        digest = hashlib.sha256(repr((config, self.maximum_length)).encode())
        digest.update(self._spelling().encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def _spelling(self) -> str:
        """The tokenizer as a string, for the fingerprint."""
        return self.tokenizer.backend_tokenizer.to_str()

    def _means(self, texts: Any, batch_size: int | None, show_progress_bar: bool | None) -> Tensor:
        """The posterior means of the texts in order, (n, Z), float32 on the model's device."""
        return self._posteriors(as_list(texts), batch_size, show_progress_bar)[0]

    def _posteriors(
        self, texts: list[str], batch_size: int | None, show_progress_bar: bool | None
    ) -> tuple[Tensor, Tensor]:
        """The posterior means and standard deviations of the texts in order, each (n, Z) as in `_means`."""
        if not self.model.vector_size:
            raise UserError(
                "expected a model with a latent code, got a plain language model (latent_size 0), which has no "
                "vectors: train one with model.latent_size=32; sample and log_likelihood work without"
            )
        bar = progress(len(texts), show_progress_bar, "encoding")
        with silenced(), evaluating(self.model), bar:
            means, deviations, read = moments(
                self.model, self.fields, texts, self.maximum_length, batch_size, bar
            )
        self._remark_on(read)
        return means, deviations

    def _remark_on(self, read: Tensor) -> None:
        """Warn once if texts are far longer than the training sentences; ``read`` (n,) counts the chunks of each."""
        far = int((read > FAR).sum())
        if far and not self._remarked:
            self._remarked = True
            logger.warning(
                "%d of %d texts are far longer than those the model was trained on: they are read in up to %d chunks "
                "of at most %d tokens, and the vector of each text is the mean of its chunks' vectors",
                far,
                len(read),
                int(read.max()),
                self.maximum_length or CEILING,
            )


def _check_options(task: Collection[str], **options: str | None) -> None:
    """Refuse options of `SentenceTransformer.encode` that these models do not support, and unknown ones."""
    if strange := set(task) - MTEB_TASK:
        raise TypeError(f"encode() got an unexpected keyword argument {min(strange)!r}")
    known: dict[str, list[str | None]] = {
        "prompt_name": [None],
        "output_value": ["sentence_embedding"],
        "precision": ["float32", None],
    }
    for name, value in options.items():
        if value not in known[name]:
            raise UserError(
                f"expected {name}={known[name][0]!r}, the only supported value, got {value!r}: leave it out"
            )


def _one_of(sentences: Any, inputs: Any) -> Any:
    """The texts, which were given by one of two names."""
    if (sentences is None) == (inputs is None):
        raise UserError("expected sentences, or inputs in their place, got both or none: give one")
    return sentences if inputs is None else inputs


def _finished(
    means: Tensor, scales: Tensor, truncate_dim: int | None, normalize: bool
) -> tuple[Tensor, Tensor]:
    """The first dimensions of means and standard deviations, both scaled by the lengths of the means if asked for."""
    if truncate_dim is not None and truncate_dim < 1:
        raise UserError(f"expected truncate_dim to be at least 1, got {truncate_dim}: leave it out")
    means, scales = means[:, :truncate_dim], scales[:, :truncate_dim]
    if not normalize:
        return means, scales
    lengths = torch.linalg.vector_norm(means, dim=1, keepdim=True).clamp_min(1e-12)
    return means / lengths, scales / lengths


def _untied(rows: Tensor, as_array: bool) -> Any:
    """An array of one vector or a matrix; or the rows of a matrix as a list, and a single vector unchanged."""
    if as_array:
        return rows.cpu().numpy()
    return rows if rows.ndim == 1 else list(rows)


def _unit(vectors: NDArray[Any] | Tensor) -> Tensor:
    """The vectors scaled to length 1, (n, Z)."""
    # A copy, because torch warns about read-only arrays such as memory-mapped ones.
    given = vectors if isinstance(vectors, Tensor) else torch.from_numpy(np.array(vectors))
    return torch.nn.functional.normalize(torch.atleast_2d(given).float(), dim=1)
