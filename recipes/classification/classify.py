"""Compare methods of classification with few labels: a table of methods by numbers of labels.

python recipes/classification/classify.py recipes/classification/agnews.yaml --labels 100 500 --seeds 0 1 2

Methods: tfidf (TF-IDF and logistic regression), lstm (supervised), fine-tuned (the same, started as a language model),
m1 (logistic regression on a VAE's vectors), m2 (the recipe), m1+m2 (M2 on a VAE's vectors). The models that they need
are trained first, in folders beside training.output_dir. Finished models and measurements are not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from methods import METHODS, Bench

from textvae.support.files import replacing
from textvae.support.program import program
from textvae.support.seeds import check_seed


def main() -> None:
    """Measure what has not been measured yet, and print the table."""
    parser = argparse.ArgumentParser(
        description="Compare methods of classification by their numbers of labels."
    )
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--labels", nargs="+", type=int, default=[100, 500, 1_000, 2_000])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        check_seed(seed, "--seeds")
    for seed in arguments.seeds:
        for labels in arguments.labels:
            bench = Bench(arguments.recipe, arguments.overrides, labels, seed)
            for method in arguments.methods:
                measure(bench, method)
    print(table(read(bench.folder), arguments.methods, arguments.labels))


def measure(bench: Bench, method: str) -> None:
    """Add the accuracy of a method to the results, unless it is already there."""
    where = {"method": method, "labels": bench.labels, "seed": bench.seed}
    if any(where.items() <= result.items() for result in read(bench.folder)):
        return
    start = time.monotonic()
    accuracy = METHODS[method](bench)
    minutes = (time.monotonic() - start) / 60
    print(
        f"{method}, {bench.labels} labels, seed {bench.seed}: {100 * accuracy:.1f} %, {minutes:.1f} minutes"
    )
    with replacing(bench.folder / "accuracy.json") as partial:
        # Read again, because another process may have added the result of another method.
        results = [*read(bench.folder), where | {"accuracy": accuracy, "minutes": minutes}]
        partial.write_text(json.dumps(results, indent=2))


def read(folder: Path) -> list[dict[str, Any]]:
    """The results so far."""
    path = folder / "accuracy.json"
    return json.loads(path.read_text()) if path.exists() else []


def table(results: list[dict[str, Any]], methods: list[str], labels: list[int]) -> str:
    """Accuracies in per cent, mean ± deviation over the seeds, in Markdown."""
    found = defaultdict(list)
    for result in results:
        found[result["method"], result["labels"]].append(100 * result["accuracy"])

    def cell(values: list[float]) -> str:
        return (
            f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "") if values else ""
        )

    head = ["| labels |", *(f" {number:,} |" for number in labels)]
    rows = [
        [f"| {method} |", *(f" {cell(found[method, number])} |" for number in labels)] for method in methods
    ]
    return "\n".join("".join(row) for row in [head, ["|---|", *("--:|" for _ in labels)], *rows])


if __name__ == "__main__":
    with program("run the same command again to continue"):
        main()
