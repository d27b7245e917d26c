"""Clusters of latent vectors: Gaussian mixtures and k-means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.linalg import solve_triangular
from scipy.special import softmax
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.mixture import GaussianMixture
from tqdm import tqdm

from textvae.support.errors import UserError
from textvae.support.files import replacing
from textvae.support.seeds import check_seed

Vectors = NDArray[np.floating]
Method = Literal["mixture", "tied-mixture", "diagonal-mixture", "k-means", "mini-batch-k-means"]

SHAPES = {"mixture": "full", "tied-mixture": "tied", "diagonal-mixture": "diag"}
"""scikit-learn's name of the covariance type of each mixture method."""

CANDIDATES = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 30)
"""Numbers of clusters that BIC chooses from."""

REGULARIZATION = 1e-3
"""Added to the variances of a mixture. Posterior means are on the scale of N(0, I), and a dimension with a variance far
below that of an active unit (0.01) is noise. A mixture ignores scale and would otherwise find clusters in it."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters that are the components of a Gaussian mixture.

        p(z) = sum_c w_c N(z; m_c, S_c),    p(c | z) = w_c N(z; m_c, S_c) / p(z)

    The result of k-means is such a mixture, too, with equal weights and one variance for all directions: the likeliest
    cluster is the one with the nearest centre.

    Attributes:
        weights: w, (k,).
        centres: m, (k, Z).
        covariances: S, (k, Z, Z), or its diagonals, (k, Z).
    """

    weights: Vectors
    centres: Vectors
    covariances: Vectors

    def predict(self, vectors: ArrayLike) -> NDArray[np.integer]:
        """The likeliest cluster, (n,), of each vector (n, Z)."""
        return self._joint(vectors).argmax(1)

    def probabilities(self, vectors: ArrayLike) -> Vectors:
        """p(c | z), (n, k), for each vector (n, Z)."""
        return softmax(self._joint(vectors), axis=1)

    def draw(self, cluster: int, n: int, seed: int = 0) -> Vectors:
        """Draw ``n`` vectors (n, Z) from the Gaussian of a cluster.

        Raises:
            UserError: if the seed is out of range.
        """
        check_seed(seed)
        noise = np.random.default_rng(seed).standard_normal((n, self.centres.shape[1]))
        spread = self.covariances[cluster]
        scaled = noise * np.sqrt(spread) if spread.ndim == 1 else noise @ np.linalg.cholesky(spread).T
        return self.centres[cluster] + scaled

    def save(self, path: str | Path) -> None:
        """Write the arrays to a safetensors file, atomically."""
        with replacing(path) as partial:
            save_file({name: np.ascontiguousarray(array) for name, array in asdict(self).items()}, partial)

    @classmethod
    def load(cls, path: str | Path) -> Clusters:
        """Read a file that `save` wrote.

        Raises:
            UserError: if there is no such file, it holds something else, or a number is not finite.
        """
        try:
            found = cls(**load_file(path))
        except (OSError, SafetensorError, TypeError) as error:
            raise UserError(
                f"expected clusters saved by Clusters.save in {path}, got: {str(error).splitlines()[0]}"
            ) from error
        if not all(np.isfinite(array).all() for array in asdict(found).values()):
            raise UserError(
                f"expected clusters of finite numbers in {path}, got NaN or infinity: cluster again"
            )
        return found

    def _joint(self, vectors: ArrayLike) -> Vectors:
        """log w_c N(z; m_c, S_c), (n, k)."""
        k, size = self.centres.shape
        z = _checked(vectors, size)
        if self.covariances.ndim == 2:
            precision = 1 / self.covariances
            # Two products instead of an (n, k, Z) array; centring first limits rounding errors.
            z, m = z - self.centres.mean(0), self.centres - self.centres.mean(0)
            distance = z**2 @ precision.T - 2 * z @ (m * precision).T + (m**2 * precision).sum(1)
            log_volume = np.log(self.covariances).sum(1) / 2
        else:
            factors = np.linalg.cholesky(self.covariances)
            distance = np.empty((len(z), k))
            for c, (factor, centre) in enumerate(zip(factors, self.centres, strict=True)):
                distance[:, c] = (solve_triangular(factor, (z - centre).T, lower=True) ** 2).sum(0)
            log_volume = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(1)
        return np.log(self.weights) - distance / 2 - log_volume - size / 2 * np.log(2 * np.pi)


def fit_clusters(
    vectors: ArrayLike,
    clusters: int | None = 10,
    method: Method = "tied-mixture",
    *,
    random_state: int = 0,
    restarts: int = 3,
    candidates: Sequence[int] = CANDIDATES,
    show_progress_bar: bool | None = None,
) -> Clusters:
    """The clusters of the vectors, the largest first.

    Mixture clusters may be elongated, overlap and differ in size. With a tied covariance all clusters have one shape;
    on documents these clusters matched the topics best (recipes/RESULTS.md). K-means finds round clusters of one width
    in a fraction of the time; on large sets its mini-batch variant is faster still.

    Args:
        vectors: (n, Z), such as the posterior means of texts.
        clusters: k; None: the candidate with the lowest BIC = -2 log p(vectors) + (free parameters) log n.
        method: a Gaussian mixture with one covariance for all clusters ("tied"), or with full or diagonal ones; or
            k-means.
        random_state: seeds the starts.
        restarts: number of starts; the best fit is kept.
        candidates: numbers of clusters for BIC; those over the number of different vectors are left out.
        show_progress_bar: over the candidates; None: only on a terminal.

    Raises:
        UserError: if there are fewer different vectors than clusters, the vectors have another shape or are not
            finite, or BIC is to choose for k-means, which has no likelihood.

    References:
        Estimating the dimension of a model (Schwarz 1978), https://doi.org/10.1214/aos/1176344136
        Improved Variational Autoencoders for Text Modeling using Dilated Convolutions (Yang et al. 2017), section 4.4:
        a mixture fitted to posterior means, https://arxiv.org/abs/1702.08139

    Example:
        >>> found = fit_clusters([[0.0], [0.2], [0.1], [5.0], [5.2]], clusters=2)
        >>> found.centres.round(2).tolist(), found.predict([[4.0], [1.0]]).tolist()
        ([[0.1], [5.1]], [1, 0])
    """
    if method not in get_args(Method):
        raise UserError(f"expected method to be one of {', '.join(get_args(Method))}, got {method!r}")
    check_seed(random_state, "random_state")
    z = _checked(vectors)
    different = _different(z, min(candidates) if clusters is None else clusters)
    if clusters is not None:
        return _fit(z, clusters, method, random_state, restarts)[0]
    if method.endswith("k-means"):
        raise UserError(
            f"expected a number of clusters for {method}, got none: give one, or use a mixture, as BIC needs a "
            "likelihood"
        )
    hidden = None if show_progress_bar is None else not show_progress_bar
    possible = [k for k in candidates if k <= different]
    fits = [
        _fit(z, k, method, random_state, restarts)
        for k in tqdm(possible, desc="choosing", unit=" fits", disable=hidden)
    ]
    return min(fits, key=lambda fit: fit[1])[0]


def _different(z: Vectors, clusters: int) -> int:
    """The number of different vectors, checked to be enough for this many clusters."""
    different = len(np.unique(z, axis=0))
    if clusters < 1 or different < max(clusters, 2):
        raise UserError(
            f"expected at least 1 cluster and at least as many different vectors (2 or more), got {clusters} clusters "
            f"and {different} different vectors: give more texts or ask for fewer clusters; a collapsed latent (see "
            "textvae evaluate) has no clusters"
        )
    return different


def _fit(z: Vectors, k: int, method: Method, seed: int, restarts: int) -> tuple[Clusters, float]:
    """k clusters, the largest first, and their BIC; for k-means the BIC is infinite."""
    options: dict[str, Any] = {"n_init": restarts, "random_state": seed}
    if method.endswith("k-means"):
        kind = KMeans if method == "k-means" else MiniBatchKMeans
        return _largest_first(*_spheres(kind(k, **options).fit(z), z)), np.inf
    mixture = GaussianMixture(
        k, covariance_type=SHAPES[method], reg_covar=REGULARIZATION, max_iter=500, **options
    ).fit(z)
    covariances = mixture.covariances_
    if method == "tied-mixture":
        covariances = np.tile(covariances, (k, 1, 1))
    found = Clusters(mixture.weights_, mixture.means_, covariances)
    return _largest_first(found, mixture.weights_), mixture.bic(z)


def _spheres(fitted: KMeans | MiniBatchKMeans, z: Vectors) -> tuple[Clusters, NDArray[np.integer]]:
    """Clusters with the centres of k-means and one variance, the mean squared distance per dimension; and sizes."""
    centres = fitted.cluster_centers_
    k = len(centres)
    variance = fitted.inertia_ / z.size + REGULARIZATION
    clusters = Clusters(np.full(k, 1 / k), centres, np.full_like(centres, variance))
    return clusters, np.bincount(fitted.labels_, minlength=k)


def _largest_first(found: Clusters, sizes: NDArray[Any]) -> Clusters:
    """The clusters sorted by their sizes (k,)."""
    order = np.argsort(-sizes, kind="stable")
    return Clusters(found.weights[order], found.centres[order], found.covariances[order])


def _checked(vectors: ArrayLike, size: int | None = None) -> Vectors:
    """The vectors in double precision, checked for shape and finite numbers."""
    z = np.asarray(vectors, dtype=np.float64)
    if z.ndim != 2 or not z.shape[1] or (size is not None and z.shape[1] != size):
        raise UserError(
            f"expected vectors of shape (n, {size or 'Z'}), got {z.shape}: take them from one model's encode"
        )
    if not np.isfinite(z).all():
        raise UserError(
            f"expected finite vectors, got NaN or infinity in row {int(np.isfinite(z).all(1).argmin())}: leave it out"
        )
    return z
