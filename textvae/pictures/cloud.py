"""Points on a map, the classes that they belong to, and the colours of these."""

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
"""Six colours of Okabe and Ito, and fourteen that a search found to be as far from these, and from each other, as the
closest of the six: to normal eyes and to those that do not see red or green. The first are the farthest apart."""

GREY = "#9A9A9A"
"""Of points without a class, among others that have one."""

NO_LABEL = "no label"

MOST = 100
"""Classes that a legend can hold."""


@dataclass(frozen=True)
class Cloud:
    """Points in an order in which no class hides another.

    Attributes:
        places: (n, 2).
        classes: (n,), each a number in ``names``; -1: none.
        names: of the classes; empty if the points have no labels at all.
        order: (n,), where each point stood in what the user gave.
    """

    places: NDArray[np.float64]
    classes: NDArray[np.int64]
    names: tuple[str, ...]
    order: NDArray[np.int64]

    @property
    def colours(self) -> list[str]:
        """The colour of each class, and in the last place that of points without one."""
        return [PALETTE[number % len(PALETTE)] for number in range(len(self.names))] + [
            GREY if self.names else PALETTE[0]
        ]

    @property
    def present(self) -> list[int]:
        """The classes that have points; -1, last, if some points have none among others that do."""
        numbers = np.unique(self.classes).tolist()
        return [number for number in numbers if number >= 0] + [-1] * (bool(self.names) and -1 in numbers)

    def name(self, number: int) -> str:
        """What a class is called; -1 too."""
        return self.names[number] if number >= 0 else NO_LABEL


def cloud_of(points: ArrayLike, labels: Sequence[Any] | None, names: Sequence[str] | None = None) -> Cloud:
    """The points with their classes.

    Args:
        points: (n, 2).
        labels: (n,), what each point is: a number in ``names``, or without these its name. None: no label, for one
            point or for all.
        names: of the classes; None: the labels themselves, in natural order.

    Raises:
        UserError: if there are no points, a number is not finite, the labels are not as many as the points or not in
            ``names``, or they are of more than 100 kinds.

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
    """The names of the classes, and the number of each label, as `cloud_of` takes them; -1 for None.

    Raises:
        UserError: if they are of more than 100 kinds, or not in ``names``.
    """
    # Numbers stand before words, since the two do not compare.
    kinds = sorted(
        set(labels) - {None},
        key=lambda kind: (True, natural(kind)) if isinstance(kind, str) else (False, kind),
    )
    if len(kinds) > MOST:
        raise UserError(
            f"expected labels of at most {MOST} kinds, got {len(kinds):,}, such as {kinds[0]!r}: "
            "is this the column of the labels?"
        )
    if names is None:
        numbers = {kind: number for number, kind in enumerate(kinds)} | {None: -1}
        return tuple(map(str, kinds)), [numbers[label] for label in labels]
    strange = [kind for kind in kinds if kind not in range(-1, len(names))]
    if strange:
        raise UserError(
            f"expected labels to be numbers of the {len(names)} names, from 0, got {strange[0]!r}: "
            "leave the names out if the labels are names"
        )
    return tuple(names), [-1 if label is None else int(label) for label in labels]
