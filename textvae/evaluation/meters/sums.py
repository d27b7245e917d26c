"""Sums over a data set, which most quantities are computed from."""

from __future__ import annotations

import math
import sys

from textvae.evaluation.quantities import Meter


class Sums(Meter):
    """A meter that measures a tuple of numbers for each batch and sums them."""

    def __init__(self) -> None:
        self.totals: tuple[float, ...] = ()

    def add(self, measured: tuple[float, ...]) -> None:
        """Add the numbers of the next batch."""
        self.totals = tuple(map(sum, zip(self.totals, measured, strict=True))) if self.totals else measured


def exp(x: float) -> float:
    """e to the x, infinite where `math.exp` raises, so that a run that diverges reaches its own error message."""
    return math.exp(x) if x < math.log(sys.float_info.max) else math.inf
