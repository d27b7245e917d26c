import sys
from importlib.util import find_spec

import numpy as np
import pytest

from textvae.latent_space.maps import project
from textvae.support.errors import UserError

umap = [
    pytest.mark.skipif(find_spec("umap") is None, reason="needs textvae[umap]"),
    pytest.mark.slow,  # UMAP compiles itself
    pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning"),
]
every_method = pytest.mark.parametrize("method", ["pca", "tsne", pytest.param("umap", marks=umap)])


def blobs(n=40, size=5):
    """Three distant clusters, and the index of each point's cluster."""
    numbers = np.repeat(np.arange(3), n)
    return np.random.default_rng(0).normal(size=(3 * n, size)) + 12 * np.eye(3, size)[numbers], numbers


@pytest.mark.slow
@every_method
def test_clusters_stay_together_and_the_same_seed_gives_the_same_map(method):
    vectors, numbers = blobs()
    places = project(vectors, method, random_state=3)
    assert places.shape == (120, 2)
    assert np.array_equal(places, project(vectors.astype(np.float64), method, random_state=3))
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + np.diag([np.inf] * 120)
    assert (numbers[distance.argmin(1)] == numbers).mean() > 0.95


@every_method
@pytest.mark.parametrize(
    "vectors",
    [np.ones((1, 3)), np.ones((50, 3)), np.eye(2), np.arange(9.0)[:, None], np.repeat(np.eye(3), 9, 0)],
    ids=["one", "equal", "two", "one dimension", "three places"],
)
def test_few_and_equal_vectors_have_places(method, vectors):
    places = project(vectors, method)
    assert places.shape == (len(vectors), 2)
    assert np.isfinite(places).all()


def test_pca_in_the_plane_keeps_all_distances_and_shrinks_others():
    vectors, _ = blobs(size=2)
    distances = [np.linalg.norm(a[:, None] - a[None], axis=2) for a in (vectors, project(vectors))]
    assert np.allclose(*distances)
    vectors, _ = blobs(size=7)
    before, after = (np.linalg.norm(a[:, None] - a[None], axis=2) for a in (vectors, project(vectors)))
    assert (after <= before + 1e-9).all()


def test_pca_of_one_dimension_is_the_dimension():
    vectors = np.random.default_rng(0).normal(size=(20, 1))
    places = project(vectors)
    assert np.allclose(np.abs(places[:, 0]), np.abs(vectors - vectors.mean())[:, 0])
    assert np.allclose(places[:, 1], 0)


def test_mistakes_are_named(monkeypatch):
    with pytest.raises(UserError, match="a method of pca, tsne, umap, got 'mds'"):
        project(np.eye(3), "mds")
    with pytest.raises(UserError, match=r"shape \(n, Z\), got \(3,\)"):
        project(np.ones(3))
    with pytest.raises(UserError, match=r"got \(0, 3\)"):
        project(np.ones((0, 3)))
    with pytest.raises(UserError, match="got NaN or infinity in row 2"):
        project([[0, 0], [1, 1], [1, np.nan]])
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match=r"pip install 'textvae\[umap\]'"):
        project(np.eye(3), "umap")
