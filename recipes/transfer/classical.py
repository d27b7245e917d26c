"""Baselines for document vectors: linear algebra on TF-IDF, and topic models."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF, LatentDirichletAllocation, TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer

WORDS: dict[str, Any] = {"min_df": 3, "stop_words": "english", "max_features": 8_000}
COMPONENTS = 32
RESTARTS = 10

Texts = list[str]


@dataclass(frozen=True)
class Split:
    """Texts and their labels, (n,)."""

    texts: Texts
    labels: NDArray[Any]


def directions(seed: int) -> Pipeline:
    """A pipeline: TF-IDF, SVD, and scaling to length 1."""
    words = TfidfVectorizer(sublinear_tf=True, **WORDS)
    return make_pipeline(words, TruncatedSVD(COMPONENTS, random_state=seed), Normalizer())


def k_means(train: Texts, test: Texts, clusters: int, seed: int) -> Any:
    """TF-IDF, SVD and k-means."""
    texts = directions(seed)
    fitted = KMeans(clusters, n_init=RESTARTS, random_state=seed).fit(texts.fit_transform(train))
    return fitted.predict(texts.transform(test))


def mixture(train: Texts, test: Texts, clusters: int, seed: int) -> Any:
    """TF-IDF, SVD and a Gaussian mixture with one covariance."""
    texts = directions(seed)
    fitted = GaussianMixture(clusters, covariance_type="tied", n_init=3, random_state=seed)
    fitted.fit(texts.fit_transform(train))
    return fitted.predict(texts.transform(test))


def nmf(train: Texts, test: Texts, clusters: int, seed: int) -> Any:
    """The strongest component of a non-negative matrix factorisation of TF-IDF."""
    words = TfidfVectorizer(sublinear_tf=True, **WORDS)
    topics = make_pipeline(words, NMF(clusters, init="nndsvda", random_state=seed, max_iter=400))
    return topics.fit(train).transform(test).argmax(1)


def lda(train: Texts, test: Texts, clusters: int, seed: int) -> Any:
    """The likeliest topic of latent Dirichlet allocation (Blei et al. 2003; online, Hoffman et al. 2010)."""
    allocation = LatentDirichletAllocation(clusters, learning_method="online", max_iter=10, random_state=seed)
    return make_pipeline(CountVectorizer(**WORDS), allocation).fit(train).transform(test).argmax(1)


CLUSTERINGS: dict[str, Callable[..., Any]] = {
    "TF-IDF, SVD, k-means": k_means,
    "TF-IDF, SVD, mixture": mixture,
    "NMF": nmf,
    "LDA": lda,
}


def tfidf(train: Texts, test: Texts) -> tuple[Any, Any]:
    """TF-IDF with the vocabulary of the train split; stop words are kept, since a classifier learns their weights."""
    words = TfidfVectorizer(sublinear_tf=True, min_df=3)
    return words.fit_transform(train).tocsr(), words.transform(test).tocsr()


def labelled(labels: NDArray[Any], count: int, seed: int) -> NDArray[np.intp]:
    """Indices of this many random texts whose labels are used, with at least two classes if there are two."""
    draw = np.random.default_rng(seed)
    while True:
        chosen = draw.choice(len(labels), count, replace=False)
        if len(set(labels[chosen])) > 1 or len(set(labels)) < 2:
            return chosen


def logistic_regression(train: Any, labels: NDArray[Any], test: Any) -> NDArray[Any]:
    """The labels that a weakly regularised logistic regression predicts."""
    return LogisticRegression(C=10.0, max_iter=1_000).fit(train, labels).predict(test)
