"""`textvae train` and `textvae recipes`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textvae.support.errors import UserError

if TYPE_CHECKING:
    from textvae.training.planner import Plan
    from textvae.training.recipe import Recipe


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
        float, typer.Option(min=0.1, help="About how long training on a FILE may take in total.")
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
    them can be replaced. The run folder holds everything that the other commands need.
    """
    from textvae.training.recipe import read_recipe
    from textvae.training.recipes import recipe_file
    from textvae.training.script import train_by

    quiet = quiet or context.obj["show_progress_bar"] is False
    given = list(overrides or ())
    if output is not None:
        given.append(f"training.output_dir={output}")
    file = recipe_file(what)
    recipe = _planned(what, given, minutes, quiet) if file is None else read_recipe(file, given)
    train_by(recipe, resume=resume, overwrite=overwrite, quiet=quiet)


def _planned(corpus: str, overrides: list[str], minutes: float, quiet: bool) -> Recipe:
    """A recipe chosen for a corpus."""
    from textvae.support.yaml import put
    from textvae.text.corpus import load_corpus
    from textvae.text.statistics import statistics_of
    from textvae.training.planner import plan
    from textvae.training.recipe import recipe_of

    source: dict[str, Any] = {"corpus": {"train": corpus}}
    faults = [fault for override in overrides if (fault := put(source, override))]
    if faults:
        raise UserError("; ".join(faults))
    if "output_dir" not in source.get("training", {}):
        raise UserError(f"expected a run folder to write to, got none: use textvae train {corpus} -o RUN")
    given = _flat(source)
    rows = load_corpus(**source["corpus"])["train"]
    found = plan(
        statistics_of(rows), minutes, given={key: given[key] for key in given if key != "corpus.train"}
    )
    if not quiet:
        _say(found)
    for choice in found.choices:
        _set_default(source, choice.key, choice.value)
    return recipe_of(source, name=f"the recipe for {corpus}")


def _say(found: Plan) -> None:
    """Print the choices and their reasons."""
    width = max(len(choice.key) for choice in found.choices)
    for choice in found.choices:
        typer.echo(f"{choice.key:<{width}}  {choice.value!s:<12} {choice.reason}", err=True)
    for remark in found.remarks:
        typer.echo(remark, err=True)


def _flat(source: dict[str, Any], place: str = "") -> dict[str, Any]:
    """Values by ``section.key``; for a part of the model by ``model.part.key``."""
    flat: dict[str, Any] = {}
    for key, value in source.items():
        name = f"{place}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return flat


def _set_default(source: dict[str, Any], key: str, value: Any) -> None:
    """Set a value unless the source has one."""
    *parents, last = key.split(".")
    place = source
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            return
    place.setdefault(last, value)


def recipes() -> None:
    """List the recipes that textvae train knows by name, with the purpose and the cost of each."""
    from textvae.training.recipes import shipped

    found = shipped()
    width = max(len(recipe.name) for recipe in found)
    for recipe in found:
        typer.echo(f"{recipe.name:<{width}}  {recipe.summary}")
