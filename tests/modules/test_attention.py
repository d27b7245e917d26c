"""Tests of attention: weights and contexts against loops over queries and keys."""

import pytest
import torch

from textvae.modules.attention import AdditiveAttention, DotAttention, GeneralAttention

KINDS = {"additive": AdditiveAttention, "general": GeneralAttention, "dot": DotAttention}
EACH = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def score(attention, query, state):
    """The score of one query and one state, each (D,), written as in the papers."""
    if isinstance(attention, DotAttention):
        return query @ state
    key = attention.projection.weight @ state
    if isinstance(attention, GeneralAttention):
        return query @ key
    return attention.vector.weight[0] @ torch.tanh(
        key + attention.query.weight @ query + attention.query.bias
    )


@pytest.fixture
def source():
    """Two sentences, of four tokens and of two, (B, S, D)."""
    return torch.randn(2, 4, 3).double(), torch.tensor([[True] * 4, [True, True, False, False]])


@EACH
@pytest.mark.parametrize("samples", [1, 2])
def test_contexts_are_those_of_a_loop(kind, samples, source):
    states, mask = source
    attention, queries = kind(3).double(), torch.randn(samples, 2, 5, 3).double()
    contexts, weights = attention(queries, attention.source(states, mask))
    assert (contexts.shape, weights.shape) == ((samples, 2, 5, 3), (samples, 2, 5, 4))
    for k in range(samples):
        for b, length in enumerate((4, 2)):
            for t in range(5):
                real = states[b, :length]
                scores = torch.stack([score(attention, queries[k, b, t], state) for state in real])
                expected = scores.softmax(0)
                torch.testing.assert_close(weights[k, b, t, :length], expected)
                torch.testing.assert_close(contexts[k, b, t], expected @ real)


@EACH
def test_pads_have_the_weight_zero(kind, source):
    states, mask = source
    states = states.requires_grad_()
    attention = kind(3).double()
    contexts, weights = attention(torch.randn(1, 2, 5, 3).double(), attention.source(states, mask))
    assert torch.equal(weights[0, 1, :, 2:], torch.zeros(5, 2).double())
    contexts.square().sum().backward()
    assert torch.equal(states.grad[1, 2:], torch.zeros(2, 3).double())
    assert (states.grad[0].abs().sum(-1) > 0).all()


def test_the_summary_is_the_mean_of_the_real_states(source):
    states, mask = source
    summary = DotAttention(3).source(states, mask).summary
    torch.testing.assert_close(summary, torch.stack([states[0].mean(0), states[1, :2].mean(0)]))


@EACH
def test_keys_are_made_once(kind, source):
    attention, calls = kind(3).double(), []
    attention.projection.register_forward_hook(lambda *_: calls.append(1))
    read = attention.source(*source)
    for _ in range(3):
        attention(torch.randn(1, 2, 1, 3).double(), read)
    assert len(calls) == 1
