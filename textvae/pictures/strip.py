"""Sentences on the way from one to another, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from textvae.errors import UserError
from textvae.pictures.figure import PAGE, POINTS, check_picture, new_figure, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE, LINE, BETWEEN = 8, 12, 4
"""In points: of the letters, from line to line of a sentence, and more from sentence to sentence."""

BAR, NUMBER, MARGIN = 60, 26, 12
"""In points: the widths of the longest bar, of the number beside it, and before it."""

NEW, BLUE = "#FFE3A3", "#0072B2"
"""The grounds of new words, and of bars."""


def draw_strip(texts: Sequence[str], scores: ArrayLike | None, path: str | Path) -> None:
    """Draw sentences below each other, as wide as a page, with the words marked that the one before has not.

    Args:
        texts: n of them, such as those of `TextVAE.interpolate`.
        scores: log p(x | z) of each in nats, (n,), drawn as bars of -log p: the longer, the less probable. None: no
            bars.
        path: a .png, .pdf or .svg.

    Raises:
        UserError: if there are no texts, the scores are not as many or no logarithms of probabilities, or the file can
            not be written so.
    """
    check_picture(path)
    if not texts:
        raise UserError("expected sentences to draw, got none")
    nats = None if scores is None else _checked(scores, len(texts))
    width = PAGE * POINTS - (0 if nats is None else MARGIN + BAR + NUMBER)
    figure = new_figure(PAGE, 1)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    y = 0.0
    if nats is not None:
        axes.text(width + MARGIN, y, r"$-\log p(x\,|\,z)$, nats", fontsize=SIZE - 1, color="0.4")
        y += LINE + BETWEEN
    for place, text in enumerate(texts):
        new = changed(texts[place - 1], text) if place else [False] * len(text.split())
        if nats is not None:
            _draw_bar(axes, width + MARGIN, y, nats[place], nats.max())
        y = _draw_words(axes, text.split(), new, y, width) + BETWEEN
    height = y + BETWEEN
    figure.set_size_inches(PAGE, height / POINTS)
    # A unit is a point, and counts from the top.
    axes.set(xlim=(0, PAGE * POINTS), ylim=(height - LINE, -LINE))
    write(figure, path)


def changed(before: str, after: str) -> list[bool]:
    """For each word of ``after``, whether it is new: not in a run of words that ``before`` has, too, in this order.

    Example:
        >>> changed("the dog sleeps", "the young dog sleeps today")
        [False, True, False, False, True]
    """
    words = after.split()
    new = [True] * len(words)
    for match in SequenceMatcher(None, before.split(), words, autojunk=False).get_matching_blocks():
        new[match.b : match.b + match.size] = [False] * match.size
    return new


def _checked(scores: ArrayLike, n: int) -> np.ndarray:
    """The scores as numbers of nats, none of them negative."""
    nats = 0 - np.asarray(scores, dtype=np.float64)
    if nats.shape != (n,):
        raise UserError(f"expected a score for each of {n} sentences, got shape {nats.shape}")
    if not np.isfinite(nats).all() or (nats < 0).any():
        raise UserError(f"expected log-probabilities, which are finite and at most 0, got {-nats.min()}")
    return nats


def _draw_words(axes: Axes, words: Sequence[str], new: Sequence[bool], y: float, width: float) -> float:
    """Write the words from left to right, in lines no longer than ``width``; gives the place of the next line."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    blank = 0.32 * SIZE
    x = 0.0
    for word, is_new in zip(words, new, strict=True):
        length, _, _ = text_to_path.get_text_width_height_descent(
            word, FontProperties(size=SIZE), ismath=False
        )
        if x and x + length > width:
            x, y = 2.0 * SIZE, y + LINE
        ground = {"facecolor": NEW, "linewidth": 0, "boxstyle": "square,pad=0.2"} if is_new else None
        axes.text(x, y, word, fontsize=SIZE, va="baseline", bbox=ground, parse_math=False)
        x += length + blank
    return y + LINE


def _draw_bar(axes: Axes, x: float, y: float, nats: float, most: float) -> None:
    """Draw the number of nats as a bar, and write it at its side."""
    axes.barh(y - 0.35 * SIZE, BAR * nats / (most or 1.0), height=3, left=x + NUMBER, color=BLUE)
    axes.text(x + NUMBER - 4, y, f"{nats:.1f}", fontsize=SIZE - 1, color="0.4", ha="right")
