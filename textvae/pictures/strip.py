"""The sentences of an interpolation, as a picture and as a page."""

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
"""In points: size of the letters, height of a line, and extra space between sentences."""

BAR, NUMBER, MARGIN = 60, 28, 12
"""In points: widths of the longest bar, of the number beside it, and of the space before both."""

NEW, BLUE = "#FFE3A3", "#0072B2"
"""Background of new words, and colour of the bars."""

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
    """Draw sentences below each other, as wide as a page. Words that are not in the sentence before are marked.

    Args:
        texts: n sentences, such as `TextVAE.interpolate` returns.
        scores: log p(x | z) of each sentence in nats, (n,), drawn as bars; longer is less probable. None: no bars.
        path: file to write, .png, .pdf or .svg.

    Raises:
        UserError: if there are no texts, there is not one score for each, a score is not the logarithm of a
            probability, or the file cannot be written.
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
    # The unit is a point, and y counts from the top.
    axes.set(xlim=(0, PAGE * POINTS), ylim=(height - LINE, -LINE))
    write(figure, path)


def write_strip_page(
    texts: Sequence[str],
    scores: ArrayLike | None,
    path: str | Path,
    *,
    title: str = "From one sentence to another",
) -> None:
    """Write the sentences as one HTML file that needs no network. Pointing at one shows its position on the path.

    Args:
        texts: n sentences, such as `TextVAE.interpolate` returns.
        scores: log p(x | z) of each sentence in nats, (n,); None: no bars.
        path: HTML file to write.
        title: title of the page.

    Raises:
        UserError: if there are no texts, there is not one score for each, or a score is not the logarithm of a
            probability.
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
    about = "Words that are not in the sentence before are marked."
    if nats is not None:
        about += " The bars show log p(x | z) in nats: a longer bar is less probable."
    write_document(title, STYLE, f"<p>{about}</p>\n<ol>\n{chr(10).join(items)}\n</ol>", path)


def changed(before: str, after: str) -> list[bool]:
    """For each word of ``after``, whether it is new: outside all runs of words that ``before`` shares in this order.

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
    """The scores in nats, checked to be finite and at most 0."""
    if not texts:
        raise UserError("expected sentences to draw, got none")
    if scores is None:
        return None
    n = len(texts)
    nats = np.asarray(scores, dtype=np.float64)
    if nats.shape != (n,):
        raise UserError(f"expected a score for each of {n} sentences, got shape {nats.shape}")
    if not np.isfinite(nats).all() or (nats > 0).any():
        raise UserError(
            f"expected finite log-probabilities of at most 0, got {nats.max()}: take them from TextVAE.score"
        )
    # -0.0 becomes 0.0.
    return np.where(nats.round(1) == 0, 0.0, nats)


def _draw_words(axes: Axes, words: Sequence[str], new: Sequence[bool], y: float, width: float) -> float:
    """Write the words in lines no wider than ``width``; returns the y of the next line."""
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
    """The word in parts no wider than a line; in a language without blanks a sentence is one long word."""
    parts = [""]
    for letter in word:
        if parts[-1] and _width(parts[-1] + letter) > width:
            parts.append("")
        parts[-1] += letter
    return parts


def _width(text: str) -> float:
    """The width of a text, in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=SIZE), ismath=False)
    return width


def _draw_bar(axes: Axes, x: float, y: float, nats: float, least: float) -> None:
    """Draw a number of nats, 0 or less, as a bar, and write the number beside it."""
    axes.barh(y - 0.35 * SIZE, BAR * nats / (least or 1.0), height=3, left=x + NUMBER, color=BLUE)
    axes.text(x + NUMBER - 4, y, f"{nats:.1f}", fontsize=SIZE - 1, color="0.4", ha="right")
