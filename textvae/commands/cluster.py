"""`textvae cluster`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from textvae.commands.arguments import BatchSize, Json, Lines, MaximumLength, Run, lines_of, load
from textvae.errors import UserError


def cluster(
    context: typer.Context,
    run: Run,
    file: Lines,
    clusters: Annotated[str, typer.Option(help="How many, or auto: chosen by BIC.")] = "10",
    method: Annotated[
        Literal["mixture", "tied-mixture", "diagonal-mixture", "k-means", "mini-batch-k-means", "prior"],
        typer.Option(
            help="A Gaussian mixture, with full, tied or diagonal covariances; k-means, for large files; or the "
            "components of the model's own prior, if that is a mixture."
        ),
    ] = "tied-mixture",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="A TSV file for the cluster of each line, its probability and the line."
        ),
    ] = None,
    words: Annotated[int, typer.Option(min=0, help="Characteristic words of each cluster.")] = 10,
    nearest: Annotated[int, typer.Option(min=0, help="Lines nearest to each cluster's centre.")] = 3,
    draws: Annotated[int, typer.Option(min=0, help="Sentences from draws around each cluster's centre.")] = 3,
    batch_size: BatchSize = None,
    maximum_length: MaximumLength = 100,
    seed: Annotated[int, typer.Option(help="Of the fit and the draws.")] = 0,
    as_json: Json = False,
) -> None:
    """Cluster the lines of a file, blank ones counted, and say what each cluster is about."""
    if clusters != "auto" and not (clusters.isdecimal() and int(clusters)):
        raise UserError(f"expected --clusters to be a number of 1 or more, or auto, got {clusters!r}")
    if output is not None and output.is_dir():
        raise UserError(
            f"expected a file to write to, got the folder {output}: add a name, such as {output / 'clusters.tsv'}"
        )
    texts = list(lines_of(file))
    vae = load(run)
    from textvae.clustering import cluster_texts
    from textvae.files import replacing

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
        with replacing(output) as partial, partial.open("w", encoding="utf-8") as table:
            print("cluster", "probability", "text", sep="\t", file=table)
            for label, probability, text in zip(found.labels, found.probabilities.max(1), texts, strict=True):
                print(label, f"{probability:.4f}", " ".join(text.split()), sep="\t", file=table)
    print(json.dumps(found.to_dict(), ensure_ascii=False) if as_json else found.report())
