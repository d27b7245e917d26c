"""The range of seeds, for recipes, Python and the command line."""

from __future__ import annotations

from numbers import Integral
from typing import Annotated

from annotated_types import Interval

from textvae.support.errors import UserError

END = 2**32
"""Seeds must be smaller than this, the limit of scikit-learn and NumPy's legacy generator."""

Seed = Annotated[int, Interval(ge=0, lt=END)]
"""A seed that random, NumPy, scikit-learn and torch all accept; Pydantic checks a field of this type."""


def check_seed(seed: int | None, name: str = "seed") -> None:
    """Refuse a number that is not a `Seed`. None, the global random state, is allowed.

    Args:
        seed: seed to check.
        name: the user's name of the setting.

    Raises:
        UserError: if the seed is not a whole number, is negative, or is `END` or more.

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
