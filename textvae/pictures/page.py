"""A map as an HTML page to explore in a browser."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from textvae.pictures.cloud import cloud_of
from textvae.support.display import without_markup
from textvae.support.errors import UserError
from textvae.support.files import replacing

TEMPLATE = Path(__file__).with_name("page.html")
PLACE = "__MAP__"
"""The template's placeholder for the data."""


def write_page(
    points: ArrayLike,
    texts: Sequence[str],
    labels: Sequence[Any] | None,
    path: str | Path,
    *,
    title: str = "Map",
    names: Sequence[str] | None = None,
) -> None:
    """Write a map as one HTML file that needs no network. It can be moved, zoomed and searched; classes can be hidden.

    The file contains the texts, each on one line and without HTML tags: whoever gets the page gets them.

    Args:
        points: positions, (n, 2), as `latent_space.maps.project` returns them.
        texts: (n,); pointing at a point shows the first 400 characters of its text.
        labels: (n,), the class of each point: an index in ``names``, or a name if there are no ``names``; None: no
            class.
        path: HTML file to write.
        title: title of the page.
        names: names of the classes, in the order of their colours; None: the labels themselves, in natural order.

    Raises:
        UserError: if the points, texts and labels do not fit together.
    """
    cloud = cloud_of(points, labels, names)
    if len(texts) != len(cloud.order):
        raise UserError(f"expected a text for each of {len(cloud.order)} points, got {len(texts)} texts")
    low, high = cloud.places.min(0), cloud.places.max(0)
    # The longer side is 1; five digits are finer than any screen.
    places = (cloud.places - (low + high) / 2) / (max(high - low) or 1.0)
    data = {
        "title": title,
        "places": np.round(places, 5).tolist(),
        # Points without a class have class -1 in the cloud and the last class on the page.
        "classes": (cloud.classes % (len(cloud.names) + 1)).tolist(),
        "names": [*cloud.names, cloud.name(-1)] if cloud.names else [""],
        "colours": cloud.colours,
        "texts": [without_markup(texts[place]) for place in cloud.order],
    }
    # Without "<" no text can end the script element or begin another tag.
    escaped = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", r"\u003c")
    page = TEMPLATE.read_text(encoding="utf-8").replace(PLACE, escaped)
    with replacing(path) as partial:
        # Wrongly decoded text may hold a lone surrogate, which UTF-8 cannot encode.
        partial.write_text(page, encoding="utf-8", errors="replace")
