"""Tests of generation from z: every method of `GenerationMixin`, and constant work per token."""

import pytest
import tiny
import torch

WAYS = {
    "greedy": {"do_sample": False},
    "sampling": {"do_sample": True},
    "nucleus": {"do_sample": True, "top_k": 5, "top_p": 0.8, "temperature": 0.7},
    "beam": {"do_sample": False, "num_beams": 3},
    "three-each": {"do_sample": True, "num_return_sequences": 3},
}
DECODERS = pytest.mark.parametrize("decoder", tiny.DECODERS.values(), ids=tiny.DECODERS)


@pytest.fixture
def z():
    return torch.randn(4, 3).double()


def write(model, z, tokens=8, **options):
    return model.generate(z, max_new_tokens=tokens, **({"do_sample": False} | options))


def end_after(model, tokens):
    """Make EOS impossible at first and then certain, so that sentence i has ``tokens[i]`` tokens before it."""
    plain, state = model.output_layer.logits, {"step": 0}

    def logits(states):
        result = plain(states)
        ended = torch.tensor(tokens) <= state["step"]
        result[:, -1, 2] = torch.where(ended, 1e3, -1e3).double()
        state["step"] += 1
        return result

    model.output_layer.logits = logits


@DECODERS
@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_every_way_runs(decoder, options, z):
    ids = write(tiny.model(**decoder), z, **options)
    assert ids.shape[0] == 4 * options.get("num_return_sequences", 1)
    assert 2 <= ids.shape[1] <= 9
    assert (ids[:, 0] == 1).all()


@DECODERS
def test_greedy_is_the_most_probable_token_of_the_parallel_pass(decoder, z):
    model = tiny.model(**decoder)
    ids = write(model, z)
    states, _ = model.decoder(ids[:, :-1], z[None])
    best = model.output_layer.logits(states[0]).argmax(-1)
    written = (ids[:, 1:] != 0).cumprod(1).bool()
    assert torch.equal(best[written], ids[:, 1:][written])


@DECODERS
def test_a_batch_writes_what_its_rows_write_alone(decoder, z):
    model = tiny.model(**decoder)
    for options in ({}, {"num_beams": 3}):
        together = write(model, z, **options)
        for index in range(len(z)):
            alone = write(model, z[index : index + 1], **options)[0]
            width = min(len(alone), together.shape[1])
            assert torch.equal(together[index, :width], alone[:width])
            assert (together[index, width:] == 0).all()


@DECODERS
def test_one_beam_is_greedy(decoder, z):
    model = tiny.model(**decoder)
    assert torch.equal(write(model, z, num_beams=1), write(model, z))


@DECODERS
def test_as_many_beams_as_prefixes_find_the_best_sentence(decoder, z):
    """There are 64 sentences of three tokens. At the third, a beam needs the state of its own prefix."""
    model = tiny.model(vocab_size=5, **decoder)
    words = torch.tensor([0, 1, 3, 4])
    sentences = torch.cat([torch.ones(64, 1).long(), torch.cartesian_prod(words, words, words)], 1)
    found = write(model, z, num_beams=16, min_new_tokens=3, tokens=3, length_penalty=0.0)
    for ids, vector in zip(found, z, strict=True):
        states, _ = model.decoder(sentences[:, :-1], vector.expand(1, 64, -1))
        tokens = model.output_layer.logits(states[0]).log_softmax(-1).gather(-1, sentences[:, 1:, None])
        assert torch.equal(ids, sentences[tokens.squeeze(-1).sum(1).argmax()])


@DECODERS
@pytest.mark.parametrize("options", [{}, {"do_sample": True}, {"num_beams": 2}], ids=str)
def test_each_new_token_costs_one_token(decoder, options, z):
    model, read, sizes = tiny.model(**decoder), [], []

    def count(module, arguments, result):
        read.append(arguments[0].shape[1])
        sizes.append([tensor.shape for tensor in result[1]])

    model.decoder.register_forward_hook(count)
    write(model, z, min_new_tokens=8, **options)
    assert read == [1] * 8
    assert sizes == [sizes[0]] * 8


def test_finished_sentences_are_padded(z):
    model = tiny.model()
    end_after(model, [0, 2, 5, 3])
    ids = write(model, z)
    assert ids.shape == (4, 7)
    for row, length in zip(ids, [0, 2, 5, 3], strict=True):
        assert int(row[length + 1]) == 2
        assert (row[length + 2 :] == 0).all()


def test_sampling_follows_the_seed_and_varies(z):
    model = tiny.model()
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(write(model, z, do_sample=True, min_new_tokens=8))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_samples_have_the_models_probabilities():
    """One token after BOS is drawn 20,000 times and compared with the soft-max."""
    model, z = tiny.model(vocab_size=6), torch.randn(1, 3).double()
    ids = write(model, z.expand(20_000, -1), tokens=1, do_sample=True, top_k=0)
    states, _ = model.decoder(torch.tensor([[1]]), z[None])
    expected = model.output_layer.logits(states)[0, 0, 0].softmax(-1)
    found = ids[:, 1].bincount(minlength=6) / len(ids)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=0.015)


def test_a_language_model_writes_too():
    ids = write(tiny.model(latent_size=0), torch.zeros(2, 0).double(), do_sample=True)
    assert ids.shape[0] == 2


def test_dropout_is_off_in_a_model_that_is_evaluated(z):
    model = tiny.model(dropout=0.5, word_dropout=1.0)
    assert torch.equal(write(model, z), write(model, z))


def test_the_model_and_its_configuration_are_as_before(z):
    model = tiny.model()
    before = model.config.to_dict()
    write(model, z, num_beams=2)
    assert model.config.to_dict() == before
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {
        "encoder",
        "posterior",
        "decoder",
        "output_layer",
    }
