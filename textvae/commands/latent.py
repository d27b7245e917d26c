"""`textvae analogy`, `traverse`, `fill`, `neighbours` and `fit-prior`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from textvae.commands.arguments import BatchSize, Json, Lines, MaximumLength, Run, lines_of, load, seed_option
from textvae.commands.printing import in_short, print_json, print_texts
from textvae.support.display import one_line, visible
from textvae.support.errors import UserError
from textvae.support.files import check_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from textvae.inference.filling import Fillings


def analogy(
    context: typer.Context,
    run: Run,
    a: Annotated[str, typer.Argument(help="Sentence with the property.")],
    b: Annotated[str, typer.Argument(help="Sentence without it.")],
    c: Annotated[str, typer.Argument(help="Sentence to add it to.")],
    maximum_length: MaximumLength = 100,
    as_json: Json = False,
) -> None:
    """Print the sentence that is to C as A is to B, decoded from a - b + c."""
    text = load(run).analogy(a, b, c, maximum_length=maximum_length, **context.obj)
    if as_json:
        print_json(text)
    else:
        print(one_line(text))


def traverse(
    context: typer.Context,
    run: Run,
    text: Annotated[str, typer.Argument(help="Sentence that gives the other dimensions.")],
    dimension: Annotated[int, typer.Option("-d", "--dimension", min=0, help="Dimension of z, from 0.")],
    steps: Annotated[int, typer.Option(min=1, help="Number of sentences.")] = 7,
    reach: Annotated[
        float, typer.Option(help="From -reach to reach, in standard deviations of the prior.")
    ] = 3.0,
    maximum_length: MaximumLength = 100,
    as_json: Json = False,
) -> None:
    """Vary one dimension of z across the prior, and print the sentences; the other dimensions are those of TEXT."""
    options = {"maximum_length": maximum_length, **context.obj}
    print_texts(load(run).traverse(text, dimension, steps, reach, **options), as_json)


def fill(
    run: Run,
    text: Annotated[
        str, typer.Argument(help="A text with blanks; - reads texts from standard input, one per line.")
    ],
    blank: Annotated[str, typer.Option(help="The mark of a missing word.")] = "___",
    n: Annotated[int, typer.Option("-n", min=1, help="The most fillings of each text.")] = 5,
    particles: Annotated[int, typer.Option(min=1, help="More particles are slower and more exact.")] = 1000,
    seed: Annotated[int, seed_option("Seeds all draws.")] = 0,
    as_json: Json = False,
) -> None:
    """Fill the blanks of a text, and print the probability of each filling given the other words."""
    if text != "-" and blank not in text:
        raise UserError(f"expected a blank {blank} in the text, got none: write it for each missing word")
    texts = list(lines_of("-")) if text == "-" else [text]
    vae = load(run)
    with warnings.catch_warnings(
        action="ignore", category=UserWarning
    ):  # they are printed below, in one line each
        found = [vae.fill(text, blank, n, particles, seed=seed) for text in texts]
    if as_json:
        rows = [_row_of(fillings) for fillings in found]
        print_json(rows if text == "-" else rows[0])
        return
    for given, fillings in zip(texts, found, strict=True):
        for filled, share in fillings:
            print(f"{share:6.1%}  {one_line(filled)}")
        if fillings.warning:
            print(f"{one_line(given)}: {fillings.warning} (--particles)", file=sys.stderr)


def _row_of(fillings: Fillings) -> dict[str, Any]:
    """What ``--json`` says of a text: its fillings, and how far they can be relied on."""
    return {
        "fillings": [{"text": text, "probability": share} for text, share in fillings],
        "effective_sample_size": fillings.effective_sample_size,
    }


def neighbours(
    context: typer.Context,
    run: Run,
    query: Annotated[str, typer.Argument(help="A text; - reads texts from standard input, one per line.")],
    file: Lines,
    k: Annotated[
        int | None,
        typer.Option("-k", min=1, help="Number of neighbours. Default: 10, or all if FILE has fewer."),
    ] = None,
    metric: Annotated[
        Literal["cosine", "euclidean"], typer.Option(help="Distance between vectors.")
    ] = "cosine",
    vectors: Annotated[
        Path | None, typer.Option(help="The .npy file that encode wrote for FILE. Default: encode FILE now.")
    ] = None,
    batch_size: BatchSize = None,
    as_json: Json = False,
) -> None:
    """Print the lines of FILE whose vectors are nearest to the vector of QUERY, with their distances.

    Long lines are shortened with …; --json prints them whole, with their numbers.
    """
    if query == file == "-":
        raise UserError("expected standard input for QUERY or FILE, got it for both: give a file for one")
    corpus = list(lines_of(file))
    queries = list(lines_of("-")) if query == "-" else [query]
    options = {"metric": metric, "batch_size": batch_size, **context.obj}
    within = corpus if vectors is None else _vectors(vectors, len(corpus))
    found = load(run).neighbours(queries, within, k, **options)
    rows = [
        [
            {"text": corpus[row], "line": row + 1, "distance": distance}
            for row, distance in zip(*pair, strict=True)
        ]
        for pair in zip(*(part.tolist() for part in found), strict=True)
    ]
    if as_json:
        print_json(rows if query == "-" else rows[0])
        return
    for places in rows:
        for place in places:
            print(f"{place['distance']:8.4f}  {in_short(place['text'])}")


def _vectors(file: Path, lines: int) -> NDArray[Any]:
    """The memory-mapped vectors of a file, checked to be one for each line."""
    import numpy as np

    try:
        found = np.load(file, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise UserError(
            f"expected a .npy file of vectors, got {file} ({error}): write it with textvae encode"
        ) from error
    if len(found) != lines:
        raise UserError(
            f"expected {lines} vectors, one for each line, got {len(found)} in {file}: encode the same file again"
        )
    return found


def fit_prior(
    context: typer.Context,
    run: Run,
    file: Lines,
    kind: Annotated[
        Literal["mixture", "flow"],
        typer.Option(help="A mixture of Gaussians; or a flow, which needs the extra flows."),
    ] = "mixture",
    components: Annotated[int, typer.Option(min=1, help="Number of Gaussians of a mixture.")] = 10,
    name: Annotated[str | None, typer.Option(help="Name of the prior. Default: its kind.")] = None,
    batch_size: BatchSize = None,
    seed: Annotated[int, seed_option("Seeds the fit.")] = 0,
) -> None:
    """Fit a prior to the posteriors of the sentences of FILE, and save it in the run for sample --prior."""
    texts = list(lines_of(file))
    chosen, folder = name or kind, Path(run).expanduser()
    check_name(chosen, "a prior")
    vae = load(run)
    from textvae.latent_space.fitted_priors import check_place, save_prior

    check_place(folder, chosen)
    options: dict[str, Any] = {"components": components} if kind == "mixture" else {}
    prior = vae.fit_prior(texts, kind, batch_size=batch_size, seed=seed, **options, **context.obj)
    print(f"written: {visible(str(save_prior(prior, folder, chosen)))}")
