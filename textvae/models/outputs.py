"""What every model returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Score = Callable[[Tensor], Tensor]
"""A function from z (K, B, ...) to log p(x | z) in nats, (K, B)."""


@dataclass(frozen=True)
class Reading:
    """What a model computes from a batch before z is drawn.

    If the model has a condition c, such as the source of a translation, every distribution is conditioned on it.

    Attributes:
        posterior: q(z | x, c), batch shape (B,).
        prior: p(z | c), batch shape (B,).
        score: function from z (K, B, ...) to log p(x | z, c) in nats, summed over the real tokens, (K, B).
        auxiliary: further scores of z that only training uses, by name, such as ``bag_of_words``.
    """

    posterior: Any
    prior: Any
    score: Score
    auxiliary: Mapping[str, Score] = field(default_factory=dict)


@dataclass(frozen=True)
class VAEOutput:
    """The output of a model, from which every objective and every estimate is computed.

    If z has a value at each of T steps, its event shape is (T, Z) instead of (Z,). If a distribution depends on the z
    of earlier steps, it is evaluated along each draw and has batch shape (K, B).

    Attributes:
        posterior: q(z | x, c), batch shape (B,).
        prior: p(z | c), batch shape (B,).
        z: draws from the posterior, (K, B, Z).
        score: log p(x | z, c) in nats, summed over the real tokens, (K, B).
        weights: weight of each draw, (K, B), which sum to 1 over the K draws; None: all weights are 1 / K.
        auxiliary: scores (K, B) of second decoders, by name; empty in evaluation mode.
    """

    posterior: Any
    prior: Any
    z: Tensor
    score: Tensor
    weights: Tensor | None = None
    auxiliary: Mapping[str, Tensor] = field(default_factory=dict)

    def expected(self, scores: Tensor) -> Tensor:
        """The weighted mean of scores (K, B) over the draws, (B,)."""
        return scores.mean(0) if self.weights is None else (self.weights * scores).sum(0)
