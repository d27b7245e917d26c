"""Points on a map, with their classes and the colours of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from textvae.support.display import natural
from textvae.support.errors import UserError

PALETTE = """
#0072B2 #D55E00 #009E73 #CC79A7 #E69F00 #56B4E9 #1E0FFF #960000 #3C4B69 #6987FF
#5A00B4 #0FE1D2 #69E178 #4BC387 #5A2D87 #964B4B #007878 #B43C0F #87003C #E100C3
""".split()
"""Six colours of Okabe and Ito, then fourteen found by a search. Any two differ at least as much as the closest two of
the six, for normal vision and for red-green blindness. The first colours differ the most."""

GREY = "#9A9A9A"
"""Colour of points without a class, if other points have one."""

NO_LABEL = "no label"

MOST = 100
"""The most classes that a legend can hold."""


@dataclass(frozen=True)
class Cloud:
    """Points in random order, so that no class hides another.

    Attributes:
        places: positions, (n, 2).
        classes: (n,), index of each point's class in ``names``; -1: no class.
        names: names of the classes; empty if no point has a label.
        order: (n,), index of each point in the user's input.
    """

    places: NDArray[np.float64]
    classes: NDArray[np.int64]
    names: tuple[str, ...]
    order: NDArray[np.int64]

    @property
    def colours(self) -> list[str]:
        """The colour of each class; the last colour is for points without a class."""
        return [PALETTE[number % len(PALETTE)] for number in range(len(self.names))] + [
            GREY if self.names else PALETTE[0]
        ]

    @property
    def present(self) -> list[int]:
        """The classes that have points; then -1, if only some points have a class."""
        numbers = np.unique(self.classes).tolist()
        return [number for number in numbers if number >= 0] + [-1] * (bool(self.names) and -1 in numbers)

    def name(self, number: int) -> str:
        """The name of a class, or `NO_LABEL` for -1."""
        return self.names[number] if number >= 0 else NO_LABEL


def cloud_of(points: ArrayLike, labels: Sequence[Any] | None, names: Sequence[str] | None = None) -> Cloud:
    """The points with their classes.

    Args:
        points: positions, (n, 2).
        labels: (n,), the class of each point: an index in ``names``, or a name if there are no ``names``. None: no
            label, for one point or for all.
        names: names of the classes; None: the labels themselves, in natural order.

    Raises:
        UserError: if there are no points, a number is not finite, the number of labels differs from the number of
            points, a label is not in ``names``, or there are more than 100 different labels.

    Example:
        >>> cloud = cloud_of([[0, 0], [1, 0], [2, 0]], ["b", "a", None])
        >>> cloud.names, sorted(zip(cloud.order.tolist(), cloud.classes.tolist()))
        (('a', 'b'), [(0, 1), (1, 0), (2, -1)])
    """
    places = np.asarray(points, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] != 2 or not len(places):
        raise UserError(f"expected points of shape (n, 2), got {places.shape}: project the vectors first")
    if not np.isfinite(places).all():
        row = int(np.isfinite(places).all(1).argmin())
        raise UserError(f"expected finite numbers, got {places[row]} for point {row}: leave it out")
    kinds, classes = classes_of([None] * len(places) if labels is None else labels, names)
    if len(classes) != len(places):
        raise UserError(f"expected a label for each of {len(places)} points, got {len(classes)} labels")
    order = np.random.default_rng(0).permutation(len(places))
    return Cloud(places[order], np.array(classes)[order], kinds, order)


def classes_of(
    labels: Sequence[Any], names: Sequence[str] | None = None
) -> tuple[tuple[str, ...], list[int]]:
    """The names of the classes, and the class index of each label; -1 for None. Arguments as for `cloud_of`.

    Raises:
        UserError: if there are more than 100 different labels, or one is not in ``names``.
    """
    # Numbers come before strings, because the two cannot be compared.
    kinds = sorted(
        set(labels) - {None},
        key=lambda kind: (True, natural(kind)) if isinstance(kind, str) else (False, kind),
    )
    if len(kinds) > MOST:
        raise UserError(
            f"expected at most {MOST} different labels, got {len(kinds):,}, such as {kinds[0]!r}: "
            "is this the label column?"
        )
    if names is None:
        numbers = {kind: number for number, kind in enumerate(kinds)} | {None: -1}
        return tuple(map(str, kinds)), [numbers[label] for label in labels]
    strange = [kind for kind in kinds if kind not in range(-1, len(names))]
    if strange:
        raise UserError(
            f"expected labels from 0 to {len(names) - 1}, one for each name, got {strange[0]!r}: "
            "leave names out if the labels are names"
        )
    return tuple(names), [-1 if label is None else int(label) for label in labels]
