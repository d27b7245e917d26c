"""Clusters of texts, each described by words, documents and sentences."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from textvae.interfaces.sentence_decoder import SentenceDecoder
from textvae.interfaces.sentence_encoder import SentenceEncoder
from textvae.latent_space import clusters as latent
from textvae.latent_space.clusters import Clusters, fit_clusters
from textvae.modules.priors import MixturePrior
from textvae.support.display import shortened, visible
from textvae.support.errors import UserError
from textvae.support.seeds import check_seed
from textvae.text.given import as_list
from textvae.text.keywords import characteristic_words

Method = Literal[latent.Method, "prior"]

WIDTH = 100
"""Characters of a text in the report."""


@dataclass(frozen=True)
class TextCluster:
    """A cluster in words.

    Attributes:
        size: number of texts in it.
        words: its most characteristic ones (`characteristic_words`).
        nearest: the texts of it that are nearest to the centre, the nearest first.
        centre: the sentence decoded from the centre; None: the model writes no sentences.
        draws: sentences decoded from draws of the cluster's Gaussian.
    """

    size: int
    words: list[str]
    nearest: list[str]
    centre: str | None
    draws: list[str]


@dataclass(frozen=True, eq=False)
class TextClusters:
    """What `cluster_texts` finds.

    Attributes:
        clusters: the k clusters in words.
        labels: the cluster of each text, (n,).
        probabilities: of each text, that it belongs to each cluster, (n, k).
        fitted: the clusters as Gaussians, which predict those of other vectors, and can be saved.
    """

    clusters: list[TextCluster]
    labels: NDArray[np.integer]
    probabilities: NDArray[np.floating]
    fitted: Clusters

    def to_dict(self) -> dict[str, Any]:
        """The clusters in words, and of each text its cluster and the probability of that, for JSON."""
        return {
            "clusters": [asdict(cluster) for cluster in self.clusters],
            "labels": self.labels.tolist(),
            "probabilities": self.probabilities.max(1).tolist(),
        }

    def report(self) -> str:
        """The clusters in words, a paragraph each."""
        return "\n\n".join(self._paragraph(number, cluster) for number, cluster in enumerate(self.clusters))

    def _paragraph(self, number: int, cluster: TextCluster) -> str:
        texts = len(self.labels)
        rows = [("words", ", ".join(cluster.words))]
        rows += [("nearest", text) for text in cluster.nearest]
        rows += [] if cluster.centre is None else [("centre", cluster.centre)]
        rows += [("draw", text) for text in cluster.draws]
        return "\n".join(
            [
                f"cluster {number}: {cluster.size:,} of {texts:,} texts ({cluster.size / texts:.1%})",
                *(f"  {name:<8} {visible(shortened(text, WIDTH))}".rstrip() for name, text in rows),
            ]
        )


def cluster_texts(
    vae: SentenceEncoder,
    texts: Any,
    clusters: int | None = 10,
    method: Method | None = None,
    *,
    seed: int = 0,
    words: int = 10,
    nearest: int = 3,
    draws: int = 3,
    batch_size: int | None = None,
    maximum_length: int = 100,
    show_progress_bar: bool | None = None,
) -> TextClusters:
    """Clusters of the texts' posterior means, and what they are about.

    Each cluster is described by its most characteristic words, by the texts nearest to its centre, and, if the model
    writes text, by sentences that it decodes, greedily, from the centre and from draws around it. Vectors that are
    compared by direction are scaled to length 1 first.

    Args:
        vae: a trained model.
        texts: n of them, in anything that `given.as_list` takes.
        clusters: k; None: chosen by BIC.
        method: of `find_clusters`; None: that which suits the model's vectors, or a tied mixture if k is to be chosen.
        seed: of the fit and the draws.
        words: how many describe a cluster.
        nearest: how many texts describe it; one that occurs several times counts once.
        draws: how many decoded draws describe it.
        batch_size: sentences at once; None: as many as are fast in little memory.
        maximum_length: decoded sentences end after so many tokens at the latest.
        show_progress_bar: None: only on a terminal.

    Raises:
        UserError: if the model has no latent, or as `find_clusters` says.

    Example:
        >>> vae = load_encoder("runs/demo")                                     # doctest: +SKIP
        >>> print(cluster_texts(vae, texts, clusters=None).report())            # doctest: +SKIP
    """
    check_seed(seed)
    texts = as_list(texts)  # a Series would be indexed by its own numbers
    shown: dict[str, Any] = {"batch_size": batch_size, "show_progress_bar": show_progress_bar}
    method = method or ("tied-mixture" if clusters is None else vae.clusters_by)
    # Those of the prior are where the model has them.
    scaled = vae.by_direction and method != "prior"
    vectors = np.asarray(vae.encode(texts, normalize_embeddings=scaled, **shown))
    fitted = find_clusters(vae, vectors, clusters, method, seed=seed, show_progress_bar=show_progress_bar)
    probabilities = fitted.probabilities(vectors)
    labels = probabilities.argmax(1)
    keywords = characteristic_words(texts, labels, words, vae.word_counter)
    written = _written(vae, fitted, draws, seed, maximum_length=maximum_length, **shown)
    described = []
    for c, centre in enumerate(fitted.centres):
        members = np.flatnonzero(labels == c)
        order = members[np.linalg.norm(vectors[members] - centre, axis=1).argsort(kind="stable")]
        sentences = written[c]
        described.append(
            TextCluster(
                size=len(members),
                words=keywords.get(c, []),
                nearest=list(dict.fromkeys(texts[i] for i in order))[:nearest],
                centre=sentences[0] if sentences else None,
                draws=sentences[1:],
            )
        )
    return TextClusters(described, labels, probabilities, fitted)


def _written(
    vae: SentenceEncoder, fitted: Clusters, draws: int, seed: int, **options: Any
) -> list[list[str]]:
    """The sentences decoded from each centre and from draws around it; none if the model writes no text."""
    if not isinstance(vae, SentenceDecoder):
        return [[] for _ in fitted.centres]
    z = [np.vstack([centre, fitted.draw(c, draws, seed)]) for c, centre in enumerate(fitted.centres)]
    written = vae.decode(np.concatenate(z), **options)
    return [written[start : start + draws + 1] for start in range(0, len(written), draws + 1)]


def find_clusters(
    vae: SentenceEncoder,
    vectors: NDArray[np.floating],
    clusters: int | None = 10,
    method: Method = "tied-mixture",
    *,
    seed: int = 0,
    restarts: int = 3,
    show_progress_bar: bool | None = None,
) -> Clusters:
    """Clusters of a model's vectors: fitted to them, or those of its prior.

    Args:
        vae: a trained model.
        vectors: (n, Z), from its ``encode``.
        clusters: k; None: chosen by BIC. A prior has as many as it has components.
        method: of `fit_clusters`; or "prior", the components of a prior that is a mixture (`MixturePrior`), in place
            of a fit.
        seed: of the fit.
        restarts: of the fit, of which the best is kept.
        show_progress_bar: over the candidates of BIC; None: only on a terminal.

    Raises:
        UserError: if the prior is no mixture, or as `fit_clusters` says.
    """
    if method != "prior":
        return fit_clusters(
            vectors,
            clusters,
            method,
            random_state=seed,
            restarts=restarts,
            show_progress_bar=show_progress_bar,
        )
    prior = vae.model.prior
    if not isinstance(prior, MixturePrior):
        raise UserError(
            "expected a model whose prior is a mixture, got one whose prior is N(0, I): take another method, or "
            "train with model.prior.kind=mixture model.prior.components=10"
        )
    mixture = prior(1, prior.means.double())
    parts = mixture.component_distribution
    arrays = mixture.mixture_distribution.probs, parts.mean, parts.variance
    return Clusters(*(array[0].detach().cpu().numpy() for array in arrays))
