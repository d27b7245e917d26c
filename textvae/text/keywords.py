"""The words that tell groups of texts apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom
from sklearn.feature_extraction.text import CountVectorizer

from textvae.support.display import without_markup
from textvae.support.errors import UserError
from textvae.text.function_words import VARIETY_OF_PAIRS, function_words
from textvae.text.vocabulary import CountOptions, for_texts

HIRAGANA = re.compile("[\u3040-\u309f]")
"""Japanese writes its grammar in these characters, so that a pair with one of them is mostly a fragment of it."""

LIFT = 3.0
"""A word is characteristic of a cluster only if it is this many times as frequent there as in the other clusters."""

CHANCE = 1e-3
"""A word is not characteristic of a cluster if random clusters have so many of its occurrences with this probability or
more. The test needs `ENOUGH` words: in a smaller text, nothing would pass it."""

ENOUGH = 1_000

WORD = r"\b\w+(?:['\u2019-]\w+)*"
"""Letters and digits; an apostrophe or a hyphen between them belongs to the word."""


def characteristic_words(
    texts: Sequence[str], clusters: ArrayLike, words: int = 10, vectorizer: CountVectorizer | None = None
) -> dict[Any, list[str]]:
    """The most characteristic words of each cluster, which have the largest class-based TF-IDF.

        W(w, c) = tf(w, c) log(1 + A / tf(w))

    tf(w, c) is the number of occurrences of word w in the texts of cluster c, tf(w) the number in all texts, and A the
    mean number of words in a cluster. The logarithm alone would leave *the* and *of* at the top, so published tables
    use a list of stop words. This function works for any language instead. It leaves out `function_words`, and words
    whose relative frequency in the cluster is less than `LIFT` times that outside it or may be chance (`CHANCE`). A
    cluster may have fewer than ``words`` left.

    Args:
        texts: n texts, of which HTML tags are left out.
        clusters: the cluster of each text, (n,), numbers or strings.
        words: maximum number of words for each cluster.
        vectorizer: splits texts into words and counts them; None: words are runs of letters and digits in lower case
            or, in a language without blanks between words, pairs of characters. Pass one that finds the words of such
            a language, or pairs of words (``ngram_range``).

    Returns:
        The words of each cluster, the most characteristic first; clusters are sorted.

    Raises:
        UserError: if there are no words, or the numbers of clusters and texts differ.

    References:
        BERTopic: Neural topic modeling with a class-based TF-IDF procedure (Grootendorst 2022),
        https://arxiv.org/abs/2203.05794

    Example:
        >>> texts = ["the dog barks", "the dog sleeps", "the bank pays", "the bank lends"]
        >>> characteristic_words(texts, [0, 0, 1, 1], words=1)
        {0: ['dog'], 1: ['bank']}
    """
    names, rows = np.unique(np.asarray(clusters), return_inverse=True)
    if rows.shape != (len(texts),):
        raise UserError(f"expected a cluster for each of {len(texts)} texts, got shape {rows.shape}")
    texts = [without_markup(text) for text in texts]
    pairs = False
    if vectorizer is None:
        options, find = for_texts(texts, CountOptions(pattern=WORD))
        vectorizer, pairs = CountVectorizer(analyzer=find), options.units == "characters"
    counts = _counted(vectorizer, texts)
    frequency = np.stack([counts[rows == cluster].sum(0).A1 for cluster in range(len(names))])
    inside, total = frequency.sum(1, keepdims=True), frequency.sum(0)
    vocabulary = vectorizer.get_feature_names_out()
    wanted = _lifted(frequency, inside, total) & ~_grammatical(vectorizer, texts, pairs, vocabulary)
    weight = np.where(wanted, frequency * np.log1p(inside.mean() / total), 0)
    # Sorted by weight; words with equal weights stay in alphabetical order.
    order = np.argsort(-weight, axis=1, kind="stable")[:, :words]
    return {
        name: [str(vocabulary[word]) for word in best if row[word] > 0]
        for name, best, row in zip(names.tolist(), order, weight, strict=True)
    }


def _counted(vectorizer: CountVectorizer, texts: Sequence[str]) -> Any:
    """How often each text has each word, (n, V), sparse."""
    try:
        return vectorizer.fit_transform(texts)
    except ValueError as error:
        raise UserError(
            f"expected texts with words, got {len(texts)} without ({error}): pass a vectorizer that finds them"
        ) from error


def _lifted(frequency: NDArray[Any], inside: NDArray[Any], total: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each word is characteristically frequent in each cluster, (k, V).

    Args:
        frequency: number of occurrences of each word in each cluster, (k, V).
        inside: number of words in each cluster, (k, 1).
        total: number of occurrences of each word, (V,).
    """
    everything = total.sum()
    # The inequality is multiplied out, because a cluster may have no words, and a single cluster has no others.
    lifted = frequency * (everything - inside) >= LIFT * (total - frequency) * inside
    if everything < ENOUGH or len(frequency) == 1:
        return lifted
    return lifted & (binom.sf(frequency - 1, total, inside / everything) < CHANCE)


def _grammatical(
    vectorizer: CountVectorizer, texts: Sequence[str], pairs: bool, vocabulary: NDArray[Any]
) -> NDArray[np.bool_]:
    """Whether each word of the vocabulary is a function word, (V,); none is if the "words" are groups of words.

    Args:
        vectorizer: finds the words of a text in their order.
        texts: n texts.
        pairs: whether the words are overlapping pairs of characters; every second pair follows the one before.
        vocabulary: the words, (V,).
    """
    if tuple(vectorizer.ngram_range) != (1, 1):
        return np.zeros(len(vocabulary), dtype=bool)
    find = vectorizer.build_analyzer()
    if not pairs:
        return np.isin(vocabulary, list(function_words(texts, find)))
    found = function_words(texts, lambda text: find(text)[::2], VARIETY_OF_PAIRS)
    return np.array([pair in found or HIRAGANA.search(pair) is not None for pair in vocabulary.tolist()])
