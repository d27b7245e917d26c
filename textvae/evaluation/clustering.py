"""How well clusters agree with labels."""

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
    """What `clustering_scores` finds.

    Attributes:
        accuracy: share of the texts whose cluster is matched with their label.
        nmi: normalised mutual information, the normaliser being the mean of the two entropies; 0 to 1.
        ari: Rand index adjusted for chance; 0 on average for clusters drawn at random, 1 for perfect ones.
        matching: cluster to label, of the clusters that have one.
        labels: as the rows of ``confusion``.
        clusters: as the columns of ``confusion``.
        confusion: number of texts by label and cluster; matched pairs stand on the diagonal, in the natural order of
            their labels (1, 2, 10), and behind them what has no partner.
    """

    accuracy: float
    nmi: float
    ari: float
    matching: dict[Any, Any]
    labels: list[Any]
    clusters: list[Any]
    confusion: NDArray[np.integer]

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "accuracy": self.accuracy,
            "nmi": self.nmi,
            "ari": self.ari,
            "labels": self.labels,
            "clusters": self.clusters,
            "confusion": self.confusion.tolist(),
        }

    def report(self) -> str:
        """The three numbers and what they are of, in one line."""
        return (
            f"accuracy {self.accuracy:.1%}, NMI {self.nmi:.3f}, ARI {self.ari:.3f}: {self.confusion.sum():,} texts of "
            f"{len(self.labels)} classes in {len(self.clusters)} clusters"
        )


def clustering_scores(labels: ArrayLike, clusters: ArrayLike) -> ClusteringScores:
    """Accuracy, normalised mutual information and adjusted Rand index of clusters, given the true labels.

        accuracy = 1/n max_m sum_c #{i : c_i = c, y_i = m(c)}

    over all one-to-one matchings m of clusters with labels (Kuhn 1955, the Hungarian method). With more clusters than
    labels, or fewer, some have no partner, and their texts count as wrong.

    Args:
        labels: the true class of each text, (n,), numbers or strings.
        clusters: the cluster of each text, (n,), numbers or strings.

    Raises:
        UserError: if there are no texts, or not as many clusters as labels.

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
    """The different values in their order, that of names a natural one, and the place of each value among them."""
    found, places = np.unique(np.asarray(values), return_inverse=True)
    if found.dtype.kind != "U":
        return found, places
    order = np.array(sorted(range(len(found)), key=lambda place: natural(found[place])))
    return found[order], np.argsort(order)[places]
