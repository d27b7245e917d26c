"""`textvae map`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from textvae.commands.arguments import (
    BatchSize,
    Column,
    Json,
    Run,
    check_pictures,
    hide_bars,
    load_encoder,
    output_option,
    seed_option,
)
from textvae.commands.corpora import Corpus, LabelColumn, Labels, rows_of
from textvae.commands.printing import cluster_name, print_json
from textvae.support.display import visible

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from numpy.typing import NDArray

    from textvae.interfaces.sentence_encoder import SentenceEncoder

CLUSTERS, WORDS = 10, 3
"""Default number of clusters, and number of characteristic words in a cluster's name."""

FEWEST = 20
"""Fewer texts than this are drawn without clusters, unless --clusters is given."""

Output = Annotated[
    Path,
    output_option(
        "-o", "--output", what="The picture, .png, .pdf or .svg; a page .html is written beside it."
    ),
]
Method = Annotated[
    Literal["pca", "tsne", "umap"],
    typer.Option(help="PCA keeps distances; t-SNE and UMAP (an extra) keep neighbours."),
]
Number = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=f"Colour by this many clusters. Default: {CLUSTERS} for {FEWEST} texts or more without labels.",
        show_default=False,
    ),
]
Limit = Annotated[int, typer.Option(min=1, help="Draw at most this many texts, chosen at random.")]


def map_corpus(
    context: typer.Context,
    run: Run,
    file: Corpus,
    output: Output = Path("map.png"),
    method: Method = "tsne",
    column: Column = None,
    label_column: LabelColumn = None,
    labels: Labels = None,
    clusters: Number = None,
    limit: Limit = 10_000,
    batch_size: BatchSize = None,
    seed: Annotated[int, seed_option("Seeds the choice of texts, the clusters and the map.")] = 0,
    as_json: Json = False,
) -> None:
    """Draw a map of a corpus: a picture for a paper, and beside it a page to explore in a browser.

    The texts are coloured by class or, if there are no classes, by cluster; a cluster is named by characteristic words.
    """
    from textvae.latent_space.maps import check_method, project

    check_pictures(output)
    check_method(method)
    hide_bars(context)
    rows = rows_of(file, column, label_column, labels)
    total = len(rows)
    rows = _limited(rows, limit, seed, context.obj["show_progress_bar"])
    classes = _classes(rows) if clusters is None else None
    vae = load_encoder(run)
    import numpy as np

    texts = rows["text"][:]
    options = {"batch_size": batch_size, "normalize_embeddings": vae.by_direction, **context.obj}
    vectors = np.asarray(vae.encode(texts, **options))
    names, numbers = classes or _clusters(vae, texts, vectors, clusters, seed, **context.obj)
    points = project(vectors, method, seed)
    shown = f"{len(texts):,}" if len(texts) == total else f"{len(texts):,} of {total:,}"
    name = "standard input" if file == "-" else Path(file).name
    page = _draw(points, texts, names, numbers, output, f"{name}: {shown} texts ({method})")
    if as_json:
        drawn = _described(points, texts, names, numbers)
        print_json({"picture": str(output), "page": str(page), "texts": total, "points": drawn})
    else:
        print(visible(f"{output}\n{page}"))


def _limited(rows: Dataset, limit: int, seed: int, show_progress_bar: bool | None) -> Dataset:
    """At most ``limit`` rows, chosen at random, in their order."""
    import numpy as np

    total = len(rows)
    if total <= limit:
        return rows
    if show_progress_bar is None:
        print(f"{limit:,} of {total:,} texts, chosen at random; --limit changes that", file=sys.stderr)
    return rows.select(np.sort(np.random.default_rng(seed).choice(total, limit, replace=False)).tolist())


def _classes(rows: Dataset) -> tuple[tuple[str, ...], list[int]] | None:
    """The names of the classes, and the class of each row; None if the rows have no labels."""
    from textvae.pictures.cloud import classes_of

    if "label" not in rows.column_names:
        return None
    names = dict(enumerate(rows.features["label"].names))
    return classes_of([names.get(number) for number in rows["label"][:]])


def _draw(
    points: NDArray[np.floating],
    texts: list[str],
    names: tuple[str, ...],
    numbers: list[int],
    output: Path,
    title: str,
) -> Path:
    """Draw the map, and write the page beside it; returns the file of the page."""
    from textvae.pictures.page import write_page
    from textvae.pictures.scatter import draw_map

    page = output.with_suffix(".html")
    draw_map(points, numbers, output, names=names)
    write_page(points, texts, numbers, page, title=title, names=names)
    return page


def _described(
    points: NDArray[np.floating], texts: list[str], names: tuple[str, ...], numbers: list[int]
) -> list[dict[str, Any]]:
    """The points for JSON: position, class and text."""
    classes = [names[number] if number >= 0 else None for number in numbers]
    return [
        {"x": x, "y": y, "label": label, "text": text}
        for (x, y), label, text in zip(points.round(5).tolist(), classes, texts, strict=True)
    ]


def _clusters(
    vae: SentenceEncoder,
    texts: list[str],
    vectors: NDArray[np.floating],
    clusters: int | None,
    seed: int,
    show_progress_bar: bool | None,
) -> tuple[tuple[str, ...], list[int]]:
    """The names of the clusters (number and characteristic words), and the cluster of each text; -1: no cluster."""
    from textvae.interfaces.clustering import find_clusters
    from textvae.text.keywords import characteristic_words

    if clusters is None and len(texts) < FEWEST:
        return (), [-1] * len(texts)
    k = clusters or CLUSTERS
    found = find_clusters(vae, vectors, k, vae.clusters_by, seed=seed, show_progress_bar=show_progress_bar)
    numbers = found.predict(vectors).tolist()
    words = characteristic_words(texts, numbers, WORDS, vae.word_counter)
    names = (cluster_name(number, words.get(number, [])) for number in range(k))
    return tuple(names), numbers
