"""`textvae train` and `textvae recipes`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from textvae.support.errors import UserError


def train(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="FILE|RECIPE",
            help="A corpus: a text file, a table, a folder or a data set on the Hub. Or a recipe: a YAML file, or a "
            "name that textvae recipes lists.",
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="section.key=value", help="Replace values of the recipe."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The run folder. Default: the recipe's."),
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="About how long it may take in total, if the steps are not set.")
    ] = 10.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last complete checkpoint of the run.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Delete the run that is in the folder.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")] = False,
) -> None:
    """Train a model on a corpus or by a recipe, evaluate it, and report whether it uses its latent.

    For a FILE, the sizes, steps and rates are chosen from the corpus and the time, and the reasons are printed; any of
    them can be replaced. In a recipe the same is done for each value that is auto, such as training.max_steps=auto. The
    run folder holds everything that the other commands need.
    """
    since = time.monotonic()

    from textvae.training.recipe import planned_recipe, read_recipe
    from textvae.training.recipes import recipe_file
    from textvae.training.script import train_by

    quiet = quiet or context.obj["show_progress_bar"] is False
    given = list(overrides or ())
    if output is not None:
        given.append(f"training.output_dir={output}")
    how: Any = {"minutes": minutes, "since": since, "resume": resume}
    if file := recipe_file(what):
        recipe = read_recipe(file, given, **how)
    else:
        _check_output(what, given)
        recipe = planned_recipe(what, given, **how)
    train_by(recipe, resume=resume, overwrite=overwrite, quiet=quiet)


def _check_output(corpus: str, overrides: list[str]) -> None:
    """Refuse a run without a folder."""
    if not any(override.startswith("training.output_dir=") for override in overrides):
        raise UserError(f"expected a run folder to write to, got none: use textvae train {corpus} -o RUN")


def recipes() -> None:
    """List the recipes that textvae train knows by name, with the purpose and the cost of each."""
    from textvae.training.recipes import shipped

    found = shipped()
    width = max(len(recipe.name) for recipe in found)
    for recipe in found:
        typer.echo(f"{recipe.name:<{width}}  {recipe.summary}")
