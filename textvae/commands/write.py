"""`textvae sample`, `interpolate` and `reconstruct`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import typer

from textvae.commands.arguments import (
    BatchSize,
    Json,
    Lines,
    MaximumLength,
    Run,
    Temperature,
    check_pictures,
    given,
    lines_of,
    load,
    output_option,
    seed_option,
)
from textvae.commands.printing import in_short, print_json, print_texts
from textvae.support.display import one_line


def sample(
    context: typer.Context,
    run: Run,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of sentences.")] = 8,
    label: Annotated[
        str | None, typer.Option("--class", help="Class of the sentences, if the model has classes.")
    ] = None,
    prior: Annotated[
        str | None, typer.Option(help="Draw z from this prior, which fit-prior wrote into the run.")
    ] = None,
    temperature: Temperature = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw from the k likeliest tokens.")] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Draw from the likeliest tokens that have this probability in total."
        ),
    ] = None,
    beams: Annotated[int, typer.Option(min=1, help="Beams of the search for the likeliest sentence.")] = 1,
    maximum_length: MaximumLength = 100,
    seed: Annotated[int | None, seed_option("Seeds all draws. Default: random.")] = None,
    as_json: Json = False,
) -> None:
    """Print new sentences. Each is decoded from a z drawn from the prior: greedily, unless an option says otherwise.

    A language model without z draws the tokens.
    """
    texts = load(run).sample(
        n,
        label=label,
        prior=prior,
        seed=seed,
        maximum_length=maximum_length,
        **given(temperature=temperature, top_k=top_k, top_p=top_p),
        **({"num_beams": beams} if beams > 1 else {}),
        **context.obj,
    )
    print_texts(texts, as_json)


def interpolate(
    context: typer.Context,
    run: Run,
    a: Annotated[str, typer.Argument(help="First sentence.")],
    b: Annotated[str, typer.Argument(help="Last sentence.")],
    steps: Annotated[int, typer.Option(min=2, help="Number of sentences, including both ends.")] = 7,
    path: Annotated[
        Literal["linear", "spherical"], typer.Option(help="Path through the latent space.")
    ] = "linear",
    maximum_length: MaximumLength = 100,
    scores: Annotated[
        bool, typer.Option("--scores", help="Print log p(sentence | z) in nats before each sentence.")
    ] = False,
    strip: Annotated[
        Path | None,
        output_option(
            what="Draw the path to this .png, .pdf or .svg, with new words marked and log p(sentence | z) as bars; a "
            "page .html is written beside it."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print sentences along a path from one sentence to another; the ends are the reconstructions of both."""
    if strip is not None:
        check_pictures(strip)
    vae = load(run)
    z = vae.path_between(a, b, steps, path)
    texts = vae.decode(z, maximum_length=maximum_length, **context.obj)
    likelihoods = vae.score(texts, z).tolist() if scores or strip is not None else []
    if strip is not None:
        from textvae.pictures.strip import draw_strip, write_strip_page

        draw_strip(texts, likelihoods, strip)
        write_strip_page(texts, likelihoods, strip.with_suffix(".html"))
    if not scores:
        print_texts(texts, as_json)
        return
    found = list(zip(texts, likelihoods, strict=True))
    if as_json:
        rows = [{"text": text, "log_likelihood": score} for text, score in found]
        print_json(rows)
        return
    print("log p(x | z), nats")
    for text, score in found:
        print(f"{score:19.2f}  {one_line(text)}")


def reconstruct(
    context: typer.Context,
    run: Run,
    file: Lines,
    n: Annotated[int | None, typer.Option("-n", min=1, help="Read only the first n sentences.")] = None,
    batch_size: BatchSize = None,
    maximum_length: MaximumLength = 100,
    as_json: Json = False,
) -> None:
    """Print each sentence and, below it, its reconstruction.

    Long sentences are shortened with …; --json prints them whole.
    """
    texts = list(islice(lines_of(file), n))
    options = {"batch_size": batch_size, "maximum_length": maximum_length, **context.obj}
    pairs = list(zip(texts, load(run).reconstruct(texts, **options), strict=True))
    if as_json:
        rows = [{"text": text, "reconstruction": result} for text, result in pairs]
        print_json(rows)
        return
    for text, result in pairs:
        print(f"{in_short(text)}\n  -> {one_line(result)}")
