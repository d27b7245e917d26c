"""Which tokens may come next in a sentence with blanks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor

from textvae.text.blanks import Blank


class Vocabulary:
    """Finds the tokens that may begin or continue a word; each set of tokens is a mask (V,), True on its tokens.

    Args:
        spellings: bytes that each token stands for (`text.blanks.spellings`).
        device: device of the masks.
    """

    def __init__(self, spellings: list[bytes], device: torch.device) -> None:
        self.spellings, self.device = spellings, device
        self.begins = self._mask(spelt.startswith(b" ") for spelt in spellings)
        self.fitting = cache(self._fitting)

    def first(self, term: int | Blank) -> Tensor:
        """The tokens with which a term of the pattern may begin."""
        if isinstance(term, Blank):
            return self.fitting(term.before) & self.begins
        return self._mask(number == term for number in range(len(self.spellings)))

    def behind(self, spelt: bytes, blank: Blank) -> Tensor:
        """The tokens that may continue a blank in which ``spelt`` is written so far."""
        return self.fitting(blank.before[len(spelt) :]) & ~self.begins

    def _fitting(self, needed: bytes) -> Tensor:
        """The tokens whose spelling starts with ``needed`` or is a start of it, but is not empty."""
        return self._mask(
            bool(spelt) and (spelt.startswith(needed) or needed.startswith(spelt)) for spelt in self.spellings
        )

    def _mask(self, chosen: Iterable[bool]) -> Tensor:
        return torch.tensor(list(chosen), device=self.device)
