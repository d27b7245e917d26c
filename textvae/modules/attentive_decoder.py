"""The decoder with attention: from token ids, z and a source to decoder states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from textvae.modules.attention import Attention, Source
from textvae.modules.decoders import Cache
from textvae.support.options import Count, Dropout, Size, validated


@validated
class AttentiveDecoder(nn.Module):
    """An LSTM over the target, whose states then attend to the source (Luong et al. 2015, global attention).

        h_t = LSTM([x_t; z], h_(t-1)),    c_0 = W [summary of the source; z],  h_0 = tanh(c_0)
        c_t = attention(h_t, source)
        state_t = tanh(W_h h_t + W_c c_t)

    The LSTM does not read the contexts (Luong et al. also try to feed state_t back to it). Therefore a sentence takes
    one call of `nn.LSTM` and one call of the attention for all steps, in training and in evaluation.

    If z has a value at each step, it replaces c_t, or is added beside it, in the last line only. Therefore it needs no
    loop here, and the LSTM runs once for any number of samples.

    Args:
        vocabulary_size: V.
        embedding_size: size of the word vectors.
        hidden_size: D, size of the hidden state and of the source's states.
        latent_size: Z, if the LSTM reads z beside every word; 0: it reads no z.
        attention: attention of h to the source.
        beside: sizes of the inputs of `write` other than h.
        layers: number of stacked LSTMs.
        dropout: dropout rate on the word vectors, between layers and on the output states.

    References:
        Effective Approaches to Attention-based Neural Machine Translation (Luong et al. 2015),
        https://arxiv.org/abs/1508.04025
    """

    def __init__(
        self,
        *,
        vocabulary_size: Size,
        embedding_size: Size,
        hidden_size: Size,
        latent_size: Count,
        attention: Attention,
        beside: Sequence[int],
        layers: Size = 1,
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.initial_cell = nn.Linear(hidden_size + latent_size, layers * hidden_size)
        self.lstm = nn.LSTM(
            embedding_size + latent_size,
            hidden_size,
            layers,
            batch_first=True,
            dropout=dropout if layers > 1 else 0,
        )
        self.attention = attention
        self.of_hidden = nn.Linear(hidden_size, hidden_size)
        self.of_beside = nn.ModuleList(nn.Linear(size, hidden_size, bias=False) for size in beside)
        self.dropout = nn.Dropout(dropout)
        self.output_size = hidden_size

    def forward(
        self, inputs: Tensor, z: Tensor, source: Source, cache: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        """States (K, B, T, D), and the cache. State t depends on the source, z and the inputs up to t.

        Args:
            inputs: ids, (B, T).
            z: (K, B, Z).
            source: B source sentences.
            cache: the cache that the call for the tokens before returned; None at the start.
        """
        hidden, contexts, cache = self.read(inputs, z, source, cache)
        return self.write(hidden, contexts), cache

    def read(
        self, inputs: Tensor, z: Tensor, source: Source, cache: Cache | None = None
    ) -> tuple[Tensor, Tensor, Cache]:
        """The LSTM states h and contexts c, each (K, B, T, D), and the cache; see `forward`."""
        words = self.dropout(self.embedding(inputs))
        beside = z.to(words.dtype)[:, :, None].expand(-1, -1, inputs.shape[1], -1)
        vectors = torch.cat([words.expand(len(z), -1, -1, -1), beside], -1).flatten(0, 1)
        last, cell = self._initial_state(source, z) if cache is None else (p.transpose(0, 1) for p in cache)
        hidden, (last, cell) = self.lstm(vectors, (last.contiguous(), cell.contiguous()))
        hidden = hidden.unflatten(0, z.shape[:2])
        contexts, _ = self.attention(hidden, source)
        return hidden, contexts, (last.transpose(0, 1), cell.transpose(0, 1))

    def write(self, hidden: Tensor, *beside: Tensor) -> Tensor:
        """States (K, B, T, D), made from h and the other inputs.

        Args:
            hidden: h, (K, B, T, D) or (1, B, T, D).
            *beside: the other inputs, such as contexts or z, (K, B, T, size) or (1, B, T, size).
        """
        total = self.of_hidden(hidden)
        for layer, given in zip(self.of_beside, beside, strict=True):
            total = total + layer(given.to(hidden.dtype))
        return self.dropout(total.tanh())

    def _initial_state(self, source: Source, z: Tensor) -> tuple[Tensor, Tensor]:
        """(h_0, c_0), each (layers, K·B, D), given z (K, B, Z)."""
        summary = source.summary
        given = torch.cat([summary.expand(len(z), -1, -1), z.to(summary.dtype)], -1).flatten(0, 1)
        cell = self.initial_cell(given).unflatten(1, (self.lstm.num_layers, -1)).transpose(0, 1)
        return cell.tanh(), cell


ATTENTIVE_DECODERS: dict[str, type[nn.Module]] = {"lstm": AttentiveDecoder}
"""The decoders with attention, by the kind that a configuration names."""
