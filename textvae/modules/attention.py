"""Decoder states look into the states of the source."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from textvae.modules.encoders import mean_of_real


class Source(NamedTuple):
    """A source sentence as decoders see it.

    Attributes:
        states: (B, S, D).
        keys: what queries are compared with, made of the states once, (B, S, D).
        mask: True on real tokens, (B, S).
    """

    states: Tensor
    keys: Tensor
    mask: Tensor

    @property
    def summary(self) -> Tensor:
        """The mean of the states of the real tokens, (B, D)."""
        return mean_of_real(self.states, self.mask)


class Attention(nn.Module):
    """c_t = sum_s w_ts state_s, with the weights w_t = softmax_s score(query_t, key_s) over the real tokens.

    The score is that of a subclass. Pads get the weight 0 exactly.

    Args:
        projection: makes keys (B, S, D) of the source's states (B, S, D).
    """

    def __init__(self, projection: nn.Module) -> None:
        super().__init__()
        self.projection = projection

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The scores (B, N, S) of queries (B, N, D) with keys (B, S, D)."""
        return queries @ keys.transpose(1, 2)

    def source(self, states: Tensor, mask: Tensor) -> Source:
        """The source with its keys.

        Args:
            states: (B, S, D).
            mask: True on real tokens, (B, S).
        """
        return Source(states, self.projection(states), mask)

    def forward(self, queries: Tensor, source: Source) -> tuple[Tensor, Tensor]:
        """The contexts c, (K, B, T, D), and the weights w, (K, B, T, S).

        Args:
            queries: (K, B, T, D).
            source: of B sentences of S tokens.
        """
        samples, steps = queries.shape[0], queries.shape[2]
        # The steps of all samples of a sentence are rows of one product, so that its keys are not repeated.
        rows = queries.transpose(0, 1).flatten(1, 2)
        scores = self.scores(rows, source.keys).masked_fill(~source.mask[:, None], -math.inf)
        weights = scores.softmax(-1)
        contexts = weights.to(source.states.dtype) @ source.states
        return (
            contexts.unflatten(1, (samples, steps)).transpose(0, 1),
            weights.unflatten(1, (samples, steps)).transpose(0, 1),
        )


class DotAttention(Attention):
    """score(q, s) = q · s (Luong et al. 2015).

    Args:
        size: D of the queries and of the source's states.

    References:
        Effective Approaches to Attention-based Neural Machine Translation (Luong et al. 2015),
        https://arxiv.org/abs/1508.04025
    """

    def __init__(self, size: int) -> None:
        super().__init__(nn.Identity())


class GeneralAttention(Attention):
    """score(q, s) = q · W s (Luong et al. 2015).

    Args:
        size: D of the queries and of the source's states.

    References:
        Effective Approaches to Attention-based Neural Machine Translation (Luong et al. 2015),
        https://arxiv.org/abs/1508.04025
    """

    def __init__(self, size: int) -> None:
        super().__init__(nn.Linear(size, size, bias=False))


class AdditiveAttention(Attention):
    """score(q, s) = v · tanh(W s + U q + b) (Bahdanau et al. 2015).

    Args:
        size: D of the queries and of the source's states.

    References:
        Neural Machine Translation by Jointly Learning to Align and Translate (Bahdanau et al. 2015),
        https://arxiv.org/abs/1409.0473
    """

    def __init__(self, size: int) -> None:
        super().__init__(nn.Linear(size, size, bias=False))
        self.query = nn.Linear(size, size)
        self.vector = nn.Linear(size, 1, bias=False)

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The scores (B, N, S) of queries (B, N, D) with keys (B, S, D), through a tensor (B, N, S, D)."""
        return self.vector(torch.tanh(self.query(queries)[:, :, None] + keys[:, None])).squeeze(-1)


ATTENTIONS: dict[str, type[Attention]] = {
    "additive": AdditiveAttention,
    "general": GeneralAttention,
    "dot": DotAttention,
}
"""How states score those of the source, by the kind that a configuration names."""
