"""The words that tell groups of texts apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.feature_extraction.text import CountVectorizer

from textvae.support.errors import UserError

LIFT = 3.0
"""A word is characteristic of a cluster only if it is so many times as frequent there as in the other clusters."""


def characteristic_words(
    texts: Sequence[str], clusters: ArrayLike, words: int = 10, vectorizer: CountVectorizer | None = None
) -> dict[Any, list[str]]:
    """The words with the largest class-based TF-IDF of each cluster, the first the most characteristic.

        W(w, c) = tf(w, c) log(1 + A / tf(w))

    with tf(w, c) the occurrences of w in the texts of cluster c, tf(w) those in all texts, and A the words of an
    average cluster. The logarithm alone leaves *the* and *of* at the top, so a published table is made with a list of
    a language's stop words. Here instead, in any language, words that are not `LIFT` times as frequent (per word) in
    the cluster as outside it are left out; a cluster may be left with fewer than ``words`` of them.

    Args:
        texts: n of them.
        clusters: the cluster of each text, (n,), numbers or strings.
        words: how many of each cluster, at most.
        vectorizer: what cuts and counts the words; None: lower-cased runs of letters and digits. Hand one in for a
            language that is written without blanks, for stop words or for pairs of words (``ngram_range``).

    Returns:
        The words of each cluster that occurs in ``clusters``, in the order of the clusters.

    Raises:
        UserError: if there are no words, or not as many clusters as texts.

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
    vectorizer = vectorizer or CountVectorizer(token_pattern=r"(?u)\b\w+\b")
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError as error:
        raise UserError(
            f"expected texts with words, got {len(texts)} without ({error}): hand in a vectorizer that finds them"
        ) from error
    frequency = np.stack([counts[rows == cluster].sum(0).A1 for cluster in range(len(names))])
    inside, total = frequency.sum(1, keepdims=True), frequency.sum(0)
    # Multiplied out, as a cluster may have no words, and a single one has no others.
    lifted = frequency * (total.sum() - inside) >= LIFT * (total - frequency) * inside
    weight = np.where(lifted, frequency * np.log1p(inside.mean() / total), 0)
    # By weight, words of equal weight in the order of the alphabet.
    order = np.argsort(-weight, axis=1, kind="stable")[:, :words]
    vocabulary = vectorizer.get_feature_names_out()
    return {
        name: [str(vocabulary[word]) for word in best if row[word] > 0]
        for name, best, row in zip(names.tolist(), order, weight, strict=True)
    }
