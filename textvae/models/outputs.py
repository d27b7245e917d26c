"""What every model returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Score = Callable[[Tensor], Tensor]
"""Gives log p(x | z) in nats, (K, B), for z (K, B, ...)."""


@dataclass(frozen=True)
class Reading:
    """What a model makes of a batch before z is drawn.

    If the model has a condition c, such as the source of a translation, every distribution is conditioned on it.

    Attributes:
        posterior: q(z | x, c), batch shape (B,).
        prior: p(z | c), batch shape (B,).
        score: log p(x | z, c) of z (K, B, ...), summed over the real tokens, (K, B).
        auxiliary: further scores of z that only training uses, by the name of their term, such as ``bag_of_words``.
    """

    posterior: Any
    prior: Any
    score: Score
    auxiliary: Mapping[str, Score] = field(default_factory=dict)


@dataclass(frozen=True)
class VAEOutput:
    """The pieces from which every objective and every estimate is made.

    If z has a value at each of T steps, its event shape is (T, Z) in place of (Z,). A distribution that depends on the
    z of earlier steps has the batch shape (K, B): its parameters are those along each draw.

    Attributes:
        posterior: q(z | x, c), batch shape (B,).
        prior: p(z | c), batch shape (B,).
        z: draws from the posterior, (K, B, Z).
        score: log p(x | z, c) in nats, summed over the real tokens, (K, B).
        weights: how much each draw counts, (K, B), which sum to 1 over the draws; None: all alike.
        auxiliary: scores (K, B) of second decoders by the name of their term; empty in evaluation mode.
    """

    posterior: Any
    prior: Any
    z: Tensor
    score: Tensor
    weights: Tensor | None = None
    auxiliary: Mapping[str, Tensor] = field(default_factory=dict)

    def expected(self, scores: Tensor) -> Tensor:
        """The mean over the draws of scores (K, B), by their weights, (B,)."""
        return scores.mean(0) if self.weights is None else (self.weights * scores).sum(0)
