"""Find the words that build sentences, such as *the*, *his* and *which*, in any language and without a list."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np

SAMPLE = 50_000
"""Number of words that are looked at. The number of different neighbours of a word grows with the text, so that
`VARIETY` holds for texts of about this length."""

VARIETY = 45.0
"""A word with neighbours of at least this perplexity is a function word."""


def function_words(texts: Sequence[str], units: Callable[[str], Sequence[str]]) -> frozenset[str]:
    """The words that have very different neighbours on their left or on their right.

    A word such as *oil* or *night* has few different neighbours: the words of its topic, or words that build sentences.
    A word such as *his* stands before any noun. The measure is the perplexity exp(H), where H is the entropy of the
    distribution of the words that stand next to a word on one side. It is at most the number of occurrences of the
    word, so that a word that occurs less than `VARIETY` times is no function word, and a short text has none.

    Args:
        texts: n texts, of which a sample of about `SAMPLE` words is read.
        units: returns the words of a text in their order.
    """
    before: defaultdict[str, Counter[str]] = defaultdict(Counter)
    after: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for words in _sample(texts, units):
        for left, right in pairwise(words):
            after[left][right] += 1
            before[right][left] += 1
    return frozenset(
        word for side in (before, after) for word, found in side.items() if _perplexity(found) >= VARIETY
    )


def _sample(texts: Sequence[str], units: Callable[[str], Sequence[str]]) -> Iterable[Sequence[str]]:
    """The words of texts in random order, until there are `SAMPLE` words."""
    count = 0
    order = np.random.default_rng(0).permutation(len(texts))
    for place in order.tolist():
        words = units(texts[place])
        yield words
        count += len(words)
        if count >= SAMPLE:
            return


def _perplexity(counts: Counter[str]) -> float:
    """exp(H) of the distribution in proportion to the counts; 1 if it is sure to be below `VARIETY`."""
    if len(counts) < VARIETY:
        return 1.0
    share = np.fromiter(counts.values(), float)
    share /= share.sum()
    return float(np.exp(-(share * np.log(share)).sum()))
