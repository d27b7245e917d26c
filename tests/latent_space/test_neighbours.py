import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from textvae.latent_space import neighbours
from textvae.latent_space.neighbours import nearest
from textvae.support.errors import UserError

DRAW = np.random.default_rng(0)
CORPUS = DRAW.normal(size=(101, 5)).astype(np.float32)
QUERIES = DRAW.normal(size=(7, 5)).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("pairs", [1, 70, 2**22], ids=["row by row", "in parts", "at once"])
def test_the_nearest_are_those_of_scikit_learn(metric, pairs, monkeypatch):
    monkeypatch.setattr(neighbours, "PAIRS", pairs)
    reference = NearestNeighbors(n_neighbors=9, metric=metric, algorithm="brute").fit(CORPUS.astype(float))
    expected, order = reference.kneighbors(QUERIES.astype(float))
    rows, distances = nearest(QUERIES, CORPUS, 9, metric)
    assert np.array_equal(rows, order)
    np.testing.assert_allclose(distances, expected, rtol=1e-9)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equals_keep_the_order_of_the_corpus(metric, monkeypatch):
    monkeypatch.setattr(neighbours, "PAIRS", 20)
    corpus = CORPUS[np.arange(60) % 3]
    rows, distances = nearest(corpus[1:2], corpus, 20, metric)
    assert rows[0].tolist() == list(range(1, 60, 3))
    assert np.ptp(distances) == 0


def test_a_corpus_on_disk_is_read_in_parts(tmp_path, monkeypatch):
    np.save(tmp_path / "z.npy", CORPUS)
    monkeypatch.setattr(neighbours, "PAIRS", 70)
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    read = []

    class Recorded(np.ndarray):
        def __getitem__(self, part):
            read.append(part.stop - part.start)
            return np.asarray(mapped[part])

    rows, _ = nearest(QUERIES, mapped.view(Recorded), 101)
    assert max(read) == 10
    assert np.array_equal(np.sort(rows, axis=1), np.tile(np.arange(101), (7, 1)))


def test_a_zero_vector_has_no_direction():
    rows, distances = nearest(np.eye(2), np.array([[0.0, 0.0], [2.0, 0.0], [-1.0, 0.0]]), 3)
    assert rows[0].tolist() == [1, 2, 0]
    assert distances[0].tolist() == pytest.approx([0.0, 2.0, np.nan], nan_ok=True)


def test_no_queries_have_no_neighbours():
    assert nearest(QUERIES[:0], CORPUS, 3)[0].shape == (0, 3)


def test_mistakes_are_named():
    with pytest.raises(UserError, match="from 1 to 101, the size of the corpus, got 102"):
        nearest(QUERIES, CORPUS, 102)
    with pytest.raises(UserError, match="from 1 to 101, the size of the corpus, got 0"):
        nearest(QUERIES, CORPUS, 0)
    with pytest.raises(UserError, match=r"got shapes \(7, 4\) and \(101, 5\)"):
        nearest(QUERIES[:, :4], CORPUS, 3)
