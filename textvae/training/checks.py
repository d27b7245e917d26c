"""Checks before a run starts: its folder must be writable."""

from __future__ import annotations

from textvae.support.files import check_folder
from textvae.training.recipe import Recipe


def check_run(recipe: Recipe) -> None:
    """Refuse a recipe whose run could not be written.

    Raises:
        UserError: as `check_folder` says.
    """
    check_folder(recipe.folder)
    if recipe.pretraining:
        check_run(recipe.pretraining)
