"""Tests of the source encoders: pads do not change the states of real tokens."""

import math

import pytest
import torch

from textvae.modules import source_encoders
from textvae.modules.source_encoders import LSTMStates, TransformerStates

KINDS = {"lstm": LSTMStates, "transformer": TransformerStates}
EACH = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
LAYERS = pytest.mark.parametrize("layers", [1, 2])


def encoder(kind, layers=1, size=8):
    return kind(embedding_size=5, hidden_size=size, layers=layers).double().eval()


@EACH
@LAYERS
def test_a_batch_gives_what_its_sentences_give_alone(kind, layers):
    part, vectors, lengths = encoder(kind, layers), torch.randn(3, 6, 5).double(), [4, 1, 6]
    together = part(vectors, torch.arange(6) < torch.tensor(lengths)[:, None])
    assert together.shape == (3, 6, 8)
    for row, length in enumerate(lengths):
        alone = part(vectors[row : row + 1, :length], torch.ones(1, length, dtype=torch.bool))
        torch.testing.assert_close(together[row, :length], alone[0])


@EACH
def test_every_state_depends_on_every_token(kind):
    part, vectors = encoder(kind), torch.randn(1, 4, 5).double().requires_grad_()
    states = part(vectors, torch.ones(1, 4, dtype=torch.bool))
    for state in states[0]:
        (gradient,) = torch.autograd.grad(state.square().sum(), vectors, retain_graph=True)
        assert (gradient.abs().sum(-1) > 0).all()


@EACH
def test_the_order_of_tokens_matters(kind):
    part, vectors = encoder(kind), torch.randn(1, 4, 5).double()
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert not torch.allclose(part(vectors.flip(1), mask).flip(1), part(vectors, mask))


@pytest.mark.parametrize("size", [6, 7])
def test_positions_by_hand(size):
    """Sines, then cosines, of t / 10000^(i / half)."""
    half = (size + 1) // 2
    found = source_encoders._sinusoids(torch.zeros(1, 5, size))
    for t in range(5):
        angles = [t / 10_000 ** (place / half) for place in range(half)]
        expected = [*map(math.sin, angles), *map(math.cos, angles)][:size]
        torch.testing.assert_close(found[t], torch.tensor(expected))


@pytest.mark.parametrize("size", [1, 6, 7, 12])
def test_any_size_has_heads_and_positions(size):
    part = encoder(TransformerStates, size=size)
    assert part(torch.randn(2, 3, 5).double(), torch.ones(2, 3, dtype=torch.bool)).shape == (2, 3, size)
