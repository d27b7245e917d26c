"""What the pictures share: their sizes, their words, and how they are written."""

from __future__ import annotations

import re
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from textvae.support.display import shortened, visible
from textvae.support.errors import UserError
from textvae.support.files import check_writable, replacing

# Matplotlib is an extra, and slow to import: what draws imports it.
if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.5, 7.0
"""Inches: the width of a column and of a page of a paper."""

POINTS, DPI = 72, 300
"""Pixels an inch: while a picture is laid out, when a pixel is a point, and when it is written."""

UNDATED = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
"""The kinds of pictures, and what each has to leave out for equal pictures to be equal files."""


def check_picture(path: str | Path) -> None:
    """Raise a `UserError` if a picture of this name cannot be drawn, or not be written there."""
    path = Path(path)
    check_writable(path, "map.png")
    if path.suffix.lower() not in UNDATED:
        raise UserError(
            f"expected the name of a picture, which ends in {', '.join(UNDATED)}, got {path}: "
            f"change it, e.g. to {path.with_suffix('.png')}"
        )
    if find_spec("matplotlib") is None:
        raise UserError("expected Matplotlib, which draws, found none: pip install 'textvae[plots]'")


def new_figure(width: float, height: float) -> Figure:
    """An empty picture of this size in inches, of which the pixels are points until it is written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=POINTS)
    FigureCanvasAgg(figure)
    return figure


class _Wrapper(textwrap.TextWrapper):
    """Breaks long words, too, such as talk.politics.guns, where they have parts."""

    def _split(self, text: str) -> list[str]:
        return re.findall(r"\s+|[^\s._/-]+[._/-]*|[._/-]+", text)


def plain(text: str, width: int, longest: int = 60) -> str:
    """The text in lines of so many characters, shortened, and none of it read as a formula."""
    lines = _Wrapper(width).wrap(visible(shortened(text, longest)))
    return "\n".join(lines).replace("$", r"\$")


def write(figure: Figure, path: str | Path) -> None:
    """Write the picture as its name ends, and with it what stands outside its edges."""
    import matplotlib
    from matplotlib.transforms import Bbox

    whole = Bbox.union([figure.bbox_inches, figure.get_tightbbox()])
    # Letters stay letters in PDF and SVG.
    letters = matplotlib.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "textvae"})
    with replacing(path) as partial, letters:
        metadata = UNDATED[partial.suffix.lower()]
        figure.savefig(partial, dpi=DPI, bbox_inches=whole, metadata=metadata)
