"""Decoders: from token ids and z to decoder states.

Every decoder has one method, ``forward(inputs, z, cache)``, which reads whole sentences in parallel or one token more.
It returns a cache; with the cache of a prefix, the next call continues after that prefix, at a cost that does not
depend on the prefix's length. So training and generation share one implementation.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import MinLen
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from textvae.support.options import Count, Dropout, Size, one_of, validated

Cache = tuple[Tensor, ...]
"""What a decoder stores about the tokens it has read: tensors whose first axis is the sentence."""


def drop_words(ids: Tensor, mask: Tensor, rate: float, *, unknown_id: int, keep_id: int) -> Tensor:
    """``ids``, where each word becomes ``unknown_id`` with probability ``rate`` (Bowman et al. 2016, 3.1).

    Args:
        ids: decoder inputs, (B, T).
        mask: True on real tokens, (B, T); pads are never replaced.
        rate: probability that a word is replaced.
        unknown_id: id of UNK.
        keep_id: id that is never replaced: BOS, which is not a word.
    """
    dropped = torch.rand(ids.shape, device=ids.device) < rate
    return ids.masked_fill(dropped & mask & (ids != keep_id), unknown_id)


def _for_each_sample(embedded: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Repeats the word vectors (B, T, E) for each of K samples, (K·B, T, E), and flattens z (K, B, Z) to (K·B, Z)."""
    repeated = embedded.expand(len(z), *embedded.shape)
    return repeated.flatten(0, 1), z.flatten(0, 1).to(embedded.dtype)


class VariationalDropout(nn.Dropout1d):
    """Dropout with the same mask for all tokens of a sentence (Gal & Ghahramani 2016).

    References:
        A Theoretically Grounded Application of Dropout in Recurrent Neural Networks (Gal & Ghahramani 2016),
        https://arxiv.org/abs/1512.05287
    """

    def forward(self, input: Tensor) -> Tensor:
        """``input`` (N, T, D); in training, some of the D features of each of the N sentences are 0."""
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


def _dropout(rate: float, variational: bool) -> nn.Module:
    return VariationalDropout(rate) if variational else nn.Dropout(rate)


def _drop_recurrent_weights(lstm: nn.LSTM, rate: float) -> dict[str, Tensor]:
    """The hidden-to-hidden weights of all layers, each set to 0 with probability ``rate``."""
    return {
        name: functional.dropout(weight, rate)
        for name, weight in lstm.named_parameters()
        if name.startswith("weight_hh")
    }


@validated
class SkipConnection(nn.Module):
    """Adds W z to the decoder's output states: a direct path to the output layer (Skip-VAE, Dieng et al. 2019).

    The gradient of every word thus reaches z in one step, even if the states depend mostly on the words before.

    Args:
        latent_size: Z.
        output_size: D, size of the states.

    References:
        Avoiding Latent Variable Collapse with Generative Skip Models (Dieng et al. 2019),
        https://arxiv.org/abs/1807.04863
    """

    def __init__(self, latent_size: Size, output_size: Size) -> None:
        super().__init__()
        self.linear = nn.Linear(latent_size, output_size, bias=False)

    def forward(self, states: Tensor, z: Tensor) -> Tensor:
        """The states (K, B, T, D) plus W z, given z (K, B, Z)."""
        return states + self.linear(z.to(self.linear.weight.dtype))[:, :, None]


@validated
class LSTMDecoder(nn.Module):
    """An LSTM whose initial state is computed from z, and which reads z beside every word.

    c_0 = W z, h_0 = tanh(c_0), as in the published set-ups (Bowman et al. 2016; He et al. 2019).

    Args:
        vocabulary_size: V.
        embedding_size: size of the word vectors.
        hidden_size: D.
        latent_size: Z; with 0 this is the plain LSTM language model.
        layers: number of stacked LSTMs.
        dropout: dropout rate on the word vectors, between layers and on the output states.
        variational_dropout: whether dropout on word vectors and output states is `VariationalDropout`; between layers
            it always has one mask for each token, as in PyTorch.
        recurrent_dropout: dropout rate on the hidden-to-hidden weights in training, with one mask for all steps and
            sentences of a batch (DropConnect, Merity et al. 2018).
        skip_connection: whether there is a `SkipConnection` from z to the output states.

    References:
        Regularizing and Optimizing LSTM Language Models (Merity et al. 2018), https://arxiv.org/abs/1708.02182
    """

    def __init__(
        self,
        *,
        vocabulary_size: Size,
        embedding_size: Size,
        hidden_size: Size,
        latent_size: Count,
        layers: Size = 1,
        dropout: Dropout = 0.0,
        variational_dropout: bool = False,
        recurrent_dropout: Dropout = 0.0,
        skip_connection: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.initial_cell = nn.Linear(latent_size, layers * hidden_size, bias=False) if latent_size else None
        self.lstm = nn.LSTM(
            embedding_size + latent_size,
            hidden_size,
            layers,
            batch_first=True,
            dropout=dropout if layers > 1 else 0,
        )
        self.dropout = _dropout(dropout, variational_dropout)
        self.recurrent_dropout = recurrent_dropout
        self.skip = SkipConnection(latent_size, hidden_size) if skip_connection and latent_size else None
        self.output_size = hidden_size

    def forward(self, inputs: Tensor, z: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """States (K, B, T, D), and the cache. State t depends on z and the inputs up to t.

        Args:
            inputs: ids, (B, T).
            z: (K, B, Z).
            cache: the cache that the call for the tokens before returned; None at the start.
        """
        embedded, vectors = _for_each_sample(self.dropout(self.embedding(inputs)), z)
        hidden, cell = (
            self._initial_state(vectors) if cache is None else (part.transpose(0, 1) for part in cache)
        )
        beside = vectors[:, None].expand(-1, embedded.shape[1], -1)
        states, (hidden, cell) = self._step_through(
            torch.cat([embedded, beside], dim=-1), (hidden.contiguous(), cell.contiguous())
        )
        states = self.dropout(states).unflatten(0, z.shape[:2])
        states = states if self.skip is None else self.skip(states, z)
        return states, (hidden.transpose(0, 1), cell.transpose(0, 1))

    def _step_through(
        self, inputs: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if not (self.training and self.recurrent_dropout):
            return self.lstm(inputs, state)
        weights = _drop_recurrent_weights(self.lstm, self.recurrent_dropout)
        return functional_call(self.lstm, weights, (inputs, state))

    def _initial_state(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """(h_0, c_0), each (layers, K·B, D), given z (K·B, Z)."""
        shape = (self.lstm.num_layers, len(vectors), self.lstm.hidden_size)
        if self.initial_cell is None:
            zeros = vectors.new_zeros(shape)
            return zeros, zeros
        cell = self.initial_cell(vectors).unflatten(1, (shape[0], shape[2])).transpose(0, 1)
        return cell.tanh(), cell


DILATIONS: dict[str, tuple[int, ...]] = {
    "small": (1, 2, 4),
    "medium": (1, 2, 4, 8, 16),
    "large": (1, 2, 4, 8, 16) * 2,
    "very-large": (1, 2, 4, 8, 16) * 3,
}
"""The dilations of Yang et al. 2017; their receptive fields are 15, 63, 125 and 187 tokens."""

Dilations = Annotated[str, one_of(DILATIONS)] | Annotated[list[Size], MinLen(1)]
"""A name in `DILATIONS`, or a list with the dilation of each block."""


@validated
class CausalBlock(nn.Module):
    """A residual block whose output at t depends on its inputs at t, t - dilation and t - 2 dilation.

    The block has a 1x1 convolution to half the channels, a dilated causal convolution and a 1x1 convolution back, each
    after a ReLU (Yang et al. 2017, figure 1). It uses layer norm. Some published code uses batch norm instead, which
    mixes positions and sentences.
    """

    width = 3

    def __init__(
        self, channels: Size, dilation: Size, dropout: Dropout, variational_dropout: bool = False
    ) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.reach = (self.width - 1) * dilation
        self.norm = nn.LayerNorm(channels)
        self.shrink = nn.Linear(channels, inner)
        self.convolution = nn.Conv1d(inner, inner, self.width, dilation=dilation)
        self.expand = nn.Linear(inner, channels)
        self.dropout = _dropout(dropout, variational_dropout)

    def forward(self, states: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """The states of the next layer, (N, T, C), and the past, (N, reach, C / 2).

        Args:
            states: states of the layer below, (N, T, C).
            past: the past that the call for the tokens before returned; None at the start.
        """
        shrunk = torch.relu(self.shrink(torch.relu(self.norm(states))))
        if past is None:
            past = shrunk.new_zeros(len(shrunk), self.reach, shrunk.shape[2])
        seen = torch.cat([past.to(shrunk.dtype), shrunk], dim=1)
        convolved = self.convolution(seen.transpose(1, 2)).transpose(1, 2)
        return states + self.dropout(self.expand(torch.relu(convolved))), seen[:, -self.reach :]


@validated
class DilatedConvolutionDecoder(nn.Module):
    """Dilated causal convolutions over the word vectors, to each of which z is appended (Yang et al. 2017).

    Args:
        vocabulary_size: V.
        embedding_size: size of the word vectors.
        hidden_size: number of channels, D; the convolutions inside the blocks have half as many.
        latent_size: Z; with 0 this is a convolutional language model.
        dilations: a name in `DILATIONS`, or a list with the dilation of each block.
        dropout: dropout rate on the word vectors, in each block and on the output states.
        variational_dropout: whether dropout is `VariationalDropout`.
        skip_connection: whether there is a `SkipConnection` from z to the output states.
    """

    def __init__(
        self,
        *,
        vocabulary_size: Size,
        embedding_size: Size,
        hidden_size: Size,
        latent_size: Count,
        dilations: Dilations = "small",
        dropout: Dropout = 0.0,
        variational_dropout: bool = False,
        skip_connection: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.dilations = DILATIONS[dilations] if isinstance(dilations, str) else tuple(dilations)
        self.projection = nn.Linear(embedding_size + latent_size, hidden_size)
        self.blocks = nn.ModuleList(
            CausalBlock(hidden_size, dilation, dropout, variational_dropout) for dilation in self.dilations
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.dropout = _dropout(dropout, variational_dropout)
        self.skip = SkipConnection(latent_size, hidden_size) if skip_connection and latent_size else None
        self.output_size = hidden_size

    @property
    def receptive_field(self) -> int:
        """Number of tokens on which a state depends, including the current one."""
        return 1 + (CausalBlock.width - 1) * sum(self.dilations)

    def forward(self, inputs: Tensor, z: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """States (K, B, T, D), and the cache. State t depends on z and the inputs up to t.

        Args:
            inputs: ids, (B, T).
            z: (K, B, Z).
            cache: the cache that the call for the tokens before returned; None at the start.
        """
        embedded, vectors = _for_each_sample(self.dropout(self.embedding(inputs)), z)
        beside = vectors[:, None].expand(-1, embedded.shape[1], -1)
        states = self.projection(torch.cat([embedded, beside], dim=-1))
        pasts = []
        for block, past in zip(self.blocks, cache or [None] * len(self.blocks), strict=True):
            states, past = block(states, past)
            pasts.append(past)
        states = self.dropout(functional.relu(self.norm(states))).unflatten(0, z.shape[:2])
        return (states if self.skip is None else self.skip(states, z)), tuple(pasts)


DECODERS: dict[str, type[nn.Module]] = {
    "lstm": LSTMDecoder,
    "dilated_convolution": DilatedConvolutionDecoder,
}
"""The decoders, by the kind that a configuration names."""
