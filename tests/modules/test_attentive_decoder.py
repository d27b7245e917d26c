"""The decoder with attention, written out."""

import pytest
import torch

from textvae.modules.attention import DotAttention
from textvae.modules.attentive_decoder import AttentiveDecoder


@pytest.mark.parametrize("layers", [1, 2])
def test_states_by_hand(layers):
    """c_0 = W [summary; z], h_0 = tanh(c_0), h = LSTM([x; z]), state = tanh(W_h h + W_c c), without pads."""
    decoder = AttentiveDecoder(
        vocabulary_size=9,
        embedding_size=4,
        hidden_size=6,
        latent_size=2,
        attention=DotAttention(6),
        beside=(6,),
        layers=layers,
    ).double()
    mask = torch.tensor([[True, True, True], [True, False, False]])
    source = decoder.attention.source(5 * torch.randn(2, 3, 6).double(), mask)
    inputs, z = torch.randint(9, (2, 5)), torch.randn(3, 2, 2).double()
    found, _ = decoder(inputs, z, source)
    for b, length in enumerate((3, 1)):
        real = source.states[b, :length]
        for k in range(3):
            cell = decoder.initial_cell(torch.cat([real.mean(0), z[k, b]])).view(layers, 1, 6)
            words = torch.cat([decoder.embedding(inputs[b]), z[k, b].expand(5, 2)], -1)
            hidden, _ = decoder.lstm(words[None], (cell.tanh(), cell))
            contexts = (hidden[0] @ real.T).softmax(-1) @ real
            expected = decoder.of_hidden(hidden[0]) + contexts @ decoder.of_beside[0].weight.T
            torch.testing.assert_close(found[k, b], expected.tanh())
