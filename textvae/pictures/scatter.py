"""A map as a picture for a paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from textvae.pictures.cloud import Cloud, cloud_of
from textvae.pictures.figure import COLUMN, check_picture, new_figure, plain, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = 7
"""Of the letters, in points."""

LETTERS = 18
"""In a line of a name."""

GAP = 3
"""Between two names, in points."""

APART = 0.6
"""Where so many of the points are closer to the middle of their class than to any other, names can stand on the map."""


def draw_map(
    points: ArrayLike,
    labels: Sequence[Any] | None,
    path: str | Path,
    *,
    title: str | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Draw points as wide as a column, each in the colour of its class.

    The names of the classes stand at their medians, if the classes lie apart and there is room, otherwise below the
    map. No class hides another, as the points are drawn in an order that has nothing to do with their classes.

    Args:
        points: (n, 2), as from `latent_space.maps.project`.
        labels: (n,), what each point is: a number in ``names``, or without these its name; None where it has none.
        path: a .png, .pdf or .svg.
        title: above the map; a paper has a caption instead.
        names: of the classes, in the order of their colours; None: the labels themselves, sorted.

    Raises:
        UserError: if the points and labels do not go together, or the file can not be written so.

    References:
        Color Universal Design (Okabe and Ito 2008), https://jfly.uni-koeln.de/color/
    """
    check_picture(path)
    cloud = cloud_of(points, labels, names)
    figure, axes = _new_map(cloud.places)
    number = len(cloud.places)
    # A hundred points are 4 points wide and ten thousand 1.3; so many are lighter, to show where they are dense.
    area, alpha = min(25.0, 170 / math.sqrt(number)), min(0.8, max(0.3, 40 / math.sqrt(number)))
    colours = np.array(cloud.colours)[cloud.classes]
    # In PDF and SVG thousands of points would be slow to show.
    x, y = cloud.places.T
    axes.scatter(x, y, s=area, c=colours, alpha=alpha, linewidths=0, rasterized=True)
    if cloud.names and not _name_clusters(axes, cloud):
        _add_legend(axes, cloud)
    if title:
        axes.set_title(plain(title, 60, 120), fontsize=SIZE + 1)
    write(figure, path)


def _new_map(places: NDArray[np.float64]) -> tuple[Figure, Axes]:
    """A figure with empty axes of one scale around the places, as wide as a column and at most as high."""
    low, high = places.min(0), places.max(0)
    width, height = 1.08 * (high - low)
    shape = height / width if width else 2 * height
    figure = new_figure(COLUMN, COLUMN * min(1.0, max(0.5, shape)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    room = np.array(axes.bbox.size)
    half = (max(width / room[0], height / room[1]) or 1.0) * room / 2
    left, bottom = (low + high) / 2 - half
    right, top = (low + high) / 2 + half
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    return figure, axes


def _name_clusters(axes: Axes, cloud: Cloud) -> bool:
    """Write each name at the median of its class; False, and nothing written, where that would not be clear."""
    from matplotlib.patheffects import withStroke

    present = [number for number in cloud.present if number >= 0]
    if len(present) < 2:
        return False
    medians = np.array([np.median(cloud.places[cloud.classes == number], 0) for number in present])
    nearest = np.array(present)[cdist(cloud.places, medians).argmin(1)]
    labelled = cloud.classes >= 0
    if (nearest == cloud.classes)[labelled].mean() < APART:
        return False
    halo = [withStroke(linewidth=1.6, foreground="white")]
    texts = [
        axes.text(
            x,
            y,
            plain(cloud.names[number], LETTERS),
            color=_darker(cloud.colours[number]),
            path_effects=halo,
            fontsize=SIZE,
            fontweight="bold",
            ha="center",
            va="center",
            linespacing=0.95,
        )
        for number, (x, y) in zip(present, medians, strict=True)
    ]
    sizes = np.array([text.get_window_extent().size for text in texts]) + GAP
    centres = axes.transData.transform(medians)
    places = _moved_apart(centres, sizes, np.array(axes.bbox.size))
    if places is None:
        for text in texts:
            text.remove()
        return False
    for text, place in zip(texts, axes.transData.inverted().transform(places), strict=True):
        text.set_position(place)
    return True


def _moved_apart(
    centres: NDArray[np.float64], sizes: NDArray[np.float64], room: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Centres of boxes, moved up and down until no two overlap; None if one would have to go far.

    Args:
        centres: (k, 2).
        sizes: (k, 2), width and height.
        room: (2,), width and height of the map, which no box leaves.
    """
    far = 3 * SIZE
    low = sizes / 2
    high = np.maximum(room - low, low)
    places = np.clip(centres, low, high)
    index = np.arange(len(places))
    # Of two at one height, the second goes up.
    tie = np.sign(index[:, None] - index[None])
    for _ in range(200):
        between = places[:, None] - places[None]
        overlap = (sizes[:, None] + sizes[None]) / 2 - np.abs(between)
        touching = (overlap > 0).all(2) & (tie != 0)
        if not touching.any():
            return places if np.abs(places - centres)[:, 1].max() <= far else None
        direction = np.where(between[:, :, 1] == 0, tie, np.sign(between[:, :, 1]))
        places[:, 1] += (touching * direction * (overlap[:, :, 1] / 2 + 0.1)).sum(1)
        places = np.clip(places, low, high)
    return None


def _add_legend(axes: Axes, cloud: Cloud) -> None:
    """Write the names below the map, in as many columns as are as wide as it."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=cloud.colours[number], label=plain(cloud.name(number), 40), marker="o", ls="")
        for number in cloud.present
    ]
    for columns in range(min(len(handles), 6), 0, -1):
        legend = axes.legend(
            handles=handles,
            ncols=columns,
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            frameon=False,
            fontsize=SIZE,
            markerscale=0.7,
            handletextpad=0.1,
            columnspacing=0.8,
        )
        if legend.get_window_extent().width <= axes.bbox.width:
            break


def _darker(colour: str) -> tuple[float, ...]:
    """A colour in which letters can be read on white."""
    from matplotlib.colors import to_rgb

    return tuple(0.7 * part for part in to_rgb(colour))
