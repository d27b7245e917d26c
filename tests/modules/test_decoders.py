"""Tests of decoders: no state sees later words, the published receptive fields, cache against parallel pass."""

import copy

import pytest
import tiny
import torch
from torch import nn

from textvae.modules.decoders import (
    DILATIONS,
    CausalBlock,
    DilatedConvolutionDecoder,
    LSTMDecoder,
    VariationalDropout,
    drop_words,
)

FIELDS = {"small": 15, "medium": 63, "large": 125, "very-large": 187}
SIZES = {"vocabulary_size": tiny.VOCABULARY, "embedding_size": 4, "hidden_size": 6}
DECODERS = {
    "lstm": lambda **sizes: LSTMDecoder(**sizes),
    "lstm-2": lambda **sizes: LSTMDecoder(**sizes, layers=2),
    "lstm-skip": lambda **sizes: LSTMDecoder(**({"skip_connection": True} | sizes)),
} | {
    name: lambda dilations=dilations, **sizes: DilatedConvolutionDecoder(**sizes, dilations=dilations)
    for name, dilations in DILATIONS.items()
}
EACH = pytest.mark.parametrize("kind", DECODERS)


def decoder_of(kind, latent_size=2, **sizes):
    return DECODERS[kind](**(SIZES | sizes), latent_size=latent_size).double().eval()


def ids(sentences, length):
    return torch.randint(tiny.VOCABULARY, (sentences, length))


def influence(decoder, z, length, position):
    """The norm of d state_position / d word vector_t for each t, (T,)."""
    vectors = torch.randn(1, length, SIZES["embedding_size"], dtype=torch.double, requires_grad=True)
    decoder.embedding.forward = lambda _: vectors
    decoder(ids(1, length), z)[0][0, 0, position].sum().backward()
    return vectors.grad[0].abs().sum(-1)


@EACH
@pytest.mark.parametrize("steps", [(1,) * 12, (5, 1, 6), (12,)], ids=["one-by-one", "in-parts", "at-once"])
def test_steps_with_the_cache_give_the_parallel_pass(kind, steps):
    decoder, inputs, z = decoder_of(kind), ids(3, 12), torch.randn(2, 3, 2).double()
    parallel, _ = decoder(inputs, z)
    parts, cache = [], None
    for part in inputs.split(steps, 1):
        states, cache = decoder(part, z, cache)
        parts.append(states)
    torch.testing.assert_close(torch.cat(parts, 2), parallel)


@EACH
def test_cache_does_not_grow(kind):
    decoder, z, cache = decoder_of(kind), torch.randn(1, 3, 2).double(), None
    sizes = []
    for _ in range(5):
        _, cache = decoder(ids(3, 1), z, cache)
        sizes.append([tensor.shape for tensor in cache])
    assert sizes == [sizes[0]] * 5
    assert all(shape[0] == 3 for shape in sizes[0]), "the first axis is the sentence"


@EACH
def test_nothing_sees_the_future(kind):
    seen = influence(decoder_of(kind), torch.randn(1, 1, 2).double(), length=12, position=6)
    assert (seen[7:] == 0).all()
    assert seen[6] > 0


@pytest.mark.parametrize("kind", FIELDS)
def test_receptive_field_is_the_published_one(kind):
    # The decoder is so wide that no tap of a convolution has only units that a ReLU sets to 0.
    decoder, field = decoder_of(kind, hidden_size=48), FIELDS[kind]
    assert decoder.receptive_field == field
    seen = influence(decoder, torch.randn(1, 1, 2).double(), length=field + 5, position=-1)
    assert (seen[-field:] > 0).all()
    assert (seen[:-field] == 0).all()


def test_lstm_sees_the_whole_prefix():
    assert (influence(decoder_of("lstm"), torch.randn(1, 1, 2).double(), length=20, position=-1) > 0).all()


@EACH
def test_every_state_depends_on_z(kind):
    decoder, z = decoder_of(kind), torch.randn(1, 1, 2, dtype=torch.double, requires_grad=True)
    states, _ = decoder(ids(1, 6), z)
    for position in range(6):
        (gradient,) = torch.autograd.grad(states[0, 0, position].sum(), z, retain_graph=True)
        assert (gradient != 0).all()


@EACH
def test_without_z_it_is_a_language_model(kind):
    decoder = decoder_of(kind, latent_size=0)
    states, _ = decoder(ids(3, 4), torch.zeros(1, 3, 0).double())
    assert states.shape == (1, 3, 4, decoder.output_size)


def test_lstm_starts_from_z_as_published():
    """Each layer has c_0 = W z and h_0 = tanh(c_0), and the LSTM reads z beside every word."""
    decoder, inputs, z = decoder_of("lstm-2"), ids(3, 5), torch.randn(1, 3, 2).double()
    cell = (z[0] @ decoder.initial_cell.weight.T).view(3, 2, 6).transpose(0, 1).contiguous()
    beside = torch.cat([decoder.embedding(inputs), z[0][:, None].expand(3, 5, 2)], -1)
    expected, _ = decoder.lstm(beside, (cell.tanh(), cell))
    torch.testing.assert_close(decoder(inputs, z)[0][0], expected)


@EACH
def test_each_draw_of_z_has_its_own_states(kind):
    decoder, inputs, z = decoder_of(kind), ids(3, 5), torch.randn(2, 3, 2).double()
    expected = torch.cat([decoder(inputs, one)[0] for one in z.split(1)])
    torch.testing.assert_close(decoder(inputs, z)[0], expected)


def test_a_block_by_hand():
    """Its output at t is its input plus what layers make of t, t - 2 and t - 4; before the start there are zeros."""
    block, states = CausalBlock(6, 2, 0.0).double(), torch.randn(3, 7, 6).double()
    shrunk = block.shrink(nn.functional.layer_norm(states, (6,)).relu()).relu()
    seen = torch.cat([torch.zeros(3, 4, 3).double(), shrunk], 1)
    taps = block.convolution.weight.unbind(-1)
    convolved = block.convolution.bias + sum(
        seen[:, 2 * place : 2 * place + 7] @ tap.T for place, tap in enumerate(taps)
    )
    found, past = block(states, None)
    torch.testing.assert_close(found, states + block.expand(convolved.relu()))
    torch.testing.assert_close(past, shrunk[:, -4:])


# ---- variational dropout


def test_variational_dropout_has_one_mask_a_sentence():
    dropped = VariationalDropout(0.3)(torch.ones(200, 5, 50))
    kept = dropped[:, 0] > 0
    assert torch.equal(dropped > 0, kept[:, None].expand(-1, 5, -1)), "all tokens lose the same"
    assert len(kept.unique(dim=0)) == 200, "each sentence has its own mask"
    torch.testing.assert_close(dropped[dropped > 0], torch.full((int(kept.sum()) * 5,), 1 / 0.7))
    assert float(kept.double().mean()) == pytest.approx(0.7, abs=0.02)


def test_variational_dropout_is_off_at_evaluation():
    given = torch.randn(2, 3, 4)
    assert torch.equal(VariationalDropout(0.5).eval()(given), given)


@pytest.mark.parametrize("kind", ["lstm", "small"])
@pytest.mark.parametrize(("asked", "expected"), [(False, nn.Dropout), (True, VariationalDropout)])
def test_all_dropout_of_a_decoder_is_of_one_kind(kind, asked, expected):
    decoder = decoder_of(kind, dropout=0.5, variational_dropout=asked)
    dropouts = [module for module in decoder.modules() if isinstance(module, (nn.Dropout, nn.Dropout1d))]
    assert {type(module) for module in dropouts} == {expected}


def test_the_last_states_of_an_lstm_lose_the_same_throughout():
    decoder = decoder_of("lstm", dropout=0.5, variational_dropout=True).train()
    lost = decoder(ids(9, 20), torch.randn(1, 9, 2).double())[0] == 0
    assert lost.any()
    assert torch.equal(lost, lost[:, :, :1].expand_as(lost))


# ---- recurrent dropout


def with_dropped_weights(decoder, rate):
    """A copy of the decoder whose hidden-to-hidden weights are those that the next dropout draws leave."""
    twin = copy.deepcopy(decoder).eval()
    with torch.no_grad():
        for layer in range(twin.lstm.num_layers):
            weight = getattr(twin.lstm, f"weight_hh_l{layer}")
            weight.copy_(nn.functional.dropout(weight, rate))
    return twin


@pytest.mark.parametrize("kind", ["lstm", "lstm-2"])
@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_recurrent_dropout_takes_weights_for_all_steps_alike(kind, rate):
    decoder, inputs, z = decoder_of(kind, recurrent_dropout=rate), ids(3, 8), torch.randn(1, 3, 2).double()
    torch.manual_seed(1)
    twin = with_dropped_weights(decoder, rate)
    torch.manual_seed(1)
    found, _ = decoder.train()(inputs, z)
    torch.testing.assert_close(found, twin(inputs, z)[0])
    assert not torch.allclose(found, decoder.eval()(inputs, z)[0])


def test_recurrent_dropout_is_of_training_only():
    decoder, inputs, z = decoder_of("lstm", recurrent_dropout=0.5), ids(3, 8), torch.randn(1, 3, 2).double()
    before = copy.deepcopy(decoder.state_dict())
    expected, _ = decoder(inputs, z)
    drawn = [decoder.train()(inputs, z)[0] for _ in range(2)]
    assert not torch.allclose(*drawn), "each batch has its own mask"
    assert torch.equal(decoder.eval()(inputs, z)[0], expected)
    torch.testing.assert_close(decoder.state_dict(), before, rtol=0, atol=0)


def test_a_dropped_weight_has_no_gradient():
    decoder = decoder_of("lstm", recurrent_dropout=0.5).train()
    decoder(ids(3, 8), torch.randn(1, 3, 2).double())[0].sum().backward()
    gradient = decoder.lstm.weight_hh_l0.grad
    assert 0.3 < float((gradient == 0).double().mean()) < 0.7
    assert (decoder.lstm.weight_ih_l0.grad != 0).any(1).all()


# ---- word dropout


@pytest.fixture
def sentence():
    """Ids and mask of 100 sentences, each of BOS, 200 words and 10 pads."""
    inputs = torch.cat(
        [torch.full((100, 1), 1), torch.randint(4, 30, (100, 200)), torch.zeros(100, 10).long()], 1
    )
    return inputs, inputs != 0


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_word_dropout_has_its_rate(sentence, rate):
    inputs, mask = sentence
    dropped = drop_words(inputs, mask, rate, unknown_id=3, keep_id=1)
    words = mask & (inputs != 1)
    assert float((dropped[words] == 3).double().mean()) == pytest.approx(rate, abs=0.015)
    kept = dropped != 3
    assert torch.equal(dropped[kept], inputs[kept]), "a word becomes UNK or stays"


def test_word_dropout_spares_bos_and_pads(sentence):
    inputs, mask = sentence
    dropped = drop_words(inputs, mask, 1.0, unknown_id=3, keep_id=1)
    assert (dropped[:, 0] == 1).all()
    assert (dropped[~mask] == 0).all()


@EACH
def test_skip_connection_adds_z_to_every_state(kind):
    torch.manual_seed(1)
    decoder, inputs, z = decoder_of(kind, skip_connection=True), ids(3, 5), torch.randn(2, 3, 2).double()
    states, _ = decoder(inputs, z)
    skip, decoder.skip = decoder.skip, None
    without, _ = decoder(inputs, z)
    torch.testing.assert_close(states, without + (z @ skip.linear.weight.T)[:, :, None])
