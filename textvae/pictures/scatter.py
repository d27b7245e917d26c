"""A map as a picture for a paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from textvae.pictures.cloud import Cloud, cloud_of
from textvae.pictures.figure import COLUMN, check_picture, new_figure, plain, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

SIZE = 7
"""Size of the letters, in points."""

LETTERS = 18
"""The most letters in a line of a class name."""

GAP = 3
"""Space between two names, in points."""

MANY = 14
"""With this many classes or more, colours alone cannot tell them apart."""

NEAR, SHARE = 30, 1 / 3
"""A class has a patch where at least ``SHARE`` of a point's ``NEAR`` nearest points belong to it."""

TAG = 4
"""The most letters in a tag."""

APART = 0.6
"""Names go at the class medians if at least this share of the points is nearest to the median of its own class."""


def draw_map(
    points: ArrayLike,
    labels: Sequence[Any] | None,
    path: str | Path,
    *,
    title: str | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Draw points on a map as wide as a column of a paper, each in the colour of its class.

    If the classes are well separated and there is room, each class name is written at the median of its points;
    otherwise the names go below the map. With `MANY` classes or more, each name, or its number if there is no room, is
    written where the class is densest, unless the class is nowhere more than a third of the points. The points are
    drawn in random order, so that no class hides another.

    Args:
        points: positions, (n, 2), as `latent_space.maps.project` returns them.
        labels: (n,), the class of each point: an index in ``names``, or a name if there are no ``names``; None: no
            class.
        path: file to write, .png, .pdf or .svg.
        title: title above the map; in a paper the caption replaces it.
        names: names of the classes, in the order of their colours; None: the labels themselves, in natural order.

    Raises:
        UserError: if the points and labels do not fit together, or the file cannot be written.

    References:
        Color Universal Design (Okabe and Ito 2008), https://jfly.uni-koeln.de/color/
    """
    check_picture(path)
    cloud = cloud_of(points, labels, names)
    figure, axes = _new_map(cloud.places)
    number = len(cloud.places)
    # Many points are smaller, and transparent so that dense regions look darker: 100 are 4 points wide, 10,000 are 1.3.
    area, alpha = min(25.0, 170 / math.sqrt(number)), min(0.8, max(0.3, 40 / math.sqrt(number)))
    colours = np.array(cloud.colours)[cloud.classes]
    # Rasterized, because PDF and SVG viewers are slow with thousands of points.
    x, y = cloud.places.T
    axes.scatter(x, y, s=area, c=colours, alpha=alpha, linewidths=0, rasterized=True)
    if cloud.names and not _name_clusters(axes, cloud):
        _add_legend(axes, cloud, _tag_patches(axes, cloud))
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
    """Write each name at its class; False, with nothing written, if that would be unclear."""
    present = [number for number in cloud.present if number >= 0]
    if len(present) < 2:
        return False
    places = _medians(cloud, present)
    if places is None and len(present) >= MANY:
        patches = _patches(cloud, present)
        places = np.array(list(patches.values())) if len(patches) == len(present) else None
    if places is None:
        return False
    texts = _written(axes, cloud, {number: plain(cloud.names[number], LETTERS) for number in present}, places)
    if _move_apart(axes, texts, places):
        return True
    for text in texts:
        text.remove()
    return False


def _medians(cloud: Cloud, present: list[int]) -> NDArray[np.float64] | None:
    """The median of each class, (k, 2); None if the classes overlap too much (see `APART`)."""
    medians = np.array([np.median(cloud.places[cloud.classes == number], 0) for number in present])
    nearest = np.array(present)[cdist(cloud.places, medians).argmin(1)]
    is_near = (nearest == cloud.classes)[cloud.classes >= 0]
    return medians if is_near.mean() >= APART else None


def _patches(cloud: Cloud, present: list[int]) -> dict[int, NDArray[np.float64]]:
    """The densest place of each class that has a patch (see `SHARE`)."""
    distances, near = KDTree(cloud.places).query(
        cloud.places, k=[*range(1, min(NEAR, len(cloud.places)) + 1)]
    )
    share = (cloud.classes[near] == cloud.classes[:, None]).mean(1)
    # The added terms avoid a division by 0 where many points share one place.
    density = share / (distances[:, -1] ** 2 + 1e-9 * np.ptp(cloud.places) ** 2 + 1e-300)
    density[share < SHARE] = 0
    found = {}
    for number in present:
        own = np.flatnonzero(cloud.classes == number)
        best = own[density[own].argmax()]
        if density[best]:
            found[number] = cloud.places[best]
    return found


def _tag_patches(axes: Axes, cloud: Cloud) -> dict[int, str]:
    """Write a short tag on each class's patch, if it has one; returns the tags of all classes for the legend."""
    present = [number for number in cloud.present if number >= 0]
    if len(present) < MANY:
        return {}
    patches = _patches(cloud, present)
    if not patches:
        return {}
    tags, places = (
        _tags({number: cloud.names[number] for number in present}),
        np.array(list(patches.values())),
    )
    # If there is no room to move the tags apart, they stay where they are.
    _move_apart(axes, _written(axes, cloud, {number: tags[number] for number in patches}, places), places)
    return tags


def _tags(names: dict[int, str]) -> dict[int, str]:
    """The part of each name before the colon, such as the number of a cluster; otherwise numbers from 1.

    Example:
        >>> _tags({0: "0: tea, cup", 3: "3: dog"}), _tags({0: "tea", 3: "dog"})
        ({0: '0', 3: '3'}, {0: '1', 3: '2'})
    """
    tags = {number: name.partition(":")[0] for number, name in names.items() if ":" in name}
    if len(set(tags.values())) == len(names) and max(map(len, tags.values())) <= TAG:
        return tags
    return {number: str(place) for place, number in enumerate(names, 1)}


def _written(axes: Axes, cloud: Cloud, words: dict[int, str], places: NDArray[np.float64]) -> list[Text]:
    """Write the given words at the given places (k, 2), each in the colour of its class."""
    from matplotlib.patheffects import withStroke

    return [
        axes.text(
            x,
            y,
            text,
            color=_darker(cloud.colours[number]),
            path_effects=[withStroke(linewidth=1.6, foreground="white")],
            fontsize=SIZE,
            fontweight="bold",
            ha="center",
            va="center",
            linespacing=0.95,
        )
        for (number, text), (x, y) in zip(words.items(), places, strict=True)
    ]


def _move_apart(axes: Axes, texts: list[Text], places: NDArray[np.float64]) -> bool:
    """Move the texts at ``places`` (k, 2) until none overlap; False, with none moved, if that is impossible."""
    sizes = np.array([text.get_window_extent().size for text in texts]) + GAP
    moved = _moved_apart(axes.transData.transform(places), sizes, np.array(axes.bbox.size))
    if moved is None:
        return False
    for text, place in zip(texts, axes.transData.inverted().transform(moved), strict=True):
        text.set_position(place)
    return True


def _moved_apart(
    centres: NDArray[np.float64], sizes: NDArray[np.float64], room: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """The centres of boxes, moved up and down until no two overlap; None if a box would have to move too far.

    Args:
        centres: (k, 2).
        sizes: (k, 2), width and height.
        room: (2,), width and height of the map; no box leaves it.
    """
    far = 3 * SIZE
    low = sizes / 2
    high = np.maximum(room - low, low)
    places = np.clip(centres, low, high)
    index = np.arange(len(places))
    # If two boxes have the same height, the second moves up.
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


def _add_legend(axes: Axes, cloud: Cloud, tags: dict[int, str]) -> None:
    """Write the names, each after its tag if it has one, below the map in as many columns as fit its width."""
    from matplotlib.lines import Line2D

    names = {number: cloud.name(number) for number in cloud.present}
    for number, tag in tags.items():
        if not names[number].startswith(f"{tag}:"):
            names[number] = f"{tag} {names[number]}"
    handles = [
        Line2D([], [], color=cloud.colours[number], label=plain(name, 40), marker="o", ls="")
        for number, name in names.items()
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
    """The colour darkened, so that letters can be read on white."""
    from matplotlib.colors import to_rgb

    return tuple(0.7 * part for part in to_rgb(colour))
