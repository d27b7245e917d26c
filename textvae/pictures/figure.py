"""Sizes, text and file output that all pictures share."""

from __future__ import annotations

import re
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from textvae.support.display import shortened, visible
from textvae.support.errors import UserError
from textvae.support.files import check_writable, replacing

# Matplotlib is an optional extra and slow to import, so only the functions that draw import it.
if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.5, 7.0
"""Widths of a column and of a page of a paper, in inches."""

POINTS, DPI = 72, 300
"""Pixels per inch: during layout, where a pixel is a point; and in the file."""

UNDATED = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
"""The file types, and the metadata that each leaves out so that equal pictures give equal files."""


def check_picture(path: str | Path) -> None:
    """Raise a `UserError` if the path has no picture's ending, cannot be written to, or Matplotlib is missing."""
    path = Path(path)
    check_writable(path, "map.png")
    if path.suffix.lower() not in UNDATED:
        raise UserError(
            f"expected a picture file that ends in one of {', '.join(UNDATED)}, got {path}: "
            f"rename it, for example to {path.with_suffix('.png')}"
        )
    if find_spec("matplotlib") is None:
        raise UserError("expected Matplotlib to draw pictures, found none: pip install 'textvae[plots]'")


def new_figure(width: float, height: float) -> Figure:
    """An empty picture of this size in inches; until it is written, each pixel is a point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=POINTS)
    FigureCanvasAgg(figure)
    return figure


class _Wrapper(textwrap.TextWrapper):
    """Also breaks words after a full stop, slash, hyphen or underscore, such as talk.politics.guns."""

    def _split(self, text: str) -> list[str]:
        return re.findall(r"\s+|[^\s._/-]+[._/-]*|[._/-]+", text)


def plain(text: str, width: int, longest: int = 60) -> str:
    """The text cut to ``longest`` characters and wrapped to ``width``, with $ escaped so that it is no formula."""
    lines = _Wrapper(width).wrap(visible(shortened(text, longest)))
    return "\n".join(lines).replace("$", r"\$")


def write(figure: Figure, path: str | Path) -> None:
    """Write the picture in the format of the path's ending, with whatever lies outside its edges."""
    import matplotlib
    from matplotlib.transforms import Bbox

    whole = Bbox.union([figure.bbox_inches, figure.get_tightbbox()])
    # Text stays text in PDF and SVG.
    letters = matplotlib.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "textvae"})
    with replacing(path) as partial, letters:
        metadata = UNDATED[partial.suffix.lower()]
        figure.savefig(partial, dpi=DPI, bbox_inches=whole, metadata=metadata)
