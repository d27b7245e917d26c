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
"""Of the covariances of a method's mixture, as scikit-learn calls them."""

CANDIDATES = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 30)
"""Numbers of clusters among which BIC chooses."""

REGULARIZATION = 1e-3
"""Added to the variances of a mixture. Posterior means live on the scale of N(0, I): a dimension that varies much less
than an active one (0.01) holds noise, which a mixture, blind to scale, would otherwise take for clusters."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters that are the components of a Gaussian mixture.

        p(z) = sum_c w_c N(z; m_c, S_c),    p(c | z) = w_c N(z; m_c, S_c) / p(z)

    What k-means finds is one, too, with equal weights and one variance in all directions: the likeliest cluster is
    that of the nearest centre.

    Attributes:
        weights: w, (k,).
        centres: m, (k, Z).
        covariances: S, (k, Z, Z), or their diagonals, (k, Z).
    """

    weights: Vectors
    centres: Vectors
    covariances: Vectors

    def predict(self, vectors: ArrayLike) -> NDArray[np.integer]:
        """The likeliest cluster of each vector (n, Z), (n,)."""
        return self._joint(vectors).argmax(1)

    def probabilities(self, vectors: ArrayLike) -> Vectors:
        """p(c | z) of each vector (n, Z), (n, k)."""
        return softmax(self._joint(vectors), axis=1)

    def draw(self, cluster: int, n: int, seed: int = 0) -> Vectors:
        """``n`` vectors from the Gaussian of a cluster, (n, Z).

        Raises:
            UserError: if the seed is out of range.
        """
        check_seed(seed)
        noise = np.random.default_rng(seed).standard_normal((n, self.centres.shape[1]))
        spread = self.covariances[cluster]
        scaled = noise * np.sqrt(spread) if spread.ndim == 1 else noise @ np.linalg.cholesky(spread).T
        return self.centres[cluster] + scaled

    def save(self, path: str | Path) -> None:
        """Write the arrays to a safetensors file, whole or not at all."""
        with replacing(path) as partial:
            save_file({name: np.ascontiguousarray(array) for name, array in asdict(self).items()}, partial)

    @classmethod
    def load(cls, path: str | Path) -> Clusters:
        """Read what `save` has written.

        Raises:
            UserError: if there is no such file, or it holds something else, or numbers that are not finite.
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
            # Two products in place of an (n, k, Z) array, around the mean of the centres, as distances are differences.
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
    """Clusters of the vectors, the largest first.

    A mixture's clusters may be long, overlap and differ in size; those of a tied one share their shape, which leaves
    it less to mistake for a cluster: of documents, its clusters were the nearest to the topics (recipes/RESULTS.md).
    K-means finds round ones of one width, in a fraction of the time, and its mini-batch variant, on large sets, in a
    fraction of that.

    Args:
        vectors: (n, Z), such as the posterior means of texts.
        clusters: k; None: the one of ``candidates`` with the least BIC = -2 log p(vectors) + (free parameters) log n.
        method: a Gaussian mixture with a single covariance for all clusters ("tied"), with full or diagonal ones, or
            k-means.
        random_state: of the starts; the same gives the same clusters.
        restarts: how many starts, of which the best fit is kept.
        candidates: numbers of clusters for BIC; those over the number of different vectors are left out.
        show_progress_bar: over the candidates; None: only on a terminal.

    Raises:
        UserError: if there are fewer different vectors than clusters, if they are not finite or of another shape, or
            if the number of clusters of k-means, which has no likelihood, is to be chosen by BIC.

    References:
        Estimating the dimension of a model (Schwarz 1978), https://doi.org/10.1214/aos/1176344136
        Improved Variational Autoencoders for Text Modeling using Dilated Convolutions (Yang et al. 2017), whose section
        4.4 fits a mixture to posterior means, https://arxiv.org/abs/1702.08139

    Example:
        >>> found = fit_clusters([[0.0], [0.2], [0.1], [5.0], [5.2]], clusters=2)
        >>> found.centres.round(2).tolist(), found.predict([[4.0], [1.0]]).tolist()
        ([[0.1], [5.1]], [1, 0])
    """
    if method not in get_args(Method):
        raise UserError(f"expected method to be one of {', '.join(get_args(Method))}, got {method!r}")
    check_seed(random_state, "random_state")
    z = _checked(vectors)
    different, least = len(np.unique(z, axis=0)), min(candidates) if clusters is None else clusters
    if least < 1 or different < max(least, 2):
        raise UserError(
            f"expected 1 cluster or more, and as many different vectors (2 at least), got {least} of {different} "
            "different vectors: give more texts or another number; where textvae evaluate finds the latent collapsed "
            "there is nothing to cluster"
        )
    if clusters is not None:
        return _fit(z, clusters, method, random_state, restarts)[0]
    if method.endswith("k-means"):
        raise UserError(
            f"expected a number of clusters for {method}, got none: BIC needs a likelihood, so take a mixture"
        )
    hidden = None if show_progress_bar is None else not show_progress_bar
    possible = [k for k in candidates if k <= different]
    fits = [
        _fit(z, k, method, random_state, restarts)
        for k in tqdm(possible, desc="choosing", unit=" fits", disable=hidden)
    ]
    return min(fits, key=lambda fit: fit[1])[0]


def _fit(z: Vectors, k: int, method: Method, seed: int, restarts: int) -> tuple[Clusters, float]:
    """k clusters, the largest first, and their BIC, which is infinite for k-means."""
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
    """The centres of k-means with one variance, the mean squared distance in a dimension, and the sizes."""
    centres = fitted.cluster_centers_
    k = len(centres)
    variance = fitted.inertia_ / z.size + REGULARIZATION
    clusters = Clusters(np.full(k, 1 / k), centres, np.full_like(centres, variance))
    return clusters, np.bincount(fitted.labels_, minlength=k)


def _largest_first(found: Clusters, sizes: NDArray[Any]) -> Clusters:
    """The clusters in the order of their sizes (k,)."""
    order = np.argsort(-sizes, kind="stable")
    return Clusters(found.weights[order], found.centres[order], found.covariances[order])


def _checked(vectors: ArrayLike, size: int | None = None) -> Vectors:
    """The vectors in double precision."""
    z = np.asarray(vectors, dtype=np.float64)
    if z.ndim != 2 or not z.shape[1] or (size is not None and z.shape[1] != size):
        raise UserError(
            f"expected vectors of shape (n, {size or 'Z'}), got {z.shape}: take them from one model's encode"
        )
    if not np.isfinite(z).all():
        raise UserError(
            f"expected finite vectors, got NaN or infinity in row {int(np.isfinite(z).all(1).argmin())}"
        )
    return z
