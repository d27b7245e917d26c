"""Checks before a run starts: its folder must be writable and its seeds in range."""

from __future__ import annotations

from textvae.support.errors import UserError
from textvae.support.files import check_folder
from textvae.support.seeds import check_seed
from textvae.training.recipe import Recipe

SEEDS = (("training", "seed"), ("training", "data_seed"), ("corpus", "seed"))


def check_run(recipe: Recipe) -> None:
    """Check that the run of a recipe can be written and that its seeds are in range.

    Raises:
        UserError: if ``training.output_dir`` is empty; see also `check_folder` and `check_seed`.
    """
    for section, key in SEEDS:
        check_seed(getattr(recipe, section).get(key), f"{section}.{key}")
    if not recipe.training["output_dir"]:
        raise UserError("expected a folder as training.output_dir, got nothing: name one, such as runs/mine")
    check_folder(recipe.folder)
    if recipe.pretraining:
        check_run(recipe.pretraining)
