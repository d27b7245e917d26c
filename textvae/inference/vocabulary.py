"""Which tokens may come next in a sentence with blanks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor

from textvae.text.blanks import Blank


class Vocabulary:
    """The tokens that begin a word, and those that go on with one, as masks (V,), True on such tokens.

    Args:
        spellings: what each token writes (`text.blanks.spellings`).
        device: where the masks are.
    """

    def __init__(self, spellings: list[bytes], device: torch.device) -> None:
        self.spellings, self.device = spellings, device
        self.begins = self._mask(spelt.startswith(b" ") for spelt in spellings)
        self.fitting = cache(self._fitting)

    def first(self, term: int | Blank) -> Tensor:
        """The tokens that a term of the pattern begins with."""
        if isinstance(term, Blank):
            return self.fitting(term.before) & self.begins
        return self._mask(number == term for number in range(len(self.spellings)))

    def behind(self, spelt: bytes, blank: Blank) -> Tensor:
        """The tokens that continue a blank if ``spelt`` is written of it so far."""
        return self.fitting(blank.before[len(spelt) :]) & ~self.begins

    def _fitting(self, needed: bytes) -> Tensor:
        """The tokens that write what is ``needed`` next, or a part of it."""
        return self._mask(
            bool(spelt) and (spelt.startswith(needed) or needed.startswith(spelt)) for spelt in self.spellings
        )

    def _mask(self, chosen: Iterable[bool]) -> Tensor:
        return torch.tensor(list(chosen), device=self.device)
