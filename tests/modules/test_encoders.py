"""Tests of encoders: they read the whole sentence, with its order or without, and nothing after it.

(Pads: test_invariances.py.)
"""

import pytest
import tiny
import torch
from torch.nn import functional

from textvae.modules.encoders import ConvolutionEncoder, mean_of_real

ENCODERS = pytest.mark.parametrize("options", tiny.ENCODERS.values(), ids=tiny.ENCODERS)


def summary(model, batch):
    return model.encoder(batch.targets, batch.mask)


@ENCODERS
def test_every_word_matters(options):
    model, batch = tiny.model(**options), tiny.batch(5)
    vectors = model.encoder.embedding(batch.targets).detach().requires_grad_()
    model.encoder.embedding.forward = lambda ids: vectors
    summary(model, batch).sum().backward()
    assert (vectors.grad.abs().sum(-1) > 0).all()


@ENCODERS
def test_order_matters_but_to_a_bag_of_words(options):
    model = tiny.model(**options)
    one, other = tiny.collate([{"ids": [4, 5, 6, 7]}]), tiny.collate([{"ids": [7, 6, 5, 4]}])
    same = torch.allclose(summary(model, one), summary(model, other))
    assert same == (options["encoder_type"] == "bag_of_words")


@ENCODERS
def test_width_of_the_summary_is_declared(options):
    model, batch = tiny.model(**options), tiny.batch()
    assert summary(model, batch).shape == (4, model.encoder.output_size)


@pytest.mark.parametrize("both_ways", [False, True], ids=["forward", "both-ways"])
def test_lstm_summary_is_its_last_states(both_ways):
    """For one sentence without pads, the summary is the last state that torch returns."""
    model, batch = tiny.model(bidirectional=both_ways), tiny.batch(5)
    _, (last, _) = model.encoder.lstm(model.encoder.embedding(batch.targets))
    torch.testing.assert_close(summary(model, batch), last.transpose(0, 1).flatten(1))


def test_convolution_summary_by_hand():
    model, batch = tiny.model(encoder_type="convolution", encoder_layers=1), tiny.batch(4)
    encoder = model.encoder
    states = encoder.projection(encoder.embedding(batch.targets))[0]
    before, behind = functional.pad(states, (0, 0, 1, 0))[:-1], functional.pad(states, (0, 0, 0, 1))[1:]
    weight = encoder.convolutions[0].weight
    convolved = sum(part @ weight[..., tap].T for tap, part in enumerate((before, states, behind)))
    expected = (states + torch.relu(convolved + encoder.convolutions[0].bias)).amax(0)
    torch.testing.assert_close(summary(model, batch)[0], expected)


def test_pads_do_not_count_in_a_mean():
    states = torch.tensor([[[1.0], [3], [5]], [[1], [3], [float("inf")]]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    assert mean_of_real(states, mask).tolist() == [[3], [2]]


def test_bag_of_words_summary_by_hand():
    """If word vectors are one-hot, their mean is the share of each word, including EOS."""
    model = tiny.model(encoder_type="bag_of_words", embedding_size=tiny.VOCABULARY)
    encoder = model.encoder
    encoder.embedding.weight.data = torch.eye(tiny.VOCABULARY, dtype=torch.double)
    shares = torch.zeros(tiny.VOCABULARY, dtype=torch.double)
    shares[torch.tensor([4, 5, model.config.eos_token_id])] = torch.tensor([0.5, 0.25, 0.25]).double()
    expected = torch.relu(encoder.layers[0].weight @ shares + encoder.layers[0].bias)
    torch.testing.assert_close(summary(model, tiny.collate([{"ids": [4, 5, 4]}]))[0], expected)


@pytest.mark.slow  # compiles
@pytest.mark.filterwarnings("default")
def test_gradients_of_compiled_convolutions_in_bf16_are_those_of_the_others():
    encoder = ConvolutionEncoder(vocabulary_size=30, embedding_size=16, hidden_size=16)
    ids = torch.randint(1, 30, (8, 7))
    mask = torch.arange(7) < torch.arange(1, 9).clamp_max(7)[:, None]

    def gradients(read):
        encoder.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            summary = read(ids, mask)
        summary.float().square().sum().backward()
        return {name: weight.grad.clone() for name, weight in encoder.named_parameters()}

    torch.testing.assert_close(gradients(torch.compile(encoder)), gradients(encoder), rtol=0.05, atol=0.05)
