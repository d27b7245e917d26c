"""Attention of decoder states to the states of a source sentence."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from textvae.modules.encoders import mean_of_real
from textvae.support.options import Size, validated


class Source(NamedTuple):
    """A batch of encoded source sentences, as decoders read them.

    Attributes:
        states: states of the source encoder, (B, S, D).
        keys: attention keys, computed from the states once, (B, S, D).
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

    Each subclass has its own score. The weight of a pad is exactly 0.

    Args:
        projection: module from the source's states (B, S, D) to keys (B, S, D).
    """

    def __init__(self, projection: nn.Module) -> None:
        super().__init__()
        self.projection = projection

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The score of each query (B, N, D) with each key (B, S, D), shape (B, N, S)."""
        return queries @ keys.transpose(1, 2)

    def source(self, states: Tensor, mask: Tensor) -> Source:
        """The source sentences with their keys.

        Args:
            states: states of the source encoder, (B, S, D).
            mask: True on real tokens, (B, S).
        """
        return Source(states, self.projection(states), mask)

    def forward(self, queries: Tensor, source: Source) -> tuple[Tensor, Tensor]:
        """The contexts c, (K, B, T, D), and the weights w, (K, B, T, S).

        Args:
            queries: states of the decoder, (K, B, T, D).
            source: B source sentences of S tokens.
        """
        samples, steps = queries.shape[0], queries.shape[2]
        # One matrix product per sentence holds the steps of all samples, so that its keys are not copied.
        rows = queries.transpose(0, 1).flatten(1, 2)
        scores = self.scores(rows, source.keys).masked_fill(~source.mask[:, None], -math.inf)
        weights = scores.softmax(-1)
        contexts = weights.to(source.states.dtype) @ source.states
        return (
            contexts.unflatten(1, (samples, steps)).transpose(0, 1),
            weights.unflatten(1, (samples, steps)).transpose(0, 1),
        )


@validated
class DotAttention(Attention):
    """score(q, s) = q · s (Luong et al. 2015).

    Args:
        size: D, size of the queries and of the source's states.

    References:
        Effective Approaches to Attention-based Neural Machine Translation (Luong et al. 2015),
        https://arxiv.org/abs/1508.04025
    """

    def __init__(self, size: Size) -> None:
        super().__init__(nn.Identity())


@validated
class GeneralAttention(Attention):
    """score(q, s) = q · W s (Luong et al. 2015).

    Args:
        size: D, size of the queries and of the source's states.

    References:
        Effective Approaches to Attention-based Neural Machine Translation (Luong et al. 2015),
        https://arxiv.org/abs/1508.04025
    """

    def __init__(self, size: Size) -> None:
        super().__init__(nn.Linear(size, size, bias=False))


@validated
class AdditiveAttention(Attention):
    """score(q, s) = v · tanh(W s + U q + b) (Bahdanau et al. 2015).

    Args:
        size: D, size of the queries and of the source's states.

    References:
        Neural Machine Translation by Jointly Learning to Align and Translate (Bahdanau et al. 2015),
        https://arxiv.org/abs/1409.0473
    """

    def __init__(self, size: Size) -> None:
        super().__init__(nn.Linear(size, size, bias=False))
        self.query = nn.Linear(size, size)
        self.vector = nn.Linear(size, 1, bias=False)

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The scores (B, N, S), see `Attention`; an intermediate tensor has shape (B, N, S, D)."""
        return self.vector(torch.tanh(self.query(queries)[:, :, None] + keys[:, None])).squeeze(-1)


ATTENTIONS: dict[str, type[Attention]] = {
    "additive": AdditiveAttention,
    "general": GeneralAttention,
    "dot": DotAttention,
}
"""The attention classes, by the kind that a configuration names."""
