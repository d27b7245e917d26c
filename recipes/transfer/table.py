"""Results and their table."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Result:
    """The result of a method on a corpus with a seed.

    Attributes:
        corpus: name of the corpus.
        train: number of texts on which the method was fitted.
        test: number of texts on which it was scored.
        classes: number of classes.
        task: "clusters", or the number of labels.
        method: name of the method.
        seed: seed of all random choices.
        numbers: the scores, by name.
        seconds: time for fit and prediction; for ours, including training and its evaluation.
    """

    corpus: str
    train: int
    test: int
    classes: int
    task: str
    method: str
    seed: int
    numbers: dict[str, float]
    seconds: float

    def line(self) -> str:
        """The result in one line."""
        scores = ", ".join(f"{name} {100 * number:.1f}" for name, number in self.numbers.items())
        return f"{self.corpus}, {self.task}, {self.method}, seed {self.seed}: {scores}, {self.seconds:.0f} s"


def markdown(results: list[Result], tuned: Collection[str]) -> str:
    """A table of clusterings and a table of classifications, with means over the seeds in per cent.

    Args:
        results: results of all corpora, methods and seeds.
        tuned: names of the corpora on which the defaults were chosen.
    """
    corpora = list(dict.fromkeys(result.corpus for result in results))
    names = [f"{name} (tuned)" if name in tuned else name for name in corpora]
    tables = []
    for title, tasks in _titles(results).items():
        rows = [[title, *names], ["---", *["--:"] * len(names)]]
        for task, method in tasks:
            found = [
                [r for r in results if (r.corpus, r.task, r.method) == (c, task, method)] for c in corpora
            ]
            label = method if task == "clusters" else f"{task}, {method}"
            rows.append([label, *map(_cell, found)])
        tables.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return "\n\n".join(tables)


def _titles(results: list[Result]) -> dict[str, list[tuple[str, str]]]:
    """The task and method of each row, for each table."""
    rows = list(dict.fromkeys((result.task, result.method) for result in results))
    return {
        "accuracy / NMI of clusters, seconds": [row for row in rows if row[0] == "clusters"],
        "accuracy of a logistic regression": [row for row in rows if row[0] != "clusters"],
    }


def _cell(found: list[Result]) -> str:
    """The mean scores and, for a clustering, the mean seconds."""
    if not found:
        return "-"
    scores = [f"{100 * np.mean([r.numbers[n] for r in found]):.1f}" for n in found[0].numbers if n != "ari"]
    seconds = f", {np.mean([r.seconds for r in found]):.0f} s" if found[0].task == "clusters" else ""
    return " / ".join(scores) + seconds
