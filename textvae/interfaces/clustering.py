"""Cluster texts, and describe each cluster by words, texts and decoded sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from textvae.evaluation.cluster_quality import Comparison, compare_clusters
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

BEAMS = 5
"""Beams with which a centre is decoded."""

CANDIDATES = 4
"""Draws that are decoded for each sentence that is shown; the likeliest are shown."""

SAMPLES = 10
"""Draws of z for the bound of a decoded sentence."""

WIDTH = 100
"""Maximum characters of a text in the report."""


@dataclass(frozen=True)
class TextCluster:
    """The description of a cluster.

    Attributes:
        size: number of texts in the cluster.
        words: the most characteristic words (`characteristic_words`).
        nearest: the texts of the cluster that are nearest to the centre, nearest first.
        centre: the sentence decoded from the centre by beam search; None if the model writes no sentences.
        draws: the likeliest of four times as many sentences decoded from draws of the cluster's Gaussian.
    """

    size: int
    words: list[str]
    nearest: list[str]
    centre: str | None
    draws: list[str]


@dataclass(frozen=True, eq=False)
class TextClusters:
    """The result of `cluster_texts`.

    Attributes:
        clusters: the descriptions of the k clusters.
        labels: the cluster of each text, (n,).
        probabilities: the probability that each text belongs to each cluster, (n, k).
        fitted: the clusters as Gaussians, which can predict the clusters of other vectors and can be saved.
        comparison: the clusters beside those of a baseline; None: not compared.
    """

    clusters: list[TextCluster]
    labels: NDArray[np.integer]
    probabilities: NDArray[np.floating]
    fitted: Clusters
    comparison: Comparison | None = None

    def to_dict(self) -> dict[str, Any]:
        """The descriptions, the cluster of each text, its probability and the comparison, for JSON."""
        return {
            "clusters": [asdict(cluster) for cluster in self.clusters],
            "labels": self.labels.tolist(),
            "probabilities": self.probabilities.max(1).tolist(),
            "comparison": self.comparison and self.comparison.to_dict(),
        }

    def report(self) -> str:
        """The descriptions of the clusters as text, one paragraph each, and the comparison."""
        paragraphs = [self._paragraph(number, cluster) for number, cluster in enumerate(self.clusters)]
        return "\n\n".join([*paragraphs, *([self.comparison.report()] if self.comparison else [])])

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
    compare: bool = True,
    classes: Sequence[str | None] | None = None,
    show_progress_bar: bool | None = None,
) -> TextClusters:
    """Cluster the posterior means of texts, describe each cluster, and compare with a baseline.

    The description of a cluster has its most characteristic words, the texts nearest to its centre and, if the model
    writes text, a sentence decoded from the centre and the likeliest of those from draws of its Gaussian. If the model
    compares vectors by direction, they are scaled to length 1 first. `compare_clusters` compares with a baseline.

    Args:
        vae: a trained model.
        texts: n texts, in any form that `given.as_list` takes.
        clusters: k, the number of clusters; None: choose it by BIC.
        method: a method of `find_clusters`; None: the model's own, or a tied mixture if k is to be chosen.
        seed: seed of the fit and the samples.
        words: number of words for each cluster.
        nearest: number of nearest texts for each cluster; duplicates count once.
        draws: number of decoded samples for each cluster.
        batch_size: sentences at once; None: a fast number that needs little memory.
        maximum_length: maximum tokens of a decoded sentence.
        compare: whether to compare with the baseline, which takes a few seconds.
        classes: the class of each text, None for a text without one; only the comparison uses them.
        show_progress_bar: None: only on a terminal.

    Raises:
        UserError: if the model has no latent code; see also `find_clusters`.
    """
    check_seed(seed)
    texts = as_list(texts)  # so that a Series is indexed by position
    shown: dict[str, Any] = {"batch_size": batch_size, "show_progress_bar": show_progress_bar}
    method = method or ("tied-mixture" if clusters is None else vae.clusters_by)
    vectors = np.asarray(vae.encode(texts, normalize_embeddings=_scaled(vae, method), **shown))
    fitted = find_clusters(vae, vectors, clusters, method, seed=seed, show_progress_bar=show_progress_bar)
    probabilities = fitted.probabilities(vectors)
    labels = probabilities.argmax(1)
    sentences = _written(vae, fitted, draws, seed, maximum_length=maximum_length, **shown)
    keywords = characteristic_words(texts, labels, words, vae.word_counter)
    examples = _nearest_texts(texts, vectors, labels, fitted.centres, nearest)
    described = [
        TextCluster(
            int((labels == c).sum()), keywords.get(c, []), examples[c], own[0] if own else None, own[1:]
        )
        for c, own in enumerate(sentences)
    ]
    comparison = _compared(vae, texts, vectors, fitted, method, classes, seed) if compare else None
    return TextClusters(described, labels, probabilities, fitted, comparison)


def _scaled(vae: SentenceEncoder, method: Method) -> bool:
    """Whether vectors are scaled to length 1; the components of a prior are in the model's own scale."""
    return vae.by_direction and method != "prior"


def _compared(
    vae: SentenceEncoder,
    texts: list[str],
    vectors: NDArray[np.floating],
    fitted: Clusters,
    method: Method,
    classes: Sequence[str | None] | None,
    seed: int,
) -> Comparison | None:
    """The clusters beside those of the baseline; the components of a prior were not fitted, so have no stability."""

    def again(part: NDArray[np.floating], another: int) -> Clusters:
        return find_clusters(vae, part, len(fitted.centres), method, seed=another, show_progress_bar=False)

    fit = None if method == "prior" else again
    return compare_clusters(texts, vectors, fitted, fit, classes, seed)


def _nearest_texts(
    texts: list[str],
    vectors: NDArray[np.floating],
    labels: NDArray[np.integer],
    centres: NDArray[np.floating],
    nearest: int,
) -> list[list[str]]:
    """For each cluster, up to ``nearest`` different texts of the cluster, the one nearest to the centre first."""
    found = []
    for c, centre in enumerate(centres):
        members = np.flatnonzero(labels == c)
        order = members[np.linalg.norm(vectors[members] - centre, axis=1).argsort(kind="stable")]
        found.append(list(dict.fromkeys(texts[i] for i in order))[:nearest])
    return found


def _written(
    vae: SentenceEncoder, fitted: Clusters, draws: int, seed: int, **options: Any
) -> list[list[str]]:
    """For each cluster, the sentences decoded from its centre and from samples; none if the model writes no text."""
    if not isinstance(vae, SentenceDecoder):
        return [[] for _ in fitted.centres]
    centres = vae.decode(fitted.centres, num_beams=BEAMS, **options)
    each = CANDIDATES * draws
    z = np.concatenate([fitted.draw(c, each, seed) for c in range(len(centres))])
    texts = vae.decode(z, **options)
    ranked = _likeliest_first(vae, [texts[start : start + each] for start in range(0, len(texts), each or 1)])
    chosen = [rows[:draws] for rows in ranked] or [[] for _ in centres]
    return [[centre, *rows] for centre, rows in zip(centres, chosen, strict=True)]


def _likeliest_first(vae: Any, groups: list[list[str]]) -> list[list[str]]:
    """The different texts of each group, sorted by the bound on log p(x) divided by the number of tokens."""
    texts = sorted({text for group in groups for text in group})
    if not texts:
        return groups
    tokens = [len(vae.tokenizer(text, add_special_tokens=False)["input_ids"]) + 1 for text in texts]
    bounds = vae.log_likelihood(texts, SAMPLES, show_progress_bar=False) / tokens
    score = dict(zip(texts, bounds, strict=True))
    return [sorted(dict.fromkeys(group), key=lambda text: -score[text]) for group in groups]


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
    """Clusters of a model's vectors: fitted to the vectors, or taken from the model's prior.

    Args:
        vae: a trained model.
        vectors: posterior means from ``vae.encode``, (n, Z).
        clusters: k, the number of clusters; None: choose it by BIC. Unused if ``method`` is "prior".
        method: a method of `fit_clusters`, or "prior" to take the components of the model's `MixturePrior`.
        seed: seed of the fit.
        restarts: number of fits, of which the best is kept.
        show_progress_bar: whether to show the progress of the search by BIC; None: only on a terminal.

    Raises:
        UserError: if ``method`` is "prior" and the prior is not a mixture; see also `fit_clusters`.
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
            "expected a model whose prior is a mixture, got one with another prior: choose another method, or "
            "train with model.prior.kind=mixture model.prior.components=10"
        )
    # In float64 on the host, because some devices have no float64.
    parameters = (prior.logits, prior.means, prior.log_variances)
    logits, means, log_variances = (parameter.detach().cpu().double() for parameter in parameters)
    return Clusters(logits.softmax(-1).numpy(), means.numpy(), log_variances.exp().numpy())
