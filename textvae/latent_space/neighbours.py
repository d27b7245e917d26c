"""The nearest vectors of a corpus."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from textvae.support.errors import UserError

Metric = Literal["cosine", "euclidean"]

PAIRS = 2**22
"""Distances held in memory at once."""


def nearest(
    queries: NDArray[np.floating], corpus: NDArray[np.floating], k: int, metric: Metric = "cosine"
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The k nearest rows of a corpus for each query, nearest first, and their distances; both (m, k).

    The search is exact: every pair is compared, in chunks, so a memory-mapped corpus may be larger than memory. Rows at
    the same distance keep the order of the corpus.

    Args:
        queries: (m, Z).
        corpus: (n, Z), such as ``numpy.load("z.npy", mmap_mode="r")``.
        k: number of neighbours.
        metric: ``cosine`` is 1 - cos of the angle; a zero vector has no direction, so its distance is NaN and comes
            last.

    Raises:
        UserError: if the corpus has fewer than k rows, or the sizes of the vectors differ.

    Example:
        >>> corpus = np.array([[9.0, 9.0], [1.0, 2.0], [2.0, 1.0]])
        >>> rows, distances = nearest(np.array([[1.0, 1.0]]), corpus, 2, "euclidean")
        >>> rows.tolist(), distances.tolist()
        ([[1, 2]], [[1.0, 1.0]])
    """
    if queries.ndim != 2 or corpus.ndim != 2 or queries.shape[1] != corpus.shape[1]:
        raise UserError(
            f"expected queries (m, Z) and a corpus (n, Z), got shapes {queries.shape} and {corpus.shape}: "
            "encode both with one model"
        )
    if not len(corpus):
        raise UserError("expected a corpus to search, got an empty one: give one with texts")
    if not 1 <= k <= len(corpus):
        raise UserError(f"expected k from 1 to {len(corpus)}, the size of the corpus, got {k}")
    rows, distances = np.zeros((len(queries), 0), dtype=np.intp), np.zeros((len(queries), 0))
    at_once = max(1, PAIRS // max(1, len(queries)))
    for start in range(0, len(corpus), at_once):
        # Pair by pair, because matrix products may give equal rows distances that differ in the last bit.
        found = cdist(queries, corpus[start : start + at_once], metric)
        distances = np.hstack([distances, found])
        rows = np.hstack([rows, np.broadcast_to(np.arange(start, start + found.shape[1]), found.shape)])
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        rows, distances = np.take_along_axis(rows, order, 1), np.take_along_axis(distances, order, 1)
    return rows, distances
