"""Train a sentence VAE, or a language model, and measure it.

python recipes/language_model/train.py recipes/language_model/ptb.yaml training.max_steps=100
"""

import argparse

from accelerate import PartialState

from textvae.errors import reported_to_user
from textvae.evaluation.report import report
from textvae.training.recipe import read_recipe
from textvae.training.run import run


def main() -> None:
    """Read the recipe, run it and print what it is worth."""
    parser = argparse.ArgumentParser(description="Train a sentence VAE, or a language model, and measure it.")
    parser.add_argument("recipe", help="a YAML file")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="replaces a value of it")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last whole checkpoint")
    parser.add_argument("--overwrite", action="store_true", help="delete a run that is in the run folder")
    parser.add_argument("--quiet", action="store_true", help="no progress, only the result")
    arguments = parser.parse_args()
    with reported_to_user():
        recipe = read_recipe(arguments.recipe, arguments.overrides)
        result = run(recipe, resume=arguments.resume, overwrite=arguments.overwrite, quiet=arguments.quiet)
        if PartialState().is_main_process:
            print(f"{report(result)}\n\nrun folder: {recipe.folder}")


if __name__ == "__main__":
    main()
