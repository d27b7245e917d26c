"""`textvae cluster`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from textvae.commands.arguments import (
    BatchSize,
    Json,
    MaximumLength,
    Run,
    check_pictures,
    hide_bars,
    load_encoder,
    output_option,
    seed_option,
)
from textvae.commands.corpora import Column, Corpus, LabelColumn, Labels, texts_of
from textvae.commands.printing import cluster_name, print_json
from textvae.support.display import guarded
from textvae.support.errors import UserError
from textvae.support.files import check_writable, replacing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textvae.evaluation.clustering import ClusteringScores
    from textvae.interfaces.clustering import TextClusters

EXAMPLES = 5
"""Sentences that the page shows of each label in each cluster."""


def cluster(
    context: typer.Context,
    run: Run,
    file: Corpus,
    clusters: Annotated[str, typer.Option(help="How many, or auto: chosen by BIC.")] = "10",
    method: Annotated[
        Literal["mixture", "tied-mixture", "diagonal-mixture", "k-means", "mini-batch-k-means", "prior"]
        | None,
        typer.Option(
            help="A Gaussian mixture, with full, tied or diagonal covariances; k-means, for large files; or the "
            "components of the model's own prior, if that is a mixture. Left out: k-means on the directions of "
            "documents' vectors, a tied mixture of others."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        output_option(
            "-o",
            "--output",
            what="A TSV file for the cluster of each text, its probability and the text, behind an "
            "apostrophe if a spreadsheet would compute it.",
        ),
    ] = None,
    column: Column = None,
    label_column: LabelColumn = None,
    labels: Labels = None,
    confusion: Annotated[
        Path | None,
        output_option(
            what="A picture of how clusters and classes agree, .png, .pdf or .svg; the page .html stands beside it."
        ),
    ] = None,
    words: Annotated[int, typer.Option(min=0, help="Characteristic words of each cluster.")] = 10,
    nearest: Annotated[int, typer.Option(min=0, help="Lines nearest to each cluster's centre.")] = 3,
    draws: Annotated[int, typer.Option(min=0, help="Sentences from draws around each cluster's centre.")] = 3,
    batch_size: BatchSize = None,
    maximum_length: MaximumLength = 100,
    seed: Annotated[int, seed_option("Of the fit and the draws.")] = 0,
    as_json: Json = False,
) -> None:
    """Cluster the lines of a text, blank ones counted, or the rows of a table, and say what each cluster is about.

    Where classes are given, also how well clusters agree with them: accuracy, each cluster matched with one class at
    most, normalised mutual information, adjusted Rand index. The clusters know nothing of them.
    """
    if clusters != "auto" and not (clusters.isdecimal() and int(clusters)):
        raise UserError(f"expected --clusters to be a number of 1 or more, or auto, got {clusters!r}")
    if output is not None:
        check_writable(output, "clusters.tsv")
    if confusion is not None:
        check_pictures(confusion)
    hide_bars(context)
    texts, kinds = texts_of(file, column, label_column, labels)
    if confusion is not None:
        if kinds is None:
            raise UserError(
                "expected classes for --confusion, found none: name their column, --label-column, or file, --labels"
            )
        from textvae.pictures.cloud import classes_of

        classes_of(kinds)  # a picture does not hold too many
    vae = load_encoder(run)
    from textvae.interfaces.clustering import cluster_texts

    found = cluster_texts(
        vae,
        texts,
        None if clusters == "auto" else int(clusters),
        method,
        seed=seed,
        words=words,
        nearest=nearest,
        draws=draws,
        batch_size=batch_size,
        maximum_length=maximum_length,
        **context.obj,
    )
    if output is not None:
        _write_table(output, found, texts)
    result, report = found.to_dict(), found.report()
    if kinds is not None:
        scores = _scores(found, kinds)
        result["scores"], report = scores.to_dict(), f"{scores.report()}\n\n{report}"
        if confusion is not None:
            _draw(scores, found, texts, kinds, confusion)
    if as_json:
        print_json(result)
    else:
        print(report)


def _write_table(path: Path, found: TextClusters, texts: Sequence[str]) -> None:
    """Write a row for each text, which no spreadsheet takes for a formula."""
    with (
        replacing(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace") as table,
    ):
        print("cluster", "probability", "text", sep="\t", file=table)
        for label, probability, text in zip(found.labels, found.probabilities.max(1), texts, strict=True):
            print(label, f"{probability:.4f}", guarded(" ".join(text.split())), sep="\t", file=table)


def _scores(found: TextClusters, kinds: Sequence[str | None]) -> ClusteringScores:
    """How well the clusters agree with the classes that are known."""
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
    """The confusion as a picture and as a page, which shows sentences of each class in each cluster."""
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
