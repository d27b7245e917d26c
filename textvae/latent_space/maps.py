"""Maps of the latent space: projections of the vectors to the plane."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from textvae.support.errors import UserError
from textvae.support.seeds import check_seed

Vectors = NDArray[np.float64]

FEWEST = 10
"""With fewer vectors than this, neighbourhoods mean nothing, and every method uses PCA."""


def project(vectors: ArrayLike, method: str = "pca", random_state: int = 0) -> Vectors:
    """The positions of vectors on a map, (n, 2).

    - ``pca``: the two directions of largest variance. Distances on the map are never larger than between the vectors;
      directions are meaningful, but clusters often overlap. For any number of vectors.
    - ``tsne``: keeps neighbours together; distances between clusters, and their sizes, mean little. The slowest method.
    - ``umap``: like t-SNE, but faster for many vectors; the first call compiles it. Needs ``textvae[umap]``.

    If all vectors are equal, they share one position. Fewer than ten vectors are always projected by PCA.

    Args:
        vectors: (n, Z).
        method: one of `METHODS`.
        random_state: seeds t-SNE and UMAP; both start from the PCA.

    Raises:
        UserError: if there are no vectors, a number is not finite, the random state is out of range, or the method is
            unknown or not installed.

    References:
        Visualizing Data using t-SNE (van der Maaten and Hinton 2008), https://jmlr.org/papers/v9/vandermaaten08a.html
        The Art of Using t-SNE for Single-cell Transcriptomics (Kobak and Berens 2019), on starting from the PCA,
        https://doi.org/10.1038/s41467-019-13056-x
        UMAP: Uniform Manifold Approximation and Projection (McInnes et al. 2018), https://arxiv.org/abs/1802.03426

    Example:
        >>> project([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0], [6.0, 0.0, 8.0]]).round(3)[:, 0].tolist()
        [-5.0, 0.0, 5.0]
    """
    check_method(method)
    check_seed(random_state, "random_state")
    vectors = np.asarray(vectors, dtype=np.float64)
    if vectors.ndim != 2 or not vectors.size:
        raise UserError(f"expected vectors of shape (n, Z), got {vectors.shape}: take them from encode")
    if not np.isfinite(vectors).all():
        row = int(np.isfinite(vectors).all(1).argmin())
        raise UserError(
            f"expected finite vectors, got NaN or infinity in row {row}: leave it out, or check the training"
        )
    if not np.ptp(vectors, axis=0).any():
        return np.zeros((len(vectors), 2))
    if vectors.shape[1] == 1:
        vectors = np.pad(vectors, ((0, 0), (0, 1)))
    place = METHODS[method if len(vectors) >= FEWEST else "pca"]
    return np.asarray(place(vectors, random_state), dtype=np.float64)


def check_method(method: str) -> None:
    """Raise a `UserError` if `project` has no such method, or the method's library is not installed."""
    if method not in METHODS:
        raise UserError(f"expected a method of {', '.join(METHODS)}, got {method!r}")
    if method == "umap" and find_spec("umap") is None:
        raise UserError(
            "expected the library umap-learn, found none: pip install 'textvae[umap]', or use tsne"
        )


def _pca(vectors: Vectors, random_state: int) -> Vectors:
    return PCA(2, svd_solver="full").fit_transform(vectors)


def _tsne(vectors: Vectors, random_state: int) -> Vectors:
    # The usual perplexity, 30, needs 90 neighbours for each vector.
    perplexity = min(30, (len(vectors) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=random_state).fit_transform(vectors)


def _umap(vectors: Vectors, random_state: int) -> Vectors:
    from umap import UMAP

    # With a random state UMAP uses one thread; n_jobs=1 avoids its warning about that.
    neighbours = min(15, len(vectors) - 1)
    reducer = UMAP(n_neighbors=neighbours, init="pca", random_state=random_state, n_jobs=1)
    return reducer.fit_transform(vectors)


METHODS: dict[str, Callable[[Vectors, int], Vectors]] = {"pca": _pca, "tsne": _tsne, "umap": _umap}
"""The methods by name."""
