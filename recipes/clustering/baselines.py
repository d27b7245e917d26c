"""Cluster a recipe's corpus without a VAE: the baselines for clusters of latent vectors.

python recipes/clustering/baselines.py recipes/clustering/agnews.yaml --seeds 3

Each method is fitted to the train split and scored on the test split. The scores are written to
baselines.json in the run folder.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

from cluster import finish, labels_of, scored
from sklearn.cluster import KMeans
from sklearn.decomposition import LatentDirichletAllocation, TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer

from textvae.support.program import program
from textvae.text.corpus import load_corpus
from textvae.training.checks import check_run
from textvae.training.recipe import read_recipe

WORDS: dict[str, Any] = {"min_df": 3, "stop_words": "english"}
COMPONENTS = 64


def tfidf(seed: int) -> Pipeline:
    """TF-IDF, the first singular components, and normalisation to length 1."""
    return make_pipeline(
        TfidfVectorizer(sublinear_tf=True, **WORDS), TruncatedSVD(COMPONENTS, random_state=seed), Normalizer()
    )


def mixture(train: Sequence[str], test: Sequence[str], clusters: int, seed: int) -> Any:
    """TF-IDF, SVD and a Gaussian mixture with full covariances."""
    texts = tfidf(seed)
    fitted = GaussianMixture(clusters, random_state=seed).fit(texts.fit_transform(train))
    return fitted.predict(texts.transform(test))


def k_means(train: Sequence[str], test: Sequence[str], clusters: int, seed: int) -> Any:
    """TF-IDF, SVD and k-means."""
    texts = tfidf(seed)
    fitted = KMeans(clusters, n_init=10, random_state=seed).fit(texts.fit_transform(train))
    return fitted.predict(texts.transform(test))


def lda(train: Sequence[str], test: Sequence[str], clusters: int, seed: int) -> Any:
    """The most probable topic of latent Dirichlet allocation (Blei et al. 2003; online, Hoffman et al. 2010)."""
    topics = make_pipeline(
        CountVectorizer(**WORDS),
        LatentDirichletAllocation(clusters, learning_method="online", max_iter=10, random_state=seed),
    )
    return topics.fit(train).transform(test).argmax(1)


METHODS: dict[str, Callable[..., Any]] = {
    "tfidf-svd-mixture": mixture,
    "tfidf-svd-k-means": k_means,
    "lda": lda,
}


def main() -> None:
    """Cluster by each method with each seed and print the scores."""
    parser = argparse.ArgumentParser(description="Cluster a recipe's corpus without a VAE.")
    parser.add_argument("recipe", help="a YAML file whose corpus has labels")
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="override a value of the recipe"
    )
    parser.add_argument(
        "--method", action="append", choices=METHODS, help="repeat for several methods; default: all"
    )
    parser.add_argument("--clusters", type=int, help="number of clusters; default: the number of classes")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="use the seeds 0 to N - 1")
    arguments = parser.parse_intermixed_args()
    recipe = read_recipe(arguments.recipe, arguments.overrides)
    check_run(recipe)
    corpus = load_corpus(**recipe.corpus)
    labels, classes = labels_of(corpus)
    train, test = (corpus[split]["text"][:] for split in ("train", "test"))
    results = []
    for method in arguments.method or METHODS:
        for seed in range(arguments.seeds):
            begin = time.monotonic()
            found = METHODS[method](train, test, arguments.clusters or classes, seed)
            results.append(scored(method, seed, labels, found, begin))
    finish(results, recipe.folder / "baselines.json")


if __name__ == "__main__":
    with program():
        main()
