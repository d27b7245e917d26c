"""What can be known of a run before any work: whether it can be written, and whether it can be seeded."""

from __future__ import annotations

from textvae.support.errors import UserError
from textvae.support.files import check_folder
from textvae.support.seeds import check_seed
from textvae.training.recipe import Recipe

SEEDS = (("training", "seed"), ("training", "data_seed"), ("corpus", "seed"))


def check_run(recipe: Recipe) -> None:
    """Refuse a recipe whose run could not be written, or whose seeds are out of range.

    Raises:
        UserError: if ``training.output_dir`` is empty or as `check_folder` says, or as `check_seed` says.
    """
    for section, key in SEEDS:
        check_seed(getattr(recipe, section).get(key), f"{section}.{key}")
    if not recipe.training["output_dir"]:
        raise UserError("expected a folder as training.output_dir, got nothing: name one, such as runs/mine")
    check_folder(recipe.folder)
    if recipe.pretraining:
        check_run(recipe.pretraining)
