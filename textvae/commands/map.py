"""`textvae map`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from textvae.commands.arguments import (
    BatchSize,
    Json,
    Run,
    check_pictures,
    hide_bars,
    load,
    output_option,
    seed_option,
)
from textvae.commands.corpora import Column, Corpus, LabelColumn, Labels, rows_of
from textvae.commands.printing import cluster_name, print_json
from textvae.support.display import visible

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from textvae.interfaces.text_vae import TextVAE

CLUSTERS, WORDS = 10, 3
"""How many, and how many characteristic words are the name of each."""

FEWEST = 20
"""Fewer texts are drawn without clusters, unless asked for."""


def map_corpus(
    context: typer.Context,
    run: Run,
    file: Corpus,
    output: Annotated[
        Path,
        output_option(
            "-o", "--output", what="The picture, .png, .pdf or .svg; the page .html stands beside it."
        ),
    ] = Path("map.png"),
    method: Annotated[
        Literal["pca", "tsne", "umap"],
        typer.Option(help="PCA keeps distances, t-SNE and UMAP (an extra) keep neighbours."),
    ] = "tsne",
    column: Column = None,
    label_column: LabelColumn = None,
    labels: Labels = None,
    clusters: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Colour by so many clusters of the vectors; of {FEWEST} texts without labels, by {CLUSTERS}.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Draw at most so many texts, chosen at random.")] = 10_000,
    batch_size: BatchSize = None,
    seed: Annotated[int, seed_option("Of the choice, the clusters and the map.")] = 0,
    as_json: Json = False,
) -> None:
    """Draw a map of a corpus: a picture for a paper, and beside it a page to explore in a browser.

    The texts are coloured by their class, or without one by cluster, which is named by its characteristic words.
    """
    from textvae.latent_space.maps import check_method, project
    from textvae.pictures.cloud import classes_of

    check_pictures(output)
    check_method(method)
    hide_bars(context)
    rows = rows_of(file, column, label_column, labels)
    total = len(rows)
    if total > limit:
        rows = rows.select(_drawn(total, limit, seed))
        if context.obj["show_progress_bar"] is None:
            print(f"{limit:,} of {total:,} texts, chosen at random; --limit changes that", file=sys.stderr)
    labelled = clusters is None and "label" in rows.column_names
    if labelled:
        called = dict(enumerate(rows.features["label"].names))
        names, numbers = classes_of([called.get(number) for number in rows["label"][:]])
    vae = load(run)
    import numpy as np

    from textvae.pictures.page import write_page
    from textvae.pictures.scatter import draw_map

    texts = rows["text"][:]
    vectors = np.asarray(vae.encode(texts, batch_size=batch_size, **context.obj))
    if not labelled:
        names, numbers = _clusters(vae, texts, vectors, clusters, seed, **context.obj)
    points = project(vectors, method, seed)
    page = output.with_suffix(".html")
    draw_map(points, numbers, output, names=names)
    shown = f"{len(texts):,}" if len(texts) == total else f"{len(texts):,} of {total:,}"
    name = "standard input" if file == "-" else Path(file).name
    title = f"{name}: {shown} texts ({method})"
    write_page(points, texts, numbers, page, title=title, names=names)
    if not as_json:
        print(visible(f"{output}\n{page}"))
        return
    places = [{"x": x, "y": y} for x, y in points.round(5).tolist()]
    classes = [names[number] if number >= 0 else None for number in numbers]
    drawn = [
        place | {"label": label, "text": text}
        for place, label, text in zip(places, classes, texts, strict=True)
    ]
    result = {"picture": str(output), "page": str(page), "texts": total, "points": drawn}
    print_json(result)


def _drawn(total: int, limit: int, seed: int) -> list[int]:
    """Places of so many rows in their order."""
    import numpy as np

    return np.sort(np.random.default_rng(seed).choice(total, limit, replace=False)).tolist()


def _clusters(
    vae: TextVAE,
    texts: list[str],
    vectors: NDArray[np.floating],
    clusters: int | None,
    seed: int,
    show_progress_bar: bool | None,
) -> tuple[tuple[str, ...], list[int]]:
    """The names of the clusters, their numbers and characteristic words, and the cluster of each text; -1: none."""
    from textvae.interfaces.clustering import find_clusters
    from textvae.text.keywords import characteristic_words

    if clusters is None and len(texts) < FEWEST:
        return (), [-1] * len(texts)
    k = clusters or CLUSTERS
    found = find_clusters(vae, vectors, k, seed=seed, show_progress_bar=show_progress_bar)
    numbers = found.predict(vectors).tolist()
    words = characteristic_words(texts, numbers, WORDS)
    names = (cluster_name(number, words.get(number, [])) for number in range(k))
    return tuple(names), numbers
