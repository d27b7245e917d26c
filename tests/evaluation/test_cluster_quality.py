"""Clusters beside a baseline, on texts about two topics."""

import json

import numpy as np
import pytest

from textvae.evaluation.cluster_quality import Comparison, Quality, compare_clusters
from textvae.latent_space.clusters import Clusters, fit_clusters
from textvae.latent_space.linear import DIMENSIONS, LinearVectors
from textvae.support.errors import UserError

FRUIT, PETS = [f"fruit{n}" for n in range(60)], [f"pet{n}" for n in range(60)]


@pytest.fixture(scope="module")
def texts():
    """200 texts, each about one of two topics that have no word in common."""
    draw = np.random.default_rng(0)
    return [" ".join(draw.choice((FRUIT, PETS)[n % 2], 8)) for n in range(200)]


TOPICS = np.arange(200) % 2
CLASSES = ["fruit", "pets"] * 100


def fit(vectors, seed):
    return fit_clusters(vectors, 2, "k-means", random_state=seed)


def apart(noise=0.1):
    """Vectors in two clusters, which are the topics."""
    return np.random.default_rng(1).normal(0, noise, (200, 3)) + 5 * TOPICS[:, None]


def test_both_find_topics_that_share_no_word(texts):
    found = compare_clusters(texts, apart(), fit(apart(), 0), fit, CLASSES)
    assert found.agreement == 1
    for quality in (found.ours, found.baseline):
        assert (quality.starts, quality.halves) == (1, 1)
        assert (quality.accuracy, quality.nmi, quality.ari) == pytest.approx((1, 1, 1))
        assert quality.silhouette > 0.05
    assert found.ours.silhouette == found.baseline.silhouette
    assert found.verdict() == ""


def test_vectors_that_know_nothing_lose(texts):
    noise = np.random.default_rng(2).normal(size=(200, 3))
    found = compare_clusters(texts, noise, fit(noise, 0), fit, CLASSES)
    assert found.ours.halves < 0.7 < found.baseline.halves
    assert found.ours.accuracy < 0.65
    assert found.ours.silhouette < 0.02 < found.baseline.silhouette
    assert abs(found.agreement) < 0.1
    assert found.verdict().startswith(
        "TF-IDF, SVD, k-means agrees better with the classes and finds the same clusters more reliably"
    )


def test_clusters_that_were_not_fitted_have_no_stability(texts):
    found = compare_clusters(texts, apart(), fit(apart(), 0), None)
    assert found.ours == Quality(silhouette=found.ours.silhouette)
    assert found.baseline.halves == 1
    assert found.verdict() == ""


def test_only_texts_with_a_class_count(texts):
    some = [kind if number < 50 else None for number, kind in enumerate(CLASSES)]
    wrong = [("pets", "fruit")[number % 2] if number >= 50 else kind for number, kind in enumerate(CLASSES)]
    accuracy = {
        name: compare_clusters(texts, apart(), fit(apart(), 0), None, classes).ours.accuracy
        for name, classes in {"some": some, "wrong": wrong}.items()
    }
    assert accuracy == {"some": 1.0, "wrong": 0.75}


@pytest.mark.parametrize("texts", [["a", "b"], ["", ""], ["apple pie", "pie chart"]])
def test_too_little_to_compare(texts):
    one = Clusters(np.ones(3) / 3, np.arange(3.0)[:, None], np.ones((3, 1)))
    assert compare_clusters(texts, np.zeros((2, 1)), one, None) is None


def test_the_table_and_json():
    found = Comparison(
        4, Quality(0.91, 0.8, 0.0123, 0.5, 0.25, 0.125), Quality(None, 0.83, 0.02, 0.6, 0.3, 0.2), 0.4
    )
    lines = found.report().splitlines()
    assert lines[0].split("  ")[0] == "4 clusters"
    assert lines[0].endswith("these  TF-IDF, SVD, k-means")
    assert [line.split()[-2:] for line in lines[1:7]] == [
        ["0.91", "-"],
        ["0.80", "0.83"],
        ["0.012", "0.020"],
        ["50.0%", "60.0%"],
        ["0.250", "0.300"],
        ["0.125", "0.200"],
    ]
    assert lines[7] == "agreement of the two: adjusted Rand index 0.40"
    assert "agrees better with the classes and finds" in lines[8]
    assert json.loads(json.dumps(found.to_dict()))["ours"]["nmi"] == 0.25


def test_a_close_race_is_not_mentioned():
    assert Comparison(2, Quality(halves=0.80), Quality(halves=0.81), 1.0).verdict() == ""


def test_linear_vectors_are_directions_and_repeat(texts):
    found = LinearVectors(texts, seed=3)
    vectors = found.vectors(found.tfidf(texts))
    assert vectors.shape == (200, DIMENSIONS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    other = LinearVectors(texts, seed=3)
    np.testing.assert_array_equal(vectors, other.vectors(other.tfidf(texts)))


def test_few_words_are_not_decomposed():
    texts = ["dog cat", "dog bird", "cat bird"]
    found = LinearVectors(texts)
    assert found.vectors(found.tfidf(texts)).shape == (3, 3)


def test_texts_without_blanks_are_counted_by_characters():
    found = LinearVectors(["犬が吠える", "犬が眠る", "銀行が払う"])
    assert "犬が" in found.words[0].get_feature_names_out()


def test_no_words_are_refused():
    with pytest.raises(UserError, match="expected documents with words"):
        LinearVectors(["", "."])
