"""The HTML document around the pages that run no script."""

from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template

from textvae.support.files import replacing

TEMPLATE = Path(__file__).with_name("document.html")


def write_document(title: str, style: str, body: str, path: str | Path) -> None:
    """Write a page as one HTML file that needs no network and runs no script.

    Args:
        title: plain text; it is escaped here.
        style: CSS.
        body: HTML in which all text is already escaped.
        path: HTML file to write.
    """
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title), style=style, body=body
    )
    with replacing(path) as partial:
        # Wrongly decoded text may hold a lone surrogate, which UTF-8 cannot encode.
        partial.write_text(page, encoding="utf-8", errors="replace")
