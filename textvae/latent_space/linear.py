"""Vectors of texts by linear algebra: the baseline that any learnt vectors must beat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer, TfidfTransformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer

from textvae.text.vocabulary import CountOptions, Vocabulary

DIMENSIONS = 32
"""Dimensions of the singular value decomposition."""


class LinearVectors:
    """TF-IDF, truncated singular value decomposition, and scaling to length 1, for texts in any language.

    The words are those that the document VAE counts (`Vocabulary`), without scikit-learn's English stop words, because
    a baseline should be as good as it can be: without them its clusters of short English sentences are far worse.

    Args:
        texts: the texts that frequencies and singular vectors are learnt from.
        seed: seed of the randomised decomposition.

    Raises:
        UserError: if no text has a word.

    References:
        Indexing by latent semantic analysis (Deerwester et al. 1990)
    """

    def __init__(self, texts: Sequence[str], seed: int = 0) -> None:
        vocabulary = Vocabulary.learn(texts, CountOptions())
        counted = [word for word in vocabulary.words if word not in ENGLISH_STOP_WORDS] or vocabulary.words
        counter = CountVectorizer(analyzer=vocabulary.units, vocabulary=counted)
        self.words: Pipeline = make_pipeline(counter, TfidfTransformer(sublinear_tf=True))
        rows = self.words.fit_transform(texts)
        self.decomposition: Pipeline | None = None
        # Fewer words than dimensions leave nothing to decompose.
        if min(rows.shape) > DIMENSIONS:
            svd = TruncatedSVD(DIMENSIONS, random_state=seed)
            self.decomposition = make_pipeline(svd, Normalizer()).fit(rows)

    def tfidf(self, texts: Iterable[str]) -> csr_matrix:
        """The TF-IDF vectors of n texts, each of length 1, or 0 if it has no known word, (n, V)."""
        return self.words.transform(texts)

    def vectors(self, tfidf: csr_matrix) -> NDArray[np.float64]:
        """The vectors (n, D) of texts, given by their TF-IDF vectors (n, V)."""
        return tfidf.toarray() if self.decomposition is None else self.decomposition.transform(tfidf)
