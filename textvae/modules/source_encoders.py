"""Encoders that return a state for each token, to which decoders attend."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from textvae.support.options import Dropout, Size, validated


@validated
class LSTMStates(nn.Module):
    """A bidirectional LSTM; a linear layer combines the two states of each token.

    Args:
        embedding_size: E, size of the word vectors.
        hidden_size: D, size of the states and of the hidden state of each direction.
        layers: number of stacked LSTMs.
        dropout: dropout rate on the word vectors and between layers.
    """

    def __init__(
        self, *, embedding_size: Size, hidden_size: Size, layers: Size = 1, dropout: Dropout = 0.0
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(
            embedding_size,
            hidden_size,
            layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if layers > 1 else 0,
        )
        self.join = nn.Linear(2 * hidden_size, hidden_size)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """The states (B, S, D) of all tokens; those of pads must not be used.

        Args:
            vectors: word vectors, (B, S, E).
            mask: True on real tokens, (B, S); every sentence has one or more.
        """
        # The backward direction must start at the last real token, not at the pads.
        packed = pack_padded_sequence(
            self.dropout(vectors), mask.sum(1).cpu(), batch_first=True, enforce_sorted=False
        )
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=mask.shape[1])
        return self.join(states)


@validated
class TransformerStates(nn.Module):
    """A transformer encoder with layer norm before each sublayer (Xiong et al. 2020) and sinusoidal positions.

    It has gcd(D, 8) heads: eight, if 8 divides D.

    Args:
        embedding_size: E, size of the word vectors.
        hidden_size: D, size of the states.
        layers: number of blocks.
        dropout: dropout rate on the word vectors and in each block.

    References:
        Attention Is All You Need (Vaswani et al. 2017), https://arxiv.org/abs/1706.03762
        On Layer Normalization in the Transformer Architecture (Xiong et al. 2020), https://arxiv.org/abs/2002.04745
    """

    def __init__(
        self, *, embedding_size: Size, hidden_size: Size, layers: Size = 1, dropout: Dropout = 0.0
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(embedding_size, hidden_size)
        block = nn.TransformerEncoderLayer(
            hidden_size,
            math.gcd(hidden_size, 8),
            4 * hidden_size,
            dropout,
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(
            block, layers, nn.LayerNorm(hidden_size), enable_nested_tensor=False
        )

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """The states (B, S, D) of all tokens; those of pads must not be used.

        Args:
            vectors: word vectors, (B, S, E).
            mask: True on real tokens, (B, S); every sentence has one or more.
        """
        states = self.projection(self.dropout(vectors))
        return self.blocks(states + _sinusoids(states), src_key_padding_mask=~mask)


def _sinusoids(states: Tensor) -> Tensor:
    """Position vectors (S, D) for states (B, S, D): sines and cosines with wavelengths from 2 pi to 20,000 pi."""
    length, size = states.shape[1:]
    half = (size + 1) // 2
    position = torch.arange(length, device=states.device, dtype=torch.float32)[:, None]
    angles = position * 10_000.0 ** (-torch.arange(half, device=states.device) / half)
    return torch.cat([angles.sin(), angles.cos()], -1)[:, :size].to(states.dtype)


SOURCE_ENCODERS: dict[str, type[nn.Module]] = {"lstm": LSTMStates, "transformer": TransformerStates}
"""The encoders that return a state for each token, by the kind that a configuration names."""
