"""Sentences on the way from one to another, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from textvae.pictures.document import write_document
from textvae.pictures.figure import PAGE, POINTS, check_picture, new_figure, write
from textvae.support.display import visible
from textvae.support.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE, LINE, BETWEEN = 8, 12, 4
"""In points: of the letters, from line to line of a sentence, and more from sentence to sentence."""

BAR, NUMBER, MARGIN = 60, 28, 12
"""In points: the widths of the longest bar, of the number beside it, and before it."""

NEW, BLUE = "#FFE3A3", "#0072B2"
"""The grounds of new words, and of bars."""

STYLE = """
  ol { list-style: none; margin: 0; padding: 0; max-width: 60rem; }
  li { display: flex; gap: 1rem; align-items: baseline; padding: .35rem .6rem; border-radius: 4px; }
  li:hover, li:focus { background: var(--panel); outline: 0; }
  li > span { flex: 1; overflow-wrap: anywhere; }
  mark { background: var(--new); color: inherit; border-radius: 2px; }
  small { display: none; color: var(--faint); }
  li:hover small, li:focus small { display: block; }
  .nats { flex: none; width: 3rem; text-align: end; color: var(--faint); font-variant-numeric: tabular-nums; }
  .bar { flex: none; width: 8rem; }
  .bar i { display: block; height: .4rem; background: var(--blue); }
"""


def draw_strip(texts: Sequence[str], scores: ArrayLike | None, path: str | Path) -> None:
    """Draw sentences below each other, as wide as a page, with the words marked that the one before has not.

    Args:
        texts: n of them, such as those of `TextVAE.interpolate`.
        scores: log p(x | z) of each in nats, (n,), written beside bars of its size: the longer, the less probable.
            None: no bars.
        path: a .png, .pdf or .svg.

    Raises:
        UserError: if there are no texts, the scores are not as many or no logarithms of probabilities, or the file can
            not be written so.
    """
    check_picture(path)
    nats = _checked(texts, scores)
    width = PAGE * POINTS - (0 if nats is None else MARGIN + BAR + NUMBER)
    figure = new_figure(PAGE, 1)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    y = 0.0
    if nats is not None:
        axes.text(width + MARGIN, y, r"$\log p(x\,|\,z)$, nats", fontsize=SIZE - 1, color="0.4")
        y += LINE + BETWEEN
    for place, text in enumerate(texts):
        new = changed(texts[place - 1], text) if place else [False] * len(text.split())
        if nats is not None:
            _draw_bar(axes, width + MARGIN, y, nats[place], nats.min())
        y = _draw_words(axes, list(map(visible, text.split())), new, y, width) + BETWEEN
    height = y + BETWEEN
    figure.set_size_inches(PAGE, height / POINTS)
    # A unit is a point, and counts from the top.
    axes.set(xlim=(0, PAGE * POINTS), ylim=(height - LINE, -LINE))
    write(figure, path)


def write_strip_page(
    texts: Sequence[str],
    scores: ArrayLike | None,
    path: str | Path,
    *,
    title: str = "From one sentence to another",
) -> None:
    """Write the same as one HTML file that needs no network: a sentence under the mouse shows where on the way it is.

    Args:
        texts: n of them, such as those of `TextVAE.interpolate`.
        scores: log p(x | z) of each in nats, (n,); None: no bars.
        path: of the page.
        title: of the page.

    Raises:
        UserError: if there are no texts, or the scores are not as many or no logarithms of probabilities.
    """
    nats = _checked(texts, scores)
    items = []
    for place, text in enumerate(texts):
        new = changed(texts[place - 1], text) if place else [False] * len(text.split())
        words = " ".join(
            f"<mark>{escape(word)}</mark>" if is_new else escape(word)
            for word, is_new in zip(text.split(), new, strict=True)
        )
        about = f"sentence {place + 1} of {len(texts)}, {place / max(1, len(texts) - 1):.0%} of the way"
        bar = ""
        if nats is not None:
            about += f", {nats[place] / max(1, len(new)):.2f} nats a word"
            length = abs(nats[place] / (nats.min() or 1.0))
            bar = (
                f'<span class="nats">{nats[place]:.1f}</span>'
                f'<span class="bar"><i style="width:{length:.1%}"></i></span>'
            )
        items.append(f'<li tabindex="0"><span dir="auto">{words}<small>{about}</small></span>{bar}</li>')
    about = "Marked are the words that the sentence before has not."
    if nats is not None:
        about += " At the side log p(x | z) in nats: the longer the bar, the less probable."
    write_document(title, STYLE, f"<p>{about}</p>\n<ol>\n{chr(10).join(items)}\n</ol>", path)


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


def _checked(texts: Sequence[str], scores: ArrayLike | None) -> np.ndarray | None:
    """The scores as numbers of nats, none of them positive."""
    if not texts:
        raise UserError("expected sentences to draw, got none")
    if scores is None:
        return None
    n = len(texts)
    nats = np.asarray(scores, dtype=np.float64)
    if nats.shape != (n,):
        raise UserError(f"expected a score for each of {n} sentences, got shape {nats.shape}")
    if not np.isfinite(nats).all() or (nats > 0).any():
        raise UserError(f"expected log-probabilities, which are finite and at most 0, got {nats.max()}")
    # No number is written as -0.0.
    return np.where(nats.round(1) == 0, 0.0, nats)


def _draw_words(axes: Axes, words: Sequence[str], new: Sequence[bool], y: float, width: float) -> float:
    """Write the words from left to right, in lines no longer than ``width``; gives the place of the next line."""
    indent, blank = 2.0 * SIZE, 0.32 * SIZE
    x = 0.0
    for word, is_new in zip(words, new, strict=True):
        ground = {"facecolor": NEW, "linewidth": 0, "boxstyle": "square,pad=0.2"} if is_new else None
        for part in _broken(word, width - indent):
            length = _width(part)
            if x and x + length > width:
                x, y = indent, y + LINE
            axes.text(x, y, part, fontsize=SIZE, va="baseline", bbox=ground, parse_math=False)
            x += length + blank
    return y + LINE


def _broken(word: str, width: float) -> list[str]:
    """The word in parts no wider than a line: a language without blanks is one long word."""
    parts = [""]
    for letter in word:
        if parts[-1] and _width(parts[-1] + letter) > width:
            parts.append("")
        parts[-1] += letter
    return parts


def _width(text: str) -> float:
    """In points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=SIZE), ismath=False)
    return width


def _draw_bar(axes: Axes, x: float, y: float, nats: float, least: float) -> None:
    """Draw the size of a number of nats, 0 or less, as a bar, and write the number at its side."""
    axes.barh(y - 0.35 * SIZE, BAR * nats / (least or 1.0), height=3, left=x + NUMBER, color=BLUE)
    axes.text(x + NUMBER - 4, y, f"{nats:.1f}", fontsize=SIZE - 1, color="0.4", ha="right")
