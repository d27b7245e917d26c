from typing import get_args

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from textvae.evaluation.clustering import clustering_scores
from textvae.latent_space.clusters import REGULARIZATION, Clusters, Method, fit_clusters
from textvae.support.errors import UserError

METHODS = get_args(Method)
CENTRES = np.array([[0.0, 0.0, 3.0], [4.0, 0.0, 0.0], [0.0, -4.0, 0.0]])
SIZES = (90, 60, 30)


@pytest.fixture
def drawn():
    """180 vectors from three Gaussians, and the index of each vector's Gaussian."""
    labels = np.repeat([0, 1, 2], SIZES)
    noise = np.random.default_rng(0).standard_normal((180, 3))
    return CENTRES[labels] + 0.5 * noise, labels


@pytest.mark.parametrize("method", METHODS)
def test_finds_what_is_there_the_largest_first(method, drawn):
    vectors, labels = drawn
    found = fit_clusters(vectors, 3, method)
    assert np.array_equal(found.predict(vectors), labels)
    np.testing.assert_allclose(found.centres, CENTRES, atol=0.4)
    probabilities = found.probabilities(vectors)
    assert probabilities.shape == (180, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert np.array_equal(probabilities.argmax(1), labels)
    assert (found.probabilities([CENTRES[1]])[0, 1], found.predict([CENTRES[2]])) == (pytest.approx(1), [2])


@pytest.mark.parametrize("shape", ["full", "diagonal"])
def test_probabilities_are_bayes_rule(shape):
    random = np.random.default_rng(1)
    parts = random.standard_normal((4, 3, 3)) / 3
    full = parts @ parts.transpose(0, 2, 1) + 0.2 * np.eye(3)
    diagonals = np.diagonal(full, axis1=1, axis2=2)
    weights, centres, z = random.dirichlet(np.ones(4)), random.standard_normal((4, 3)), random.random((9, 3))
    found = Clusters(weights, centres, full if shape == "full" else diagonals)
    matrices = full if shape == "full" else [np.diag(row) for row in diagonals]
    joint = np.stack(
        [w * multivariate_normal(m, s).pdf(z) for w, m, s in zip(weights, centres, matrices, strict=True)], 1
    )
    np.testing.assert_allclose(found.probabilities(z), joint / joint.sum(1, keepdims=True))


@pytest.mark.parametrize(
    ("method", "shape"), [("mixture", "full"), ("tied-mixture", "tied"), ("diagonal-mixture", "diag")]
)
def test_a_mixture_is_that_of_scikit_learn(method, shape, drawn):
    vectors, _ = drawn
    mixture = GaussianMixture(
        4, covariance_type=shape, reg_covar=REGULARIZATION, n_init=3, random_state=5, max_iter=500
    )
    order = np.argsort(-mixture.fit(vectors).weights_)
    found = fit_clusters(vectors, 4, method, random_state=5)
    np.testing.assert_allclose(
        found.probabilities(vectors), mixture.predict_proba(vectors)[:, order], atol=1e-9
    )


@pytest.mark.parametrize("method", ["k-means", "mini-batch-k-means"])
def test_k_means_is_the_nearest_centre_however_far_from_the_origin(method, drawn):
    vectors = drawn[0] + 1000
    found = fit_clusters(vectors, 7, method)
    others = np.random.default_rng(2).uniform(995, 1005, (500, 3))
    distances = np.linalg.norm(others[:, None] - found.centres, axis=2)
    assert np.array_equal(found.predict(others), distances.argmin(1))
    assert (np.diff(np.bincount(found.predict(vectors))) <= 0).all(), "the largest first"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mixture", "tied-mixture", "diagonal-mixture"])
def test_bic_finds_the_number(method, drawn):
    vectors, labels = drawn
    found = fit_clusters(vectors, None, method)
    assert clustering_scores(labels, found.predict(vectors)).accuracy == 1
    assert len(found.weights) == 3
    assert len(fit_clusters(vectors, None, method, candidates=(1, 2)).weights) == 2
    noise = np.random.default_rng(3).standard_normal((200, 2))
    assert len(fit_clusters(noise, None, method, candidates=(1, 2, 3)).weights) == 1


def test_a_dimension_of_noise_makes_no_clusters(drawn):
    """Two groups in a dimension that hardly varies; without regularization, full covariances would find them."""
    vectors, labels = drawn
    two = np.tile([-1e-4, 1e-4], 90)[:, None]
    found = fit_clusters(np.hstack([vectors, two]), 3, "mixture")
    assert np.array_equal(found.predict(np.hstack([vectors, two])), labels)


def test_the_seed_decides(drawn):
    one, same, other = (fit_clusters(drawn[0], 9, "k-means", random_state=s, restarts=1) for s in (1, 1, 2))
    assert np.array_equal(one.centres, same.centres)
    assert not np.array_equal(one.centres, other.centres)


@pytest.mark.parametrize("method", METHODS)
def test_draws_are_those_of_the_cluster(method, drawn):
    found = fit_clusters(drawn[0], 3, method)
    z = found.draw(1, 20_000, seed=4)
    covariance = found.covariances[1]
    np.testing.assert_allclose(z.mean(0), found.centres[1], atol=0.02)
    np.testing.assert_allclose(
        np.cov(z.T), covariance if covariance.ndim == 2 else np.diag(covariance), atol=0.02
    )
    assert np.array_equal(z, found.draw(1, 20_000, seed=4))
    assert found.draw(0, 0).shape == (0, 3)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_saved_is_loaded(method, drawn, tmp_path):
    found = fit_clusters(drawn[0], 3, method)
    found.save(tmp_path / "new" / "clusters.safetensors")
    loaded = Clusters.load(tmp_path / "new" / "clusters.safetensors")
    for name in ("weights", "centres", "covariances"):
        assert np.array_equal(getattr(loaded, name), getattr(found, name))


def test_files_of_another_kind_are_refused(tmp_path):
    (tmp_path / "text").write_text("no tensors")
    for name in ("text", "nothing"):
        with pytest.raises(UserError, match=r"expected clusters saved by Clusters\.save in .*" + name):
            Clusters.load(tmp_path / name)


def test_clusters_that_are_not_finite_are_refused(drawn, tmp_path):
    found = fit_clusters(drawn[0], 3, "k-means")
    found.centres[1, 2] = np.nan
    found.save(tmp_path / "clusters.safetensors")
    with pytest.raises(
        UserError, match=r"expected clusters of finite numbers in .*, got NaN or infinity: cluster"
    ):
        Clusters.load(tmp_path / "clusters.safetensors")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("vectors", "clusters", "message"),
    [
        (np.zeros((0, 3)), 2, "got 2 clusters and 0 different vectors"),
        (np.eye(3), 4, "got 4 clusters and 3 different"),
        (np.eye(3), 0, "got 0 clusters and 3 different"),
        (np.zeros((9, 3)), 2, "got 2 clusters and 1 different vectors: .* collapsed"),
        ([[0.0], [1.0], [np.nan]], 2, "NaN or infinity in row 2"),
        (np.zeros(3), 2, r"shape \(n, Z\), got \(3,\)"),
        (np.zeros((3, 0)), 2, r"shape \(n, Z\), got \(3, 0\)"),
    ],
)
def test_mistakes_are_named(method, vectors, clusters, message):
    with pytest.raises(UserError, match=message):
        fit_clusters(vectors, clusters, method)


def test_wrong_choices_are_named(drawn):
    with pytest.raises(
        UserError,
        match="one of mixture, tied-mixture, diagonal-mixture, k-means, mini-batch-k-means, got 'em'",
    ):
        fit_clusters(drawn[0], 3, "em")
    with pytest.raises(UserError, match="a number of clusters for k-means, got none"):
        fit_clusters(drawn[0], None, "k-means")
    with pytest.raises(UserError, match="got 2 clusters and 1 different vectors"):
        fit_clusters(drawn[0][:1], None)
    with pytest.raises(UserError, match=r"shape \(n, 3\), got \(5, 2\)"):
        fit_clusters(drawn[0], 3).predict(np.zeros((5, 2)))
