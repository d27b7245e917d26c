"""Train a VAE without labels, cluster its posterior means, and score the clusters with the labels of the test split.

python recipes/clustering/cluster.py recipes/clustering/agnews.yaml --method tied-mixture --method k-means

A finished run is not trained again. The clusters are fitted to the train split; the scores are written to
clustering.json in the run folder.
"""

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from datasets import DatasetDict, IterableDatasetDict
from numpy.typing import ArrayLike

from textvae.evaluation.cluster_quality import BASELINE
from textvae.evaluation.clustering import clustering_scores
from textvae.interfaces.clustering import find_clusters
from textvae.interfaces.table import load_encoder
from textvae.latent_space import clusters
from textvae.latent_space.clusters import fit_clusters
from textvae.latent_space.linear import LinearVectors
from textvae.support.errors import UserError
from textvae.support.files import replacing
from textvae.support.program import program
from textvae.text.corpus import load_corpus
from textvae.training.checks import check_run
from textvae.training.recipe import read_recipe
from textvae.training.run import run_once

METHODS = (*get_args(clusters.Method), "prior")

RESTARTS = 10
"""Restarts of a fit: k-means with 16 clusters often ends with two of them merged."""


def main() -> None:
    """Train if there is no finished run, cluster by each method, and print the scores."""
    arguments = read_arguments()
    recipe = read_recipe(arguments.recipe, arguments.overrides)
    check_run(recipe)
    corpus = load_corpus(**recipe.corpus)
    labels, classes = labels_of(corpus)
    run_once(recipe, resume=arguments.resume, overwrite=arguments.overwrite, quiet=arguments.quiet)
    vae = load_encoder(recipe.folder)
    options: dict[str, Any] = {
        "show_progress_bar": False if arguments.quiet else None,
        "normalize_embeddings": vae.by_direction,
    }
    train, test = (np.asarray(vae.encode(corpus[split]["text"][:], **options)) for split in ("train", "test"))
    results, k, seed = [], arguments.clusters or classes, recipe.training.get("seed", 0)
    texts = corpus["train"]["text"][:], corpus["test"]["text"][:]
    for method in arguments.method or [vae.clusters_by]:
        begin = time.monotonic()
        found = find_clusters(vae, train, k, method, seed=seed, restarts=RESTARTS)
        results.append(scored(method, seed, labels, found.predict(test), begin))
    begin = time.monotonic()
    with suppress(UserError):  # the texts have too few words for it
        results.append(scored(BASELINE, seed, labels, baseline(*texts, k, seed), begin))
    finish(results, recipe.folder / "clustering.json")


def baseline(train: list[str], test: list[str], clusters: int, seed: int) -> ArrayLike:
    """The clusters of the test texts by TF-IDF, SVD and k-means."""
    linear = LinearVectors(train, seed)
    fitted, scored = (linear.vectors(linear.tfidf(texts)) for texts in (train, test))
    return fit_clusters(fitted, clusters, "k-means", random_state=seed, restarts=RESTARTS).predict(scored)


def read_arguments() -> argparse.Namespace:
    """The arguments; overrides may be at any position."""
    parser = argparse.ArgumentParser(description="Train a VAE, cluster its posterior means and score them.")
    parser.add_argument("recipe", help="a YAML file whose corpus has labels")
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="override a value of the recipe"
    )
    parser.add_argument(
        "--method",
        action="append",
        choices=METHODS,
        help="repeat for several methods; default: the one that suits the vectors",
    )
    parser.add_argument("--clusters", type=int, help="number of clusters; default: the number of classes")
    parser.add_argument("--resume", action="store_true", help="continue from the last complete checkpoint")
    parser.add_argument("--overwrite", action="store_true", help="delete the run in the run folder")
    parser.add_argument("--quiet", action="store_true", help="print only the result")
    return parser.parse_intermixed_args()


def labels_of(corpus: DatasetDict | IterableDatasetDict) -> tuple[list[str], int]:
    """The labels of the test split by name, and the number of classes."""
    if isinstance(corpus, IterableDatasetDict) or "label" not in corpus["test"].column_names:
        raise UserError(
            "expected a corpus with labels, and not a stream: set corpus.columns, {text: ..., label: ...}"
        )
    kind = corpus["test"].features["label"]
    return kind.int2str(corpus["test"]["label"][:]), kind.num_classes


@dataclass(frozen=True)
class Result:
    """The scores of a method.

    Attributes:
        method: method of clustering.
        seed: seed of the fit.
        clusters: number of clusters that contain a text of the test split.
        accuracy: see `clustering_scores`, also for ``nmi`` and ``ari``.
        minutes: time of the fit; the time of training is in the run's evaluation.json.
    """

    method: str
    seed: int
    clusters: int
    accuracy: float
    nmi: float
    ari: float
    minutes: float


def scored(method: str, seed: int, labels: Sequence[str], found: ArrayLike, begin: float) -> Result:
    """Score the clusters of the test split by its labels."""
    scores = clustering_scores(labels, found)
    minutes = (time.monotonic() - begin) / 60
    return Result(method, seed, len(scores.clusters), scores.accuracy, scores.nmi, scores.ari, minutes)


def finish(results: Sequence[Result], path: Path) -> None:
    """Print the results and write them."""
    print(f"{'method':<20} {'seed':>4} {'clusters':>8} {'accuracy':>8} {'NMI':>5} {'ARI':>5} {'minutes':>7}")
    for r in results:
        scores = f"{r.accuracy:>8.1%} {r.nmi:>5.3f} {r.ari:>5.3f}"
        print(f"{r.method:<20} {r.seed:>4} {r.clusters:>8} {scores} {r.minutes:>7.1f}")
    with replacing(path) as partial:
        partial.write_text(
            json.dumps([asdict(result) for result in results], indent=2) + "\n", encoding="utf-8"
        )
    print(f"\nwritten: {path}")


if __name__ == "__main__":
    with program("run the same command with --resume, which continues from the last checkpoint"):
        main()
