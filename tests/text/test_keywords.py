from math import log

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from textvae.support.errors import UserError
from textvae.text.keywords import LIFT, characteristic_words


def test_the_order_is_that_of_the_formula():
    # The clusters have 7 and 3 words, so A = 5. W: 3 log(1 + 5/3), 2 log(1 + 5/2), log 6, log 6.
    texts = ["b b b c c d e", "f f f"]
    assert 3 * log(1 + 5 / 3) > 2 * log(1 + 5 / 2) > log(6)
    assert characteristic_words(texts, [0, 1]) == {0: ["b", "c", "d", "e"], 1: ["f"]}
    assert characteristic_words(texts, [0, 1], words=2)[0] == ["b", "c"]


def test_a_rare_word_may_beat_a_more_frequent_one_that_others_use_too():
    # A = 50; in the first cluster x occurs 12 times (of 16), y 8 times (of 8).
    texts = ["x " * 12 + "y " * 8 + "z " * 30, "x " * 4 + "w " * 46]
    assert 8 * log(1 + 50 / 8) < 12 * log(1 + 50 / 16)
    assert characteristic_words(texts, [0, 1])[0] == ["z", "x", "y"]
    texts = ["x " * 9 + "y " * 8 + "z " * 33, "x " * 3 + "w " * 47]
    assert 8 * log(1 + 50 / 8) > 9 * log(1 + 50 / 12)
    assert characteristic_words(texts, [0, 1])[0] == ["z", "y", "x"]


def test_words_that_are_frequent_everywhere_are_left_out():
    assert LIFT == 3
    found = characteristic_words(["the the the dog", "the the cat the", "die der das"], ["a", "b", "c"])
    assert found == {"a": ["dog"], "b": ["cat"], "c": ["das", "der", "die"]}


def test_the_lift_is_counted_per_word():
    # "it" is a third of the words in the small cluster and a tenth in the large one, but has more occurrences there.
    others = ["it it " + "d " * 18] * 5
    assert "it" in characteristic_words(["it b c", *others], [0, 1, 1, 1, 1, 1])[0]
    assert "it" not in characteristic_words(["it b c e", *others], [0, 1, 1, 1, 1, 1])[0]


def test_a_single_cluster_has_its_most_frequent_words():
    assert characteristic_words(["b c b", "c b"], [7, 7]) == {7: ["b", "c"]}


def test_a_cluster_without_words_has_none():
    assert characteristic_words(["b", "?!", "c"], [0, 1, 2]) == {0: ["b"], 1: [], 2: ["c"]}


def test_any_letters_are_words_and_any_vectorizer_cuts_them():
    texts, clusters = ["Äpfel", "été 2004", "我"], np.array([2, 1, 0])
    assert characteristic_words(texts, clusters) == {0: ["我"], 1: ["2004", "été"], 2: ["äpfel"]}
    pairs = CountVectorizer(ngram_range=(2, 2))
    assert characteristic_words(["big dog", "big cat"], [0, 1], vectorizer=pairs) == {
        0: ["big dog"],
        1: ["big cat"],
    }


def test_function_words_of_one_cluster_are_left_out():
    """Only the first cluster has *the*, before 200 different nouns; *dog* is its topic."""
    nouns = [f"the n{number} and dog" for number in range(200)] * 2
    others = [f"a m{number} near cat" for number in range(200)] * 2
    found = characteristic_words(nouns + others, [0] * 400 + [1] * 400, words=2)
    assert (found[0][0], found[1][0]) == ("dog", "cat")
    assert not {"the", "and", "a", "near"} & {*found[0], *found[1]}


def test_words_of_random_clusters_are_not_characteristic():
    """Words that are absent from a small cluster are not typical of the large one; *topic* is only in the small one."""
    texts = [f"x{number % 100} filler" for number in range(2_000)] + ["topic filler"] * 40
    clusters = [int(number >= 1_980) for number in range(2_040)]
    found = characteristic_words(texts, clusters)
    assert found == {0: [], 1: ["topic"]}


def test_texts_without_blanks_have_pairs_of_characters_without_grammar():
    texts = ["警察が事故を調べた", "昨日の事故でした"] * 3 + ["彼女は結婚した", "結婚したいです"] * 3
    found = characteristic_words(texts, [0] * 6 + [1] * 6)
    assert {"警察", "事故", "昨日"} == set(found[0])
    assert {"彼女", "結婚"} == set(found[1])


def test_markup_is_left_out_and_apostrophes_and_hyphens_join_words():
    texts = ['isn\'t it <a href="x">x-ray</a> &lt;br&gt;', "cat"]
    assert characteristic_words(texts, [0, 1])[0] == ["isn't", "it", "x-ray"]


def test_mistakes_are_named():
    with pytest.raises(UserError, match=r"a cluster for each of 2 texts, got shape \(1,\)"):
        characteristic_words(["b", "c"], [0])
    with pytest.raises(UserError, match="expected texts with words, got 2 without"):
        characteristic_words(["...", "!"], [0, 1])
