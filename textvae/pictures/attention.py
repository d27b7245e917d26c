"""A picture of the attention of a translation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from textvae.pictures.figure import PAGE, check_picture, new_figure, plain, write
from textvae.support.errors import UserError

SIZE, CELL = 7, 0.2
"""Size of the letters in points, and width of a token in inches."""

ROOM = 1.3
"""Width left for the target tokens, in inches."""


def draw_attention(
    weights: ArrayLike, source: Sequence[str], target: Sequence[str], path: str | Path
) -> None:
    """Draw how much each target token attends to each source token: darker means more.

    Args:
        weights: (T, S), rows that sum to 1, as `Translator.attention` returns them.
        source: S tokens, written along the top.
        target: T tokens, written down the side.
        path: file to write, .png, .pdf or .svg.

    Raises:
        UserError: if a row does not sum to 1, the shape does not fit the tokens, or the file cannot be written.
    """
    check_picture(path)
    shares = np.asarray(weights, dtype=np.float64)
    if shares.shape != (len(target), len(source)) or not shares.size:
        raise UserError(
            f"expected weights of {len(target)} target tokens to {len(source)} source tokens, got shape {shares.shape}"
        )
    if not np.isfinite(shares).all() or (shares < 0).any() or not np.allclose(shares.sum(1), 1, atol=1e-3):
        raise UserError(
            "expected weights of 0 or more that sum to 1 in each row, got other numbers: give softmax outputs"
        )
    cell = min(CELL, (PAGE - ROOM) / len(source))
    figure = new_figure(cell * len(source), cell * len(target))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(shares, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    size = min(SIZE, 72 * 0.9 * cell)
    axes.set_xticks(range(len(source)), [plain(token, 40) for token in source], fontsize=size)
    axes.set_yticks(range(len(target)), [plain(token, 40) for token in target], fontsize=size)
    axes.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False, pad=2)
    axes.tick_params(axis="x", labelrotation=90)
    write(figure, path)
