"""How good clusters of texts are, with and without labels, beside the clusters of a second of linear algebra."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, silhouette_score

from textvae.evaluation.clustering import clustering_scores
from textvae.latent_space.clusters import Clusters, fit_clusters
from textvae.latent_space.linear import LinearVectors
from textvae.support.errors import UserError

SAMPLE = 2_000
"""Texts on which stability and silhouette are measured, a random sample if there are more."""

LEARNT_FROM = 20_000
"""Texts from which the baseline is learnt, a random sample if there are more."""

REPEATS = 3
"""Fits from other starts, and pairs of halves."""

RESTARTS = 3
"""Starts of each fit of the baseline, as in `fit_clusters`."""

CLOSE = 0.02
"""Smaller differences of stability are not mentioned."""

BASELINE = "TF-IDF, SVD, k-means"

Vectors = NDArray[np.floating]
Labels = NDArray[np.integer]
Fit = Callable[[Vectors, int], Clusters]
"""Fits clusters to vectors (n, Z) with a seed."""


@dataclass(frozen=True)
class Quality:
    """How good the clusters of n texts are; None: it cannot be measured.

    Attributes:
        starts: mean adjusted Rand index of pairs of fits that differ in their seeds, 1 for equal clusters.
        halves: the same for pairs of fits to disjoint halves of the texts, which then cluster all texts.
        silhouette: of the clusters among the TF-IDF vectors, by cosine distance, -1 to 1.
        accuracy: with classes, share of the texts whose cluster is matched with their class.
        nmi: with classes, normalised mutual information.
        ari: with classes, adjusted Rand index.
    """

    starts: float | None = None
    halves: float | None = None
    silhouette: float | None = None
    accuracy: float | None = None
    nmi: float | None = None
    ari: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Clusters of a model's vectors beside as many clusters by TF-IDF, SVD and k-means of the same texts.

    Attributes:
        clusters: how many.
        ours: the quality of the model's clusters.
        baseline: the quality of the baseline's clusters.
        agreement: adjusted Rand index of the two clusterings.
    """

    clusters: int
    ours: Quality
    baseline: Quality
    agreement: float

    def to_dict(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        return asdict(self)

    def report(self) -> str:
        """A table of both, and a sentence on where the baseline is better."""
        rows = list(self._rows())
        name, value = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
        lines = [f"{row[0]:<{name}}  {row[1]:>{value}}  {row[2]:>{len(BASELINE)}}".rstrip() for row in rows]
        lines.append(f"agreement of the two: adjusted Rand index {self.agreement:.2f}")
        return "\n".join([*lines, *filter(None, [self.verdict()])])

    def _rows(self) -> Iterator[tuple[str, ...]]:
        yield f"{self.clusters} clusters", "these", BASELINE
        for field, label, form in (
            ("starts", "stability over starts", ".2f"),
            ("halves", "stability over halves of the texts", ".2f"),
            ("silhouette", "silhouette among TF-IDF vectors", ".3f"),
            ("accuracy", "accuracy", ".1%"),
            ("nmi", "normalised mutual information", ".3f"),
            ("ari", "adjusted Rand index", ".3f"),
        ):
            pair = [getattr(quality, field) for quality in (self.ours, self.baseline)]
            if pair != [None, None]:
                yield label, *("-" if value is None else format(value, form) for value in pair)

    def verdict(self) -> str:
        """Where the baseline is better, and what to try; "" if it is not."""
        better = [
            text
            for field, text, least in (
                ("accuracy", "agrees better with the classes", 0.0),
                ("halves", "finds the same clusters more reliably", CLOSE),
            )
            if _gain(getattr(self.baseline, field), getattr(self.ours, field)) > least
        ]
        if not better:
            return ""
        return (
            f"{BASELINE} {' and '.join(better)} on these texts: use it, or try another number of clusters, another "
            "--method, or a model of documents (textvae train documents)."
        )


def _gain(baseline: float | None, ours: float | None) -> float:
    return 0.0 if baseline is None or ours is None else baseline - ours


def compare_clusters(
    texts: Sequence[str],
    vectors: Vectors,
    found: Clusters,
    fit: Fit | None,
    classes: Sequence[str | None] | None = None,
    seed: int = 0,
) -> Comparison | None:
    """Measure clusters of texts beside as many clusters by TF-IDF, SVD and k-means.

    The silhouette is measured among TF-IDF vectors, in which neither clustering was found; the baseline is closer to
    them, so that its silhouette is often the larger one, also where its clusters are worse.

    Args:
        texts: n texts.
        vectors: the vectors that were clustered, (n, Z).
        found: their clusters.
        fit: repeats the fit with another seed or on fewer vectors; None: the clusters were not fitted.
        classes: the class of each text; None for a text without one.
        seed: seeds the samples and the fits.

    Returns:
        The comparison; None if the texts have too few words or are too few for the baseline.
    """
    chosen, learnt = (_sample(len(texts), most, seed) for most in (SAMPLE, LEARNT_FROM))
    k = len(found.centres)
    ours = found.predict(vectors)
    try:
        linear = LinearVectors([texts[row] for row in learnt], seed)
        words = linear.tfidf(texts)
        theirs = linear.vectors(words)
        again = partial(_k_means, k)
        other = again(theirs[learnt], seed).predict(theirs)
    except UserError:
        return None
    classified = partial(_classified, classes)
    return Comparison(
        k,
        Quality(
            **_stability(vectors[chosen], fit, seed),
            **_silhouette(words[chosen], ours[chosen]),
            **classified(ours),
        ),
        Quality(
            **_stability(theirs[chosen], again, seed),
            **_silhouette(words[chosen], other[chosen]),
            **classified(other),
        ),
        float(adjusted_rand_score(ours, other)),
    )


def _k_means(clusters: int, vectors: Vectors, seed: int) -> Clusters:
    return fit_clusters(vectors, clusters, "k-means", random_state=seed, restarts=RESTARTS)


def _sample(n: int, most: int, seed: int) -> NDArray[np.intp]:
    """The sorted indices of a random sample, or all."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:most])


def _stability(vectors: Vectors, fit: Fit | None, seed: int) -> dict[str, float | None]:
    """The agreement of fits from other starts, and of fits to disjoint halves."""
    if fit is None:
        return {}
    draw = np.random.default_rng(seed)
    parts = [np.array_split(draw.permutation(len(vectors)), 2) for _ in range(REPEATS)]
    try:
        with warnings.catch_warnings():
            # Fewer different vectors than clusters; the agreement is then low, as it should be.
            warnings.simplefilter("ignore", ConvergenceWarning)
            starts = [fit(vectors, seed + number).predict(vectors) for number in range(REPEATS)]
            halves = [[fit(vectors[part], seed).predict(vectors) for part in pair] for pair in parts]
    except UserError:
        return {}
    return {"starts": _agreement(combinations(starts, 2)), "halves": _agreement(halves)}


def _agreement(pairs: Any) -> float:
    """The mean adjusted Rand index of pairs of clusterings."""
    return float(np.mean([adjusted_rand_score(*pair) for pair in pairs]))


def _silhouette(words: csr_matrix, clusters: Labels) -> dict[str, float]:
    """The silhouette, if there are at least two clusters and one of them has two texts."""
    if not 1 < len(set(clusters.tolist())) < len(clusters):
        return {}
    return {"silhouette": float(silhouette_score(words, clusters, metric="cosine"))}


def _classified(classes: Sequence[str | None] | None, clusters: Labels) -> dict[str, float]:
    """The agreement with the classes of the texts that have one."""
    known = [(kind, row) for row, kind in enumerate(classes or ()) if kind is not None]
    if not known:
        return {}
    names, rows = zip(*known, strict=True)
    scores = clustering_scores(names, clusters[list(rows)])
    return {"accuracy": scores.accuracy, "nmi": scores.nmi, "ari": scores.ari}
