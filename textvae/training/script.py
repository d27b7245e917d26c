"""The programs that train from a recipe: `textvae train`, and ``train.py`` in the recipe folders."""

from __future__ import annotations

import argparse
import sys

from textvae.evaluation.report import report
from textvae.support.display import visible
from textvae.support.processes import is_first, leave
from textvae.support.program import advise, program
from textvae.training.automatic import MINUTES
from textvae.training.checks import check_run
from textvae.training.recipe import Recipe, read_recipe
from textvae.training.run import run


def train(description: str) -> None:
    """Read the recipe named on the command line, run it and print the results.

    Args:
        description: description of the program.
    """
    with program():
        arguments = _arguments(description)
        recipe = read_recipe(
            arguments.recipe, arguments.overrides, minutes=arguments.minutes, resume=arguments.resume
        )
        train_by(recipe, resume=arguments.resume, overwrite=arguments.overwrite, quiet=arguments.quiet)


def _arguments(description: str) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("recipe", help="a YAML file")
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="override a value of the recipe"
    )
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="training time, for values that are auto"
    )
    parser.add_argument("--resume", action="store_true", help="continue from the last complete checkpoint")
    parser.add_argument("--overwrite", action="store_true", help="delete the run in the run folder")
    parser.add_argument("--quiet", action="store_true", help="print only the result")
    return parser.parse_intermixed_args()


def train_by(recipe: Recipe, *, resume: bool = False, overwrite: bool = False, quiet: bool = False) -> None:
    """Run a recipe and print the results.

    Args:
        recipe: the recipe.
        resume: continue from the last complete checkpoint in the folder.
        overwrite: delete an existing run in the folder.
        quiet: show no progress.

    Raises:
        UserError: as in `run`.
    """
    instead = "in place of --overwrite" if overwrite else "too"
    advise(f"run the same command with --resume {instead}, which continues from the last checkpoint")
    check_run(recipe)
    if recipe.plan and is_first() and not quiet:
        print(visible(str(recipe.plan)), file=sys.stderr)
    result = run(recipe, resume=resume, overwrite=overwrite, quiet=quiet)
    if is_first():
        print(visible(f"{report(result)}\n\nrun folder: {recipe.folder}"))
    leave()
