"""Encoders: from token ids to a summary vector of the sentence."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from textvae.support.options import OddSize, Size, validated


def mean_of_real(states: Tensor, mask: Tensor) -> Tensor:
    """The mean over the states of each sentence's real tokens, (B, D).

    Args:
        states: (B, T, D).
        mask: True on real tokens, (B, T); every sentence has one or more.
    """
    return states.masked_fill(~mask[..., None], 0).sum(1) / mask.sum(1, keepdim=True)


@validated
class LSTMEncoder(nn.Module):
    """An LSTM whose last state is the summary of the sentence.

    Args:
        vocabulary_size: V.
        embedding_size: size of the word vectors.
        hidden_size: size of the hidden state of each direction.
        layers: number of stacked LSTMs.
        bidirectional: whether a second LSTM reads the sentence backwards; the two last states are concatenated.
    """

    def __init__(
        self,
        *,
        vocabulary_size: Size,
        embedding_size: Size,
        hidden_size: Size,
        layers: Size = 1,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.lstm = nn.LSTM(
            embedding_size, hidden_size, layers, batch_first=True, bidirectional=bidirectional
        )
        self.output_size = hidden_size * (2 if bidirectional else 1)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Summaries (B, D): the top layer's state after the last real token.

        Args:
            ids: the sentences with EOS, (B, T).
            mask: True on real tokens, (B, T); every sentence has one or more.
        """
        embedded = self.embedding(ids)
        lengths = mask.sum(1)
        if self.lstm.bidirectional:
            # The backward direction must start at the last real token, not at the pads.
            packed = pack_padded_sequence(embedded, lengths.cpu(), batch_first=True, enforce_sorted=False)
            _, (last, _) = self.lstm(packed)
            return torch.cat([last[-2], last[-1]], dim=-1)
        # Pads come after the state that is used, so they cannot change it, and the call without packing is faster.
        states, _ = self.lstm(embedded)
        return states[torch.arange(len(ids), device=ids.device), lengths - 1]


@validated
class ConvolutionEncoder(nn.Module):
    """Convolutions with residual connections over the sentence, then a maximum over time (Kim 2014).

    Args:
        vocabulary_size: V.
        embedding_size: size of the word vectors.
        hidden_size: number of channels.
        layers: number of convolutions.
        width: number of tokens that each convolution reads, odd.
    """

    def __init__(
        self,
        *,
        vocabulary_size: Size,
        embedding_size: Size,
        hidden_size: Size,
        layers: Size = 1,
        width: OddSize = 3,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.projection = nn.Linear(embedding_size, hidden_size)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(hidden_size, hidden_size, width, padding=width // 2) for _ in range(layers)
        )
        self.output_size = hidden_size

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Summaries (B, D): the maximum of each channel over the real tokens.

        Args:
            ids: the sentences with EOS, (B, T).
            mask: True on real tokens, (B, T); every sentence has one or more.
        """
        pads = ~mask[:, None, :]
        # Pads are set to 0 before every convolution, like the padding beyond the ends of the sentence.
        states = self.projection(self.embedding(ids)).transpose(1, 2).masked_fill(pads, 0)
        for convolution in self.convolutions:
            states = (states + torch.relu(convolution(states))).masked_fill(pads, 0)
        # Not amax, whose gradients are NaN where torch 2 compiles it for bf16 on CPUs.
        return states.masked_fill(pads, -torch.inf).max(2).values


@validated
class BagOfWordsEncoder(nn.Module):
    """The mean of the word vectors, followed by layers (deep averaging network, Iyyer et al. 2015).

    It ignores the order of the words, so a document of any length costs little more than looking up its word vectors.

    Args:
        vocabulary_size: V.
        embedding_size: size of the word vectors.
        hidden_size: size of each layer.
        layers: number of layers, each followed by a ReLU.
    """

    def __init__(
        self, *, vocabulary_size: Size, embedding_size: Size, hidden_size: Size, layers: Size = 1
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        widths = [embedding_size] + [hidden_size] * layers
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.output_size = widths[-1]

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Summaries (B, D).

        Args:
            ids: the sentences with EOS, (B, T).
            mask: True on real tokens, (B, T); every sentence has one or more.
        """
        states = mean_of_real(self.embedding(ids), mask)
        for layer in self.layers:
            states = torch.relu(layer(states))
        return states


ENCODERS: dict[str, type[nn.Module]] = {
    "lstm": LSTMEncoder,
    "convolution": ConvolutionEncoder,
    "bag_of_words": BagOfWordsEncoder,
}
"""The encoders, by the kind that a configuration names."""
