"""Token ids and z become decoder states.

Every decoder has one method, ``forward(inputs, z, cache)``, for the parallel pass over whole sentences and for one
more token alike: with the cache that it returned for a prefix, it goes on behind that prefix at a cost that does
not depend on the prefix's length. So there is no second implementation that could differ.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import MinLen
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from textvae.support.options import Count, Dropout, Size, one_of

Cache = tuple[Tensor, ...]
"""What a decoder remembers of a prefix: tensors whose first axis is the sentence."""


def drop_words(ids: Tensor, mask: Tensor, rate: float, *, unknown_id: int, keep_id: int) -> Tensor:
    """``ids`` with each word replaced by ``unknown_id`` with probability ``rate`` (Bowman et al. 2016, 3.1).

    Args:
        ids: decoder inputs, (B, T).
        mask: True on real tokens, (B, T); pads stay what they are.
        rate: the probability.
        unknown_id: what a dropped word becomes.
        keep_id: never replaced: BOS, which carries no word.
    """
    dropped = torch.rand(ids.shape, device=ids.device) < rate
    return ids.masked_fill(dropped & mask & (ids != keep_id), unknown_id)


def _for_each_sample(embedded: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """The word vectors (B, T, E) repeated for each of K samples, (K·B, T, E), and z (K, B, Z) as (K·B, Z)."""
    repeated = embedded.expand(len(z), *embedded.shape)
    return repeated.flatten(0, 1), z.flatten(0, 1).to(embedded.dtype)


class VariationalDropout(nn.Dropout1d):
    """Dropout with one mask for all tokens of a sentence, and not one for each (Gal & Ghahramani 2016).

    References:
        A Theoretically Grounded Application of Dropout in Recurrent Neural Networks (Gal & Ghahramani 2016),
        https://arxiv.org/abs/1512.05287
    """

    def forward(self, input: Tensor) -> Tensor:
        """``input`` (N, T, D), in training without some of the D in each of the N."""
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


def _dropout(rate: float, variational: bool) -> nn.Module:
    return VariationalDropout(rate) if variational else nn.Dropout(rate)


def _drop_recurrent_weights(lstm: nn.LSTM, rate: float) -> dict[str, Tensor]:
    """The weights that read the step before, of every layer, each weight 0 with probability ``rate``."""
    return {
        name: functional.dropout(weight, rate)
        for name, weight in lstm.named_parameters()
        if name.startswith("weight_hh")
    }


class SkipConnection(nn.Module):
    """z straight to the output layer, past the decoder's states (Skip-VAE, Dieng et al. 2019): states + W z.

    So the gradient of every word reaches z in one step, however much the states have come to rely on the words before.

    Args:
        latent_size: Z.
        output_size: D of the states.

    References:
        Avoiding Latent Variable Collapse with Generative Skip Models (Dieng et al. 2019),
        https://arxiv.org/abs/1807.04863
    """

    def __init__(self, latent_size: int, output_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(latent_size, output_size, bias=False)

    def forward(self, states: Tensor, z: Tensor) -> Tensor:
        """States (K, B, T, D) with W z added, for z (K, B, Z)."""
        return states + self.linear(z)[:, :, None]


class LSTMDecoder(nn.Module):
    """An LSTM whose first state is made from z, and that reads z beside every word.

    c_0 = W z, h_0 = tanh(c_0), as in the published set-ups (Bowman et al. 2016; He et al. 2019).

    Args:
        vocabulary_size: V.
        embedding_size: size of the word vectors.
        hidden_size: D.
        latent_size: Z; with 0 this is the plain LSTM language model.
        layers: number of stacked LSTMs.
        dropout: on the word vectors, between layers and on the output states.
        variational_dropout: whether that on word vectors and output states is `VariationalDropout`; between layers
            it is PyTorch's, a mask a token.
        recurrent_dropout: on the weights from step to step in training, with one mask for all steps and sentences of
            a batch (DropConnect, Merity et al. 2018).
        skip_connection: with a `SkipConnection` from z to the states.

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
        """States (K, B, T, D), the t-th a function of z and the inputs up to the t-th, and the cache behind them.

        Args:
            inputs: ids, (B, T).
            z: (K, B, Z).
            cache: what an earlier call returned for the tokens before these; None at the start.
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
        """(h_0, c_0), each (layers, K·B, D), for z of shape (K·B, Z)."""
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
"""The sizes of Yang et al. 2017, whose receptive fields are 15, 63, 125 and 187 tokens."""

Dilations = Annotated[str, one_of(DILATIONS)] | Annotated[list[Size], MinLen(1)]
"""A name of `DILATIONS`, or one dilation for each block."""


class CausalBlock(nn.Module):
    """A residual block whose output at t depends on t and two earlier steps, ``dilation`` and twice that before.

    1x1 convolution to half the channels, dilated causal convolution, 1x1 convolution back, each behind a ReLU
    (Yang et al. 2017, figure 1). Layer norm stands where some published code has batch norm, which would mix
    positions and sentences.
    """

    width = 3

    def __init__(
        self, channels: int, dilation: int, dropout: float, variational_dropout: bool = False
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
        """The next layer's states (N, T, C), and the past (N, reach, C / 2) that a later step needs of this one."""
        shrunk = torch.relu(self.shrink(torch.relu(self.norm(states))))
        if past is None:
            past = shrunk.new_zeros(len(shrunk), self.reach, shrunk.shape[2])
        seen = torch.cat([past.to(shrunk.dtype), shrunk], dim=1)
        convolved = self.convolution(seen.transpose(1, 2)).transpose(1, 2)
        return states + self.dropout(self.expand(torch.relu(convolved))), seen[:, -self.reach :]


class DilatedConvolutionDecoder(nn.Module):
    """Dilated causal convolutions over the words, each with z beside it (Yang et al. 2017).

    Args:
        vocabulary_size: V.
        embedding_size: size of the word vectors.
        hidden_size: number of channels, D; the convolutions inside the blocks have half as many.
        latent_size: Z; with 0 this is a convolutional language model.
        dilations: a name of `DILATIONS`, or the dilation of each block.
        dropout: on the word vectors, in each block and on the output states.
        variational_dropout: whether it is `VariationalDropout`.
        skip_connection: with a `SkipConnection` from z to the states.
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
        """How many tokens, the current one counted, a state depends on."""
        return 1 + (CausalBlock.width - 1) * sum(self.dilations)

    def forward(self, inputs: Tensor, z: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """States (K, B, T, D), the t-th a function of z and the inputs up to the t-th, and the cache behind them.

        Args:
            inputs: ids, (B, T).
            z: (K, B, Z).
            cache: what an earlier call returned for the tokens before these; None at the start.
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
"""What writes a sentence from z, by the kind that a configuration names."""
