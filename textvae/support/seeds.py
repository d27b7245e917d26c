"""What a seed may be, for recipes, Python and the command line alike."""

from __future__ import annotations

from numbers import Integral
from typing import Annotated

from annotated_types import Interval

from textvae.support.errors import UserError

END = 2**32
"""Seeds are smaller: scikit-learn and the legacy generator of NumPy take no larger ones."""

Seed = Annotated[int, Interval(ge=0, lt=END)]
"""A seed that random, NumPy, scikit-learn and torch all take; Pydantic checks a field of this type."""


def check_seed(seed: int | None, name: str = "seed") -> None:
    """Refuse a number that is no `Seed`; None, where it stands for the global random state, passes.

    Args:
        seed: what was given.
        name: of the setting, as the user knows it.

    Raises:
        UserError: if it is no whole number, negative, or `END` or more.

    Example:
        >>> check_seed(-1)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        textvae.support.errors.UserError: expected seed to be a whole number from 0 to 4294967295, got -1: ...
    """
    whole = isinstance(seed, Integral) and not isinstance(seed, bool)
    if seed is not None and not (whole and 0 <= seed < END):
        raise UserError(
            f"expected {name} to be a whole number from 0 to {END - 1}, got {seed!r}: choose another"
        )
