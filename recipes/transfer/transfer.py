"""Run the document VAE with its defaults on any corpora, beside fast linear baselines.

python recipes/transfer/transfer.py agnews r8 --tuned agnews -o results    # folders with train.jsonl and test.jsonl
python recipes/transfer/transfer.py reviews.csv --seeds 3 -o results       # a file: a fifth of it is the test split

Every method is fitted on the train split and scored on the test split: unsupervised clusters by the accuracy of the
best matching, NMI and ARI; logistic regression on few labels by accuracy. The table is written to results/transfer.md,
the numbers to results/transfer.json. If the script is called again, it continues from these numbers. A corpus is
anything that `load_corpus` reads, with a column of labels.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from classical import CLUSTERINGS, Split, labelled, logistic_regression, tfidf
from scipy.sparse import csr_matrix, hstack
from table import Result, markdown

from textvae.evaluation.clustering import clustering_scores
from textvae.interfaces.clustering import find_clusters
from textvae.interfaces.documents import DocumentVAE
from textvae.support.errors import UserError
from textvae.support.files import check_folder, replacing
from textvae.support.program import program
from textvae.text.corpus import load_corpus
from textvae.training.recipe import read_recipe
from textvae.training.run import run_once

RECIPE = Path(__file__).parents[1] / "clustering" / "documents.yaml"

LABELS = (50, 200, 2_000)

RESTARTS = 10
"""Restarts of k-means, for our vectors and for the baselines."""


def main() -> None:
    """Measure each corpus with each seed unless the folder already has results, and write the table each time."""
    arguments = read_arguments()
    check_folder(arguments.output)
    results = known(arguments.output / "transfer.json")
    for corpus in arguments.corpora:
        for seed in range(arguments.seeds):
            if (Path(corpus).stem, seed) not in {(result.corpus, result.seed) for result in results}:
                results += measured(corpus, seed, arguments)
                write(results, arguments)
    print(markdown(results, arguments.tuned))


def read_arguments() -> argparse.Namespace:
    """Parse the command line, and separate the overrides from the corpora."""
    parser = argparse.ArgumentParser(
        description="Run the document VAE's defaults on corpora beside baselines."
    )
    parser.add_argument(
        "corpora", nargs="+", help="files, folders, names on the Hub, or grammar; or section.key=value"
    )
    parser.add_argument(
        "--tuned", nargs="*", default=[], help="the corpora on which the defaults were chosen"
    )
    parser.add_argument(
        "--label", default="label", help="the column of labels; for grammar it is always topic"
    )
    parser.add_argument("--limit", type=int, help="the most texts to train on; default: all")
    parser.add_argument("--seeds", type=int, default=2, metavar="N", help="the seeds 0 to N - 1")
    parser.add_argument("--methods", nargs="*", help="baseline clusterings to run; default: all")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("transfer"), help="the folder for results and runs"
    )
    arguments = parser.parse_args()
    arguments.overrides = [each for each in arguments.corpora if "=" in each]
    arguments.corpora = [each for each in arguments.corpora if "=" not in each]
    return arguments


def corpus_section(corpus: str, label: str, limit: int | None) -> dict[str, Any]:
    """The arguments of `load_corpus`; if there is no test split, it gets a fifth of the texts."""
    section: dict[str, Any] = {
        "train": corpus,
        "columns": {"label": "topic" if corpus == "grammar" else label},
    }
    if corpus != "grammar":
        section["columns"]["text"] = "text"
    if not any(Path(corpus).glob("test*")) and Path(corpus).exists():
        section["test_size"] = 0.2
    return section if limit is None else section | {"maximum_train": limit}


def measured(corpus: str, seed: int, arguments: argparse.Namespace) -> list[Result]:
    """Run all methods on a corpus with one seed."""
    section = corpus_section(corpus, arguments.label, arguments.limit)
    splits = load_corpus(**section)
    if "label" not in splits["train"].column_names:
        raise UserError(f"expected labels in {corpus}, found none: name their column with --label")
    names = splits["train"].features["label"].names
    train, test = (
        Split(splits[name]["text"][:], np.array([names[place] for place in splits[name]["label"][:]]))
        for name in ("train", "test")
    )
    name = Path(corpus).stem
    results = Measured(name, seed, train, test)
    for method, cluster in CLUSTERINGS.items():
        if arguments.methods is None or method in arguments.methods:
            results.cluster(method, cluster)
    begin = time.monotonic()
    folder = arguments.output / "runs" / f"{name}-{seed}"
    overrides = [f"training.output_dir={folder}", f"training.seed={seed}", *arguments.overrides]
    overrides += [f"corpus.{key}={json.dumps(value)}" for key, value in section.items()]
    run_once(read_recipe(RECIPE, overrides), overwrite=True, quiet=True)
    vae = DocumentVAE.from_pretrained(folder)
    results.cluster("ours", lambda train, test, k, seed: ours(vae, train, test, k, seed), begin)
    few_labels(results, vae)
    return results.found


@dataclass
class Measured:
    """Collects the results on a corpus with one seed."""

    corpus: str
    seed: int
    train: Split
    test: Split

    def __post_init__(self) -> None:
        self.found: list[Result] = []

    def cluster(self, method: str, cluster: Callable[..., Any], begin: float | None = None) -> None:
        """Add the scores of a clustering; there are as many clusters as classes."""
        begin = time.monotonic() if begin is None else begin
        clusters = cluster(self.train.texts, self.test.texts, len(set(self.train.labels)), self.seed)
        seconds = time.monotonic() - begin
        scores = clustering_scores(self.test.labels, clusters)
        numbers = {"accuracy": scores.accuracy, "nmi": scores.nmi, "ari": scores.ari}
        self._add("clusters", method, numbers, seconds)

    def classify(self, method: str, labels: int, train: Any, test: Any) -> None:
        """Add the accuracy of a logistic regression on few labels."""
        begin = time.monotonic()
        chosen = labelled(self.train.labels, labels, self.seed)
        found = logistic_regression(train[chosen], self.train.labels[chosen], test)
        numbers = {"accuracy": float((found == self.test.labels).mean())}
        self._add(f"{labels} labels", method, numbers, time.monotonic() - begin)

    def _add(self, task: str, method: str, numbers: dict[str, float], seconds: float) -> None:
        sizes = len(self.train.texts), len(self.test.texts), len(set(self.train.labels))
        self.found.append(Result(self.corpus, *sizes, task, method, self.seed, numbers, seconds))
        print(self.found[-1].line(), flush=True)


def ours(vae: DocumentVAE, train: list[str], test: list[str], clusters: int, seed: int) -> Any:
    """Cluster the directions of the posterior means."""
    fitted, scored = (
        vae.encode(texts, normalize_embeddings=True, show_progress_bar=False) for texts in (train, test)
    )
    return find_clusters(vae, fitted, clusters, vae.clusters_by, seed=seed, restarts=RESTARTS).predict(scored)


def few_labels(results: Measured, vae: DocumentVAE) -> None:
    """Logistic regression on TF-IDF, on our vectors, and on both side by side."""
    texts = results.train.texts, results.test.texts
    sparse = tfidf(*texts)
    dense = [
        np.asarray(vae.encode(each, normalize_embeddings=True, show_progress_bar=False)) for each in texts
    ]
    both = [hstack([words, csr_matrix(z)]).tocsr() for words, z in zip(sparse, dense, strict=True)]
    for labels in LABELS:
        if labels <= len(texts[0]):
            for method, (train, test) in {"TF-IDF": sparse, "ours": dense, "TF-IDF and ours": both}.items():
                results.classify(method, labels, train, test)


def known(path: Path) -> list[Result]:
    """The results of an earlier call with the same output folder."""
    return [Result(**row) for row in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []


def write(results: list[Result], arguments: argparse.Namespace) -> None:
    """Write the numbers and the table."""
    numbers = json.dumps([asdict(result) for result in results], indent=1)
    for name, text in {"transfer.json": numbers, "transfer.md": markdown(results, arguments.tuned)}.items():
        with replacing(arguments.output / name) as partial:
            partial.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    with program("run the same command again, which skips what is already measured"):
        main()
