"""`textvae cluster`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from textvae.commands.arguments import (
    BatchSize,
    Column,
    Json,
    MaximumLength,
    Run,
    check_pictures,
    hide_bars,
    load_encoder,
    output_option,
    seed_option,
)
from textvae.commands.corpora import Corpus, LabelColumn, Labels, texts_of
from textvae.commands.printing import cluster_name, print_json
from textvae.support.display import guarded
from textvae.support.errors import UserError
from textvae.support.files import check_writable, replacing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textvae.evaluation.clustering import ClusteringScores
    from textvae.interfaces.clustering import TextClusters

EXAMPLES = 5
"""The most sentences that the page shows for each label in each cluster."""

Number = Annotated[str, typer.Option(help="Number of clusters, or auto: BIC chooses.")]
Method = Annotated[
    Literal["mixture", "tied-mixture", "diagonal-mixture", "k-means", "mini-batch-k-means", "prior"] | None,
    typer.Option(
        help="A Gaussian mixture with full, tied or diagonal covariances; k-means, for large files; or the components "
        "of the model's own prior, if it is a mixture. Default: k-means on the directions of documents' vectors, a "
        "tied mixture for other vectors."
    ),
]
Output = Annotated[
    Path | None,
    output_option(
        "-o",
        "--output",
        what="A TSV file for the cluster of each text, its probability and the text. Text that a spreadsheet would "
        "compute gets an apostrophe.",
    ),
]
Confusion = Annotated[
    Path | None,
    output_option(
        what="A picture of how clusters and classes agree, .png, .pdf or .svg; a page .html is written beside it."
    ),
]
Words = Annotated[int, typer.Option(min=0, help="Number of characteristic words of each cluster.")]
Nearest = Annotated[int, typer.Option(min=0, help="Number of lines nearest to the centre of each cluster.")]
Draws = Annotated[int, typer.Option(min=0, help="Number of sentences decoded from draws of each cluster.")]
Compare = Annotated[
    bool,
    typer.Option(help="Compare with TF-IDF, SVD and k-means on the same texts, which takes a few seconds."),
]


def cluster(
    context: typer.Context,
    run: Run,
    file: Corpus,
    clusters: Number = "10",
    method: Method = None,
    output: Output = None,
    column: Column = None,
    label_column: LabelColumn = None,
    labels: Labels = None,
    confusion: Confusion = None,
    words: Words = 10,
    nearest: Nearest = 3,
    draws: Draws = 3,
    compare: Compare = True,
    batch_size: BatchSize = None,
    maximum_length: MaximumLength = 100,
    seed: Annotated[int, seed_option("Seeds the fit and the draws.")] = 0,
    as_json: Json = False,
) -> None:
    """Cluster the lines of a text, including blank ones, or the rows of a table, and describe each cluster.

    At the end it says how stable the clusters are, beside as many clusters by TF-IDF, SVD and k-means.

    If there are classes, it also prints how well the clusters agree with them: accuracy (each cluster is matched with
    at most one class), normalised mutual information and adjusted Rand index. Clustering does not use the classes.
    """
    k = _number(clusters)
    _check_outputs(output, confusion)
    hide_bars(context)
    texts, kinds = texts_of(file, column, label_column, labels)
    if confusion is not None:
        _check_classes(kinds)
    vae = load_encoder(run)
    from textvae.interfaces.clustering import cluster_texts

    options = {"words": words, "nearest": nearest, "draws": draws, "batch_size": batch_size, **context.obj}
    options |= {"compare": compare, "classes": kinds, "maximum_length": maximum_length}
    found = cluster_texts(vae, texts, k, method, seed=seed, **options)
    if output is not None:
        _write_table(output, found, texts)
    scores = None if kinds is None else _scores(found, kinds)
    if scores is not None and kinds is not None and confusion is not None:
        _draw(scores, found, texts, kinds, confusion)
    _print(found, scores, as_json)


def _number(clusters: str) -> int | None:
    """The number of clusters; None: BIC chooses."""
    if clusters != "auto" and not (clusters.isdecimal() and int(clusters)):
        raise UserError(f"expected --clusters to be a number of 1 or more, or auto, got {clusters!r}")
    return None if clusters == "auto" else int(clusters)


def _check_outputs(output: Path | None, confusion: Path | None) -> None:
    """Refuse files that cannot be written, before any work."""
    if output is not None:
        check_writable(output, "clusters.tsv")
    if confusion is not None:
        check_pictures(confusion)


def _check_classes(kinds: Sequence[str | None] | None) -> None:
    """Refuse texts without classes, or with more than a picture can hold."""
    if kinds is None:
        raise UserError(
            "expected classes for --confusion, found none: give --label-column, or a file with --labels"
        )
    from textvae.pictures.cloud import classes_of

    classes_of(kinds)


def _print(found: TextClusters, scores: ClusteringScores | None, as_json: bool) -> None:
    """Print the clusters, and how well they agree with the classes, if there are any."""
    if as_json:
        print_json(found.to_dict() | ({} if scores is None else {"scores": scores.to_dict()}))
    else:
        print(found.report() if scores is None else f"{scores.report()}\n\n{found.report()}")


def _write_table(path: Path, found: TextClusters, texts: Sequence[str]) -> None:
    """Write a row for each text, guarded so that no spreadsheet reads it as a formula."""
    with (
        replacing(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace") as table,
    ):
        print("cluster", "probability", "text", sep="\t", file=table)
        for label, probability, text in zip(found.labels, found.probabilities.max(1), texts, strict=True):
            print(label, f"{probability:.4f}", guarded(" ".join(text.split())), sep="\t", file=table)


def _scores(found: TextClusters, kinds: Sequence[str | None]) -> ClusteringScores:
    """How well the clusters agree with the known classes."""
    from textvae.evaluation.clustering import clustering_scores

    known = [
        (kind, label) for kind, label in zip(kinds, found.labels.tolist(), strict=True) if kind is not None
    ]
    classes, clusters = zip(*known, strict=True)
    return clustering_scores(classes, clusters)


def _draw(
    scores: ClusteringScores,
    found: TextClusters,
    texts: Sequence[str],
    kinds: Sequence[str | None],
    path: Path,
) -> None:
    """Draw the confusion matrix, and write a page that shows sentences of each class in each cluster."""
    from textvae.pictures.confusion import draw_confusion, write_confusion_page

    examples: dict[tuple[Any, Any], list[str]] = {}
    for text, kind, label in zip(texts, kinds, found.labels.tolist(), strict=True):
        examples.setdefault((kind, label), []).append(text)
    of_cells = [
        [examples.get((kind, label), [])[:EXAMPLES] for label in scores.clusters] for kind in scores.labels
    ]
    names = [cluster_name(number, found.clusters[number].words[:2]) for number in scores.clusters]
    draw_confusion(scores.confusion, scores.labels, names, path)
    write_confusion_page(scores.confusion, scores.labels, names, of_cells, path.with_suffix(".html"))
