"""Schedules of the KL weight: pure functions of the optimiser step, so that a resumed run needs no further state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from textvae.support.errors import UserError
from textvae.support.options import Count, Size, Weight, check_fields


@dataclass(frozen=True)
class KLWeight:
    """The KL weight beta at each optimiser step.

    At the fraction u of the ramp, the weight between ``start`` and ``end`` is

        constant   end
        linear     start + (end - start) u
        sigmoid    start + (end - start) s(u), s the logistic curve scaled to s(0) = 0 and s(1) = 1
        tanh       start + (end - start) tanh(3 u) / tanh(3), steep at first
        cyclical   the linear ramp, ``cycles`` times: each cycle rises in its first half and stays at ``end`` in its
                   second half

    After ``steps`` the weight stays at ``end``.

    Attributes:
        schedule: one of the above.
        start: weight at step 0.
        end: weight after the ramp.
        steps: optimiser steps until the end of the ramp or of the last cycle.
        cycles: number of ramps of the cyclical schedule.

    Raises:
        UserError: if a weight is negative, a schedule other than constant has no steps, or the schedule does not use
            an option that is set.

    References:
        Generating Sentences from a Continuous Space (Bowman et al. 2016), https://arxiv.org/abs/1511.06349
        Cyclical Annealing Schedule (Fu et al. 2019), https://arxiv.org/abs/1903.10145
    """

    schedule: Literal["constant", "linear", "sigmoid", "tanh", "cyclical"] = "constant"
    start: Weight = 0.0
    end: Weight = 1.0
    steps: Count = 0
    cycles: Size = 4

    def __post_init__(self) -> None:
        check_fields(self)
        if self.schedule != "constant" and self.steps < 1:
            raise UserError(
                f"expected steps of 1 or more for the {self.schedule} KL weight, got {self.steps}"
            )
        self._check_unused("cycles", self.schedule == "cyclical", "cyclical")
        for name in ("start", "steps"):
            self._check_unused(name, self.schedule != "constant", "linear")

    def _check_unused(self, name: str, used: bool, other: str) -> None:
        """Refuse a value that is not the default, for an option that the schedule does not use."""
        value = getattr(self, name)
        if not used and value != getattr(KLWeight, name):
            raise UserError(
                f"expected no {name} for the {self.schedule} KL weight, which would not use it, got {value}: leave it "
                f"out, or choose another schedule, such as {other}"
            )

    def __call__(self, step: int) -> float:
        """The weight at ``step``."""
        if self.schedule == "constant" or step >= self.steps:
            return self.end
        return self.start + (self.end - self.start) * self._progress(step / self.steps)

    def _progress(self, u: float) -> float:
        """The fraction of the way from start to end at the fraction ``u`` of the steps."""
        if self.schedule == "sigmoid":
            # Cut where the logistic curve is at 0.25 % and 99.75 %, as in Bowman et al., figure 2.
            edge = 6.0
            low, high = _logistic(-edge), _logistic(edge)
            return (_logistic(edge * (2 * u - 1)) - low) / (high - low)
        if self.schedule == "tanh":
            return math.tanh(3 * u) / math.tanh(3)
        if self.schedule == "cyclical":
            return min(1.0, 2 * (u * self.cycles % 1))
        return u


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
