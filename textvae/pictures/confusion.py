"""How clusters and labels fall together, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from textvae.errors import UserError
from textvae.pictures.figure import COLUMN, PAGE, check_picture, new_figure, plain, write

SIZE = 7
"""Of the letters, in points."""

ROOM = 1.3
"""Of the width of a picture, in inches, for the names of the rows."""


def draw_confusion(matrix: ArrayLike, rows: Sequence[Any], columns: Sequence[Any], path: str | Path) -> None:
    """Draw how many texts of each label are in each cluster, and in colour which share of the label that is.

    Matched pairs should stand on the diagonal, as `evaluation.clustering.clustering_scores` orders them.

    Args:
        matrix: numbers of texts, (labels, clusters).
        rows: names of the labels.
        columns: names of the clusters.
        path: a .png, .pdf or .svg.

    Raises:
        UserError: if the matrix holds anything else, does not fit the names, or the file can not be written so.
    """
    check_picture(path)
    counts = np.asarray(matrix)
    if counts.shape != (len(rows), len(columns)) or not counts.size:
        raise UserError(
            f"expected a matrix of {len(rows)} rows and {len(columns)} columns, as there are names, got {counts.shape}"
        )
    if not np.isfinite(counts).all() or (counts < 0).any() or (counts % 1).any():
        raise UserError(
            "expected numbers of texts, got some that are negative or not whole: give counts, not shares"
        )
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    # Narrower on a page of many columns; the widest, of 0.42 inches, holds six digits.
    cell = min(0.42, max(COLUMN - ROOM, min(PAGE - ROOM, 0.3 * len(columns))) / len(columns))
    figure = new_figure(cell * len(columns), cell * len(rows))
    axes = figure.add_axes((0, 0, 1, 1))
    # The darkest blue would come near to black.
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    digits = len(f"{counts.max():,.0f}")
    size = min(SIZE, 72 * 0.9 * cell / (0.6 * max(digits, 3)))
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.75 else "black"
        # Noughts would hide where the others stand.
        words = f"{count:,.0f}" if count else "·"
        axes.text(column, row, words, ha="center", va="center", fontsize=size, color=colour)
    names = [plain(str(name), 24) for name in columns]
    turned = max(map(len, names)) * 0.6 * SIZE > 72 * cell
    axes.set_xticks(range(len(columns)), names, fontsize=SIZE)
    for name in axes.get_xticklabels() if turned else ():
        name.set(rotation=45, rotation_mode="anchor", ha="left")
    axes.set_yticks(range(len(rows)), [plain(str(name), 24) for name in rows], fontsize=SIZE)
    axes.xaxis.set_label_position("top")
    axes.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False, pad=2)
    axes.set_xlabel("cluster", fontsize=SIZE + 1)
    axes.set_ylabel("label", fontsize=SIZE + 1)
    axes.spines[:].set_visible(False)
    write(figure, path)
