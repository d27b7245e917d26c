"""Tests of the fused soft-max: its values and gradients equal those of the plain one."""

import math

import pytest
import tiny
import torch

from textvae.modules import output_layer
from textvae.modules.output_layer import BagOfWords, OutputLayer

SLABS = pytest.mark.parametrize("rows", [1, 3, 512], ids=["one-token", "three-tokens", "all-tokens"])


def plain(layer, states, targets, mask):
    """The same log-likelihood in three lines that store all logits."""
    logits = layer.logits(states)
    tokens = logits.log_softmax(-1).gather(-1, targets.expand(len(states), -1, -1)[..., None]).squeeze(-1)
    return tokens.masked_fill(~mask, 0).sum(-1)


@pytest.fixture
def layer():
    return OutputLayer(5, 7).double()


@pytest.fixture
def inputs():
    """States of 2 samples and 3 sentences; the mask of the targets also has a hole."""
    states = torch.randn(2, 3, 4, 5, dtype=torch.double, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 0, 1, 0]], dtype=torch.bool)
    return states, torch.randint(7, (3, 4)), mask


def gradients(function, layer, states, upstream):
    return torch.autograd.grad(function, [states, *layer.parameters()], upstream)


@SLABS
def test_value_is_that_of_log_softmax(monkeypatch, layer, inputs, rows):
    monkeypatch.setattr(output_layer, "_slab_rows", lambda weight: rows)
    torch.testing.assert_close(layer.log_likelihood(*inputs), plain(layer, *inputs))


@SLABS
@pytest.mark.parametrize("weight_size", [None, 3], ids=["direct", "projected"])
@pytest.mark.parametrize(
    "upstream",
    [torch.ones(2, 3), torch.full((2, 3), -0.25), torch.arange(6.0).view(2, 3) - 2, torch.zeros(2, 3)],
    ids=["ones", "mean", "uneven", "zeros"],
)
def test_gradient_is_that_of_log_softmax(monkeypatch, inputs, rows, weight_size, upstream):
    monkeypatch.setattr(output_layer, "_slab_rows", lambda weight: rows)
    layer, states = OutputLayer(5, 7, weight_size).double(), inputs[0]
    expected = gradients(plain(layer, *inputs), layer, states, upstream.double())
    found = gradients(layer.log_likelihood(*inputs), layer, states, upstream.double())
    torch.testing.assert_close(found, expected)


def test_gradient_is_the_numerical_one(layer):
    states, targets = torch.randn(6, 5, dtype=torch.double, requires_grad=True), torch.randint(7, (6,))
    arguments = (states, layer.linear.weight, layer.linear.bias, targets, True)
    assert torch.autograd.gradcheck(output_layer._TokenLogLikelihood.apply, arguments)


def test_gradients_are_computed_only_where_they_are_recorded(monkeypatch, layer, inputs):
    """Otherwise evaluation would compute two needless products: an autograd Function cannot see `torch.no_grad`."""
    slabs, asked = output_layer._slabs, []
    monkeypatch.setattr(
        output_layer, "_slabs", lambda *given: (asked.append(given[-1] is not None), slabs(*given))[1]
    )
    recorded = layer.log_likelihood(*inputs)
    with torch.no_grad():
        torch.testing.assert_close(layer.log_likelihood(*inputs), recorded)
    assert asked == [True, False]


def test_second_derivative_is_refused(layer, inputs):
    total = layer.log_likelihood(*inputs).square().sum()
    (first,) = torch.autograd.grad(total, layer.linear.weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_backward_twice_gives_the_same(layer, inputs):
    total = layer.log_likelihood(*inputs).sum()
    first = torch.autograd.grad(total, list(layer.parameters()), retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(total, list(layer.parameters())), first)


@pytest.mark.parametrize("frozen", ["linear.weight", "linear.bias", None], ids=str)
def test_frozen_parameters_get_no_gradient(layer, inputs, frozen):
    states, *rest = inputs
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_(name != frozen)
    layer.log_likelihood(states.detach(), *rest).sum().backward()
    assert [name for name, parameter in layer.named_parameters() if parameter.grad is None] == [
        frozen
    ] * bool(frozen)


def test_masked_targets_may_be_anything(layer, inputs):
    """The ids of pads are not used, so they may be outside the vocabulary, such as -100."""
    states, targets, mask = inputs
    expected = layer.log_likelihood(*inputs)
    torch.testing.assert_close(layer.log_likelihood(states, targets.masked_fill(~mask, -100), mask), expected)
    assert torch.autograd.grad(expected.sum(), states)[0][:, ~mask].abs().sum() == 0


def test_three_tokens_by_hand():
    """The logits log(1, 2, 5), log(1, 1, 2), log(3, 1, 1) give the probabilities n/8, n/4 and n/5."""
    layer = OutputLayer(3, 3)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.eye(3))
        layer.linear.bias.zero_()
    states = torch.tensor([[1.0, 2, 5], [1, 1, 2], [3, 1, 1]]).log()[None, None]
    found = layer.log_likelihood(states, torch.tensor([[2, 0, 0]]), torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(found.exp(), torch.tensor([[5 / 8 * 1 / 4 * 3 / 5]]))


def test_large_logits_do_not_overflow(layer, inputs):
    states, targets, mask = inputs
    found = layer.log_likelihood(states * 1e5, targets, mask)
    assert torch.isfinite(found).all()
    assert torch.isfinite(torch.autograd.grad(found.sum(), states)[0]).all()


@pytest.mark.parametrize("upstream", [torch.ones(2, 3), torch.arange(6.0).view(2, 3)], ids=["ones", "uneven"])
def test_bf16_autocast_is_close(inputs, upstream):
    layer, (states, targets, mask) = OutputLayer(5, 7), inputs
    states = states.float().detach().requires_grad_()
    exact = plain(layer, states, targets, mask)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer.log_likelihood(states, targets, mask)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=0.02, atol=0.02)
    expected = gradients(exact, layer, states, upstream)
    for one, other in zip(gradients(found, layer, states, upstream), expected, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.05)


def test_autocast_leaves_float64_alone(layer, inputs):
    upstream = torch.ones(2, 3)
    exact = layer.log_likelihood(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer.log_likelihood(*inputs)
    torch.testing.assert_close(found, exact)
    torch.testing.assert_close(
        gradients(found, layer, inputs[0], upstream), gradients(exact, layer, inputs[0], upstream)
    )


def test_never_more_logits_at_once_than_a_slab(monkeypatch, layer, inputs):
    monkeypatch.setattr(output_layer, "_slab_rows", lambda weight: 3)
    rows, product = [], torch.mm

    def counting(left, right):
        rows.append((left.shape, right.shape))
        return product(left, right)

    monkeypatch.setattr(torch, "mm", counting)
    layer.log_likelihood(*inputs)
    logits = [left[0] for left, right in rows if right[1] == 7]
    assert sum(logits) == 2 * int(inputs[2].sum())
    assert max(logits) == 3


def test_a_slab_is_small_but_worth_reading_the_weight_for():
    for words, rows in ((1_000, 2**21 // 1_000), (10_000, 512), (100_000, 512)):
        assert output_layer._slab_rows(torch.empty(words, 1)) == rows


def test_tied_to_smaller_word_vectors():
    model = tiny.model(tie_word_embeddings=True)
    assert model.output_layer.linear.weight is model.decoder.embedding.weight
    assert model.output_layer.logits(torch.randn(2, 8).double()).shape == (2, tiny.VOCABULARY)


@SLABS
def test_likeliest_token_is_that_of_the_largest_logit(monkeypatch, layer, rows):
    monkeypatch.setattr(output_layer, "_slab_rows", lambda weight: rows)
    states = torch.randn(9, 5).double()
    assert torch.equal(layer.likeliest(states), layer.logits(states).argmax(-1))


@pytest.mark.parametrize("hidden_size", [4, None], ids=["hidden", "linear"])
def test_bag_of_words_by_hand(hidden_size):
    """Given z, the words are independent, so their order does not matter; pads do not count."""
    bag = BagOfWords(latent_size=2, vocabulary_size=7, hidden_size=hidden_size).double()
    z = torch.randn(3, 2, 2).double()
    targets = torch.tensor([[5, 6, 2], [4, 2, 0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    words = bag.output(bag.hidden(z).tanh() if hidden_size else z).log_softmax(-1)
    expected = torch.stack(
        [words[:, 0, 5] + words[:, 0, 6] + words[:, 0, 2], words[:, 1, 4] + words[:, 1, 2]], 1
    )
    torch.testing.assert_close(bag.log_likelihood(z, targets, mask), expected)
    torch.testing.assert_close(bag.log_likelihood(z, targets[:, [1, 0, 2]], mask)[:, 0], expected[:, 0])


def test_words_weighted_as_in_tf_idf():
    """A word of all sentences gets a low weight, a repeated word less than twice the weight; the mean is 1."""
    bag = BagOfWords(latent_size=2, vocabulary_size=7, hidden_size=4, weights="tf_idf").double()
    z = torch.randn(3, 2, 2).double()
    targets = torch.tensor([[5, 5, 6, 2], [4, 2, 0, 0]])
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    found = bag.log_likelihood(z, targets, mask)
    assert (bag.documents, bag.frequencies.tolist()) == (2, [0, 0, 2, 0, 1, 1, 1])

    rare, twice, everywhere = 1 + math.log(3 / 2), 1 + math.log(2), 1.0
    words = bag.output(bag.hidden(z).tanh()).log_softmax(-1)
    first = rare * (twice * words[:, 0, 5] + words[:, 0, 6]) + everywhere * words[:, 0, 2]
    second = rare * words[:, 1, 4] + everywhere * words[:, 1, 2]
    scale = 6 / (rare * (twice + 2) + 2 * everywhere)
    torch.testing.assert_close(found, scale * torch.stack([first, second], 1))

    bag.log_likelihood(z, targets, mask)
    assert (bag.documents, bag.frequencies[2]) == (4, 4)
    bag.eval().log_likelihood(z, targets, mask)
    assert bag.documents == 4
