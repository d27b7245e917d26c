from itertools import permutations
from math import log

import numpy as np
import pytest

from textvae.evaluation.clustering import clustering_scores
from textvae.support.errors import UserError

LABELS = ["x"] * 4 + ["y"] * 4 + ["z"] * 4


def test_other_names_for_the_labels_are_perfect():
    scores = clustering_scores(LABELS, [5] * 4 + [3] * 4 + [9] * 4)
    assert (scores.accuracy, scores.nmi, scores.ari) == (1, 1, 1)
    assert scores.matching == {5: "x", 3: "y", 9: "z"}
    assert np.array_equal(scores.confusion, 4 * np.eye(3))
    assert (scores.labels, scores.clusters) == (["x", "y", "z"], [5, 3, 9])


def test_one_cluster_knows_nothing():
    scores = clustering_scores(LABELS, [0] * 12)
    assert (scores.accuracy, scores.nmi, scores.ari) == (pytest.approx(1 / 3), 0, 0)
    assert scores.matching == {0: "x"}
    assert (scores.labels, scores.clusters, scores.confusion.tolist()) == (
        ["x", "y", "z"],
        [0],
        [[4], [4], [4]],
    )


def test_numbers_by_hand():
    # Table (labels a, b by clusters 0, 1): 3 1 / 1 3. 3 + 3 pairs are together in both, 12 by label and 12 by cluster.
    scores = clustering_scores(["a"] * 4 + ["b"] * 4, [0, 0, 0, 1, 0, 1, 1, 1])
    assert scores.accuracy == 6 / 8
    assert scores.ari == pytest.approx((6 - 12 * 12 / 28) / (12 - 12 * 12 / 28))
    information = log(2) + 0.75 * log(0.75) + 0.25 * log(0.25)
    assert scores.nmi == pytest.approx(information / log(2))


def test_a_matching_is_one_to_one():
    # "a" is the majority in each cluster, so majority labels would give 7 of 9.
    scores = clustering_scores(list("aaabaabaa"), [0, 0, 0, 0, 1, 1, 1, 2, 2])
    assert scores.accuracy == 4 / 9
    assert scores.matching == {0: "a", 1: "b"}


@pytest.mark.parametrize(("labels", "clusters"), [(3, 3), (3, 5), (5, 3), (1, 4), (4, 1)])
def test_accuracy_is_the_best_of_all_matchings(labels, clusters):
    random = np.random.default_rng(labels)
    y, c = random.integers(labels, size=60), random.integers(clusters, size=60)
    size = max(labels, clusters)
    best = max(np.mean([y[i] == names[c[i]] for i in range(60)]) for names in permutations(range(size)))
    scores = clustering_scores(y, c)
    assert scores.accuracy == best
    diagonal = np.diagonal(scores.confusion)
    assert (diagonal.sum() / 60, scores.confusion.sum()) == (best, 60)
    assert scores.confusion.shape == (labels, clusters)
    assert scores.matching == dict(zip(scores.clusters, scores.labels, strict=False))
    for row, label in enumerate(scores.labels):
        for column, cluster in enumerate(scores.clusters):
            assert scores.confusion[row, column] == np.sum((y == label) & (c == cluster))


def test_neither_names_nor_order_matter():
    random = np.random.default_rng(0)
    y, c = random.integers(4, size=50), random.integers(6, size=50)
    order = random.permutation(50)
    one, other = clustering_scores(y, c), clustering_scores([f"l{i}" for i in -y[order]], 100 - c[order])
    assert (one.accuracy, one.nmi, one.ari) == pytest.approx((other.accuracy, other.nmi, other.ari))


@pytest.mark.parametrize(("labels", "clusters"), [([], []), ([0, 1], [0]), ([[0], [1]], [0, 1])])
def test_a_label_and_a_cluster_for_each_text(labels, clusters):
    with pytest.raises(UserError, match="expected a label and a cluster for each text, got shapes"):
        clustering_scores(labels, clusters)


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["10", "2", "1"], ["1", "2", "10"]),
        (["topic 10", "topic 9"], ["topic 9", "topic 10"]),
        ([10, 2, 1], [1, 2, 10]),
    ],
)
def test_labels_stand_in_natural_order(labels, order):
    found = clustering_scores(labels, labels)
    assert found.labels == found.clusters == order
    assert found.confusion.tolist() == np.eye(len(labels)).tolist()
    # Unmatched clusters come last, in the same order.
    alone = clustering_scores(labels, [0] * len(labels))
    assert sorted(alone.labels[1:], key=order.index) == alone.labels[1:]
    assert set(alone.labels) == set(order)
