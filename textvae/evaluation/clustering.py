"""Agreement of clusters with labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from textvae.support.display import natural
from textvae.support.errors import UserError


@dataclass(frozen=True, eq=False)
class ClusteringScores:
    """The result of `clustering_scores`.

    Attributes:
        accuracy: share of the texts whose cluster is matched with their label.
        nmi: mutual information divided by the mean of the two entropies, 0 to 1.
        ari: Rand index adjusted for chance; on average 0 for random clusters, 1 for perfect ones.
        matching: the label matched with each cluster; unmatched clusters are absent.
        labels: labels of the rows of ``confusion``.
        clusters: clusters of the columns of ``confusion``.
        confusion: number of texts by label and cluster. Matched pairs are on the diagonal, in the natural order of
            their labels (1, 2, 10); unmatched labels or clusters come last.
    """

    accuracy: float
    nmi: float
    ari: float
    matching: dict[Any, Any]
    labels: list[Any]
    clusters: list[Any]
    confusion: NDArray[np.integer]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the matching, for JSON."""
        return {
            "accuracy": self.accuracy,
            "nmi": self.nmi,
            "ari": self.ari,
            "labels": self.labels,
            "clusters": self.clusters,
            "confusion": self.confusion.tolist(),
        }

    def report(self) -> str:
        """The three scores and the sizes of the data, in one line."""
        return (
            f"accuracy {self.accuracy:.1%}, NMI {self.nmi:.3f}, ARI {self.ari:.3f}: {self.confusion.sum():,} texts of "
            f"{len(self.labels)} classes in {len(self.clusters)} clusters"
        )


def clustering_scores(labels: ArrayLike, clusters: ArrayLike) -> ClusteringScores:
    """Accuracy, normalised mutual information and adjusted Rand index of clusters, given the true labels.

        accuracy = 1/n max_m sum_c #{i : c_i = c, y_i = m(c)}

    over all one-to-one matchings m of clusters with labels (Kuhn 1955, the Hungarian method). If the numbers of
    clusters and labels differ, some stay unmatched, and their texts count as wrong.

    Args:
        labels: true class of each text, (n,), numbers or strings.
        clusters: cluster of each text, (n,), numbers or strings.

    Raises:
        UserError: if there are no texts, or the two lengths differ.

    Example:
        >>> scores = clustering_scores(["a", "a", "b", "b", "b"], [1, 1, 0, 0, 1])
        >>> scores.accuracy, scores.matching
        (0.8, {1: 'a', 0: 'b'})
        >>> scores.confusion.tolist()
        [[2, 0], [1, 2]]
    """
    names, rows = _numbered(labels)
    groups, columns = _numbered(clusters)
    if rows.ndim != 1 or rows.shape != columns.shape or not rows.size:
        raise UserError(
            f"expected a label and a cluster for each text, got shapes {np.shape(labels)} and {np.shape(clusters)}"
        )
    table = contingency_matrix(rows, columns)
    matched = linear_sum_assignment(table, maximize=True)
    by_label, by_cluster = (
        np.concatenate([pairs, np.setdiff1d(np.arange(size), pairs)])
        for pairs, size in zip(matched, table.shape, strict=True)
    )
    return ClusteringScores(
        accuracy=float(table[matched].sum() / rows.size),
        nmi=float(normalized_mutual_info_score(rows, columns)),
        ari=float(adjusted_rand_score(rows, columns)),
        matching=dict(zip(groups[matched[1]].tolist(), names[matched[0]].tolist(), strict=True)),
        labels=names[by_label].tolist(),
        clusters=groups[by_cluster].tolist(),
        confusion=table[np.ix_(by_label, by_cluster)],
    )


def _numbered(values: ArrayLike) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The different values, sorted (names in natural order), and the index of each value among them."""
    found, places = np.unique(np.asarray(values), return_inverse=True)
    if found.dtype.kind != "U":
        return found, places
    order = np.array(sorted(range(len(found)), key=lambda place: natural(found[place])))
    return found[order], np.argsort(order)[places]
