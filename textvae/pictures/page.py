"""A map as a page to explore in a browser."""

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
"""Where the template has its data."""


def write_page(
    points: ArrayLike,
    texts: Sequence[str],
    labels: Sequence[Any] | None,
    path: str | Path,
    *,
    title: str = "Map",
    names: Sequence[str] | None = None,
) -> None:
    """Write a map as one HTML file that needs no network: move, zoom, read, search, and hide classes.

    The texts are in the file, each on one line and without the tags of HTML: who has the page has them.

    Args:
        points: (n, 2), as from `latent_space.maps.project`.
        texts: (n,), what a point shows under the mouse, the first 400 characters.
        labels: (n,), what each point is: a number in ``names``, or without these its name; None where it has none.
        path: of the page.
        title: of the page.
        names: of the classes, in the order of their colours; None: the labels themselves, in natural order.

    Raises:
        UserError: if points, texts and labels do not go together.
    """
    cloud = cloud_of(points, labels, names)
    if len(texts) != len(cloud.order):
        raise UserError(f"expected a text for each of {len(cloud.order)} points, got {len(texts)} texts")
    low, high = cloud.places.min(0), cloud.places.max(0)
    # The longer side is 1, of which five digits are more than a screen can show.
    places = (cloud.places - (low + high) / 2) / (max(high - low) or 1.0)
    data = {
        "title": title,
        "places": np.round(places, 5).tolist(),
        # The class of points without one is -1 there, and the last one here.
        "classes": (cloud.classes % (len(cloud.names) + 1)).tolist(),
        "names": [*cloud.names, cloud.name(-1)] if cloud.names else [""],
        "colours": cloud.colours,
        "texts": [without_markup(texts[place]) for place in cloud.order],
    }
    # No text can end the script that holds it, or begin another tag.
    escaped = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", r"\u003c")
    page = TEMPLATE.read_text(encoding="utf-8").replace(PLACE, escaped)
    with replacing(path) as partial:
        # A lone surrogate, from text that was decoded wrongly, has no bytes.
        partial.write_text(page, encoding="utf-8", errors="replace")
