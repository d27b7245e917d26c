"""The program that trains by a recipe, `train.py` of the recipes' folders."""

from __future__ import annotations

import argparse

from textvae.display import visible
from textvae.evaluation.report import report
from textvae.models.language import TextVAEConfig
from textvae.processes import is_first, leave
from textvae.program import advise, program
from textvae.training.checks import check_run
from textvae.training.recipe import Config, read_recipe
from textvae.training.run import run


def train(description: str, config: Config = TextVAEConfig) -> None:
    """Read the recipe that the command line names, run it and print what it is worth.

    Args:
        description: of the program.
        config: the kind of model that its recipes are of.
    """
    with program():
        arguments = _arguments(description)
        instead = "in place of --overwrite" if arguments.overwrite else "too"
        advise(f"run the same command with --resume {instead}, which goes on from the last checkpoint")
        recipe = read_recipe(arguments.recipe, arguments.overrides, config)
        check_run(recipe)
        result = run(recipe, resume=arguments.resume, overwrite=arguments.overwrite, quiet=arguments.quiet)
        if is_first():
            print(visible(f"{report(result)}\n\nrun folder: {recipe.folder}"))
        leave()


def _arguments(description: str) -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("recipe", help="a YAML file")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="replaces a value of it")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last whole checkpoint")
    parser.add_argument("--overwrite", action="store_true", help="delete a run that is in the run folder")
    parser.add_argument("--quiet", action="store_true", help="no progress, only the result")
    return parser.parse_intermixed_args()
