"""A picture as a page of text: what such pages share."""

from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template

from textvae.support.files import replacing

TEMPLATE = Path(__file__).with_name("document.html")


def write_document(title: str, style: str, body: str, path: str | Path) -> None:
    """Write a page as one HTML file that needs no network and runs no script.

    Args:
        title: as it is.
        style: CSS.
        body: HTML, in which all text is escaped.
        path: of the page.
    """
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title), style=style, body=body
    )
    with replacing(path) as partial:
        # A lone surrogate, from text that was decoded wrongly, has no bytes.
        partial.write_text(page, encoding="utf-8", errors="replace")
