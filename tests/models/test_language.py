"""Tests of the whole sentence VAE. (Padding, batches, samples, gradients: test_invariances.py.)"""

import pytest
import tiny
import torch
from flat import SECTIONS, nested
from torch.distributions import kl_divergence
from transformers import AutoConfig, AutoModel

from textvae.models.language import TextVAEConfig, TextVAEModel
from textvae.models.refinement import Refinement, refined_reading
from textvae.objectives.elbo import ELBO
from textvae.objectives.schedules import KLWeight
from textvae.support.errors import UserError

KINDS = {
    f"tied-{name}": options | {"tie_word_embeddings": True} for name, options in tiny.DECODERS.items()
} | {
    "lstm": {},
    "no-z": {"latent_size": 0},
    "mixture": {"prior_components": 4},
    "classes": {"classes": ["a", "b"]},
    "convolution": tiny.ENCODERS["convolution"] | tiny.DECODERS["dilated"],
}
EACH = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)


def scores(model, batch):
    torch.manual_seed(1)
    return model(**batch).score


# ---- saving


@EACH
@pytest.mark.parametrize("loader", [TextVAEModel, AutoModel])
def test_a_saved_model_comes_back_whole(tmp_path, options, loader):
    model, batch = tiny.model(**options), tiny.batch()
    model.save_pretrained(tmp_path)
    loaded = loader.from_pretrained(tmp_path, dtype=torch.double)
    assert isinstance(loaded, TextVAEModel)
    assert not loaded.training
    assert torch.equal(scores(loaded, batch), scores(model, batch))
    tied = loaded.output_layer.linear.weight is loaded.decoder.embedding.weight
    assert tied == bool(options.get("tie_word_embeddings"))


def test_a_saved_configuration_comes_back_whole(tmp_path):
    config = TextVAEConfig(
        vocab_size=9, dilations="large", initial_range=None, word_dropout=0.25, bidirectional=True
    )
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(loaded, TextVAEConfig)
    where = {"_name_or_path", "transformers_version"}
    assert {k: v for k, v in loaded.to_dict().items() if k not in where} == {
        k: v for k, v in config.to_dict().items() if k not in where
    }


def test_nothing_is_pickled(tmp_path):
    tiny.model().save_pretrained(tmp_path)
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".safetensors"}


# ---- construction


def test_vocabulary_size_is_asked_for():
    with pytest.raises(UserError, match="expected a positive vocab_size, got 0: set it from the tokenizer"):
        TextVAEModel(TextVAEConfig())


@pytest.mark.parametrize(
    "options", [{"encoder_type": "lstmm"}, {"decoder_type": "transformer"}, {"dilations": "tiny"}], ids=str
)
def test_unknown_choices_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(UserError, match=rf"{'.'.join(SECTIONS[name])}: expected one of .*, got '{value}'"):
        TextVAEConfig(vocab_size=9, **nested({"decoder_type": "dilated_convolution"} | options))


@pytest.mark.parametrize("name", ["dropout", "word_dropout", "recurrent_dropout"])
@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_a_rate_of_dropout_is_from_0_to_1(name, rate):
    with pytest.raises(UserError, match=f"{name}: expected .*, got {rate}"):
        TextVAEConfig(**nested({name: rate}))


@pytest.mark.parametrize(
    ("kind", "option", "known"),
    [
        ({"decoder_type": "dilated_convolution"}, {"recurrent_dropout": 0.5}, "variational_dropout"),
        ({"decoder_type": "dilated_convolution"}, {"decoder_layers": 2}, "dilations"),
        ({"decoder_type": "lstm"}, {"dilations": "small"}, "layers"),
        ({"encoder_type": "convolution"}, {"bidirectional": True}, "width"),
        ({"prior_components": 3}, {"normalize_mean": 1.0}, ""),
    ],
    ids=str,
)
def test_an_option_that_the_part_does_not_have_is_refused(kind, option, known):
    options = nested(kind | option)
    if "normalize_mean" in options:
        options["posterior"] = {"normalize_mean": options.pop("normalize_mean")}
    with pytest.raises(UserError, match=rf"has no such option, only .*{known}"):
        TextVAEConfig(**options)


def test_initial_weights_are_uniform_as_published():
    model = tiny.model(initial_range=0.01, initial_embedding_range=0.1, hidden_size=32)
    for name, parameter in model.named_parameters():
        reach = 0.1 if "embedding" in name else 0.01
        assert parameter.abs().max() <= reach, name
        assert parameter.abs().max() > 0.8 * reach, name


@pytest.mark.parametrize("target", [torch.double, "meta"], ids=str)
def test_prior_moves_with_the_model(target):
    model, batch = tiny.model().to(target), tiny.batch().to(target if target == "meta" else "cpu")
    posterior = model.encode(batch.targets, batch.mask)
    prior = model.prior(len(batch.inputs), posterior.mean)
    assert prior.mean.dtype == posterior.mean.dtype
    assert kl_divergence(posterior, prior).device.type == str(posterior.mean.device)


# ---- starting from a language model


@pytest.mark.parametrize("encoder", ["lstm", "lstm-2"])
def test_encoder_starts_from_a_language_model(encoder):
    layers = tiny.ENCODERS[encoder].get("encoder_layers", 1)
    language_model = tiny.model(latent_size=0, decoder_layers=layers)
    model, batch = tiny.model(**tiny.ENCODERS[encoder]), tiny.batch()
    model.initialize_encoder(language_model)
    states, _ = language_model.decoder(batch.targets, torch.zeros(1, 4, 0).double())
    last = states[0, torch.arange(4), batch.lengths - 1]
    torch.testing.assert_close(model.encoder(batch.targets, batch.mask), last)


def test_encoder_starts_from_another_encoder():
    source, model, batch = tiny.model(), tiny.model(), tiny.batch()
    decoder = {name: tensor.clone() for name, tensor in model.decoder.state_dict().items()}
    model.initialize_encoder(source)
    arguments = (batch.targets, batch.mask)
    assert torch.equal(model.encoder(*arguments), source.encoder(*arguments))
    torch.testing.assert_close(dict(model.decoder.state_dict()), decoder, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "source", "message"),
    [
        (
            {},
            {"latent_size": 0, "hidden_size": 9},
            r"LSTMDecoder fits .*lstm\.weight_ih_l0.*train it with the same",
        ),
        ({}, {"latent_size": 0, "vocab_size": 31}, r"differs in embedding\.weight;"),
        ({"encoder_type": "convolution"}, {"latent_size": 0}, r"LSTMDecoder fits .*projection\.weight"),
        ({"latent_size": 0}, {}, "this model has no encoder"),
    ],
    ids=["size", "vocabulary", "kind", "no-encoder"],
)
def test_encoder_that_does_not_fit_is_refused(options, source, message):
    model = tiny.model(**options)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError, match=message):
        model.initialize_encoder(tiny.model(**source))
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


@pytest.mark.parametrize("options", [{}, {"skip_connection": True}, {"classes": ["a", "b"]}], ids=str)
@pytest.mark.parametrize("decoder", tiny.DECODERS.values(), ids=tiny.DECODERS)
def test_starts_as_a_language_model_and_learns_to_read_z(decoder, options):
    source, model, batch = (
        tiny.model(**decoder, latent_size=0),
        tiny.model(**decoder, **options),
        tiny.batch(),
    )
    model.start_from(source)
    sentence = (batch.inputs, batch.targets, batch.mask)
    expected = source.score(torch.zeros(1, 4, 0).double(), *sentence)
    z = torch.randn(5, 4, model.vector_size).double().requires_grad_()
    scores = model.score(z, *sentence)
    torch.testing.assert_close(scores, expected.expand(5, -1))
    scores.sum().backward()
    grown = [name for name, weight in model.decoder.named_parameters() if weight.grad.any()]
    with torch.no_grad():
        for weight in model.decoder.parameters():
            weight += 0.1 * weight.grad
    model.score(z, *sentence).sum().backward()
    assert grown == [name for name, _ in model.decoder.named_parameters()]
    assert (z.grad != 0).any(-1).all()


@pytest.mark.parametrize(
    "options", [{}, {"skip_connection": True}, {"tie_word_embeddings": True, "hidden_size": 6}]
)
def test_starts_as_a_model_with_the_same_z(options):
    source, model, batch = tiny.model(**options), tiny.model(**options, bag_of_words=True), tiny.batch()
    model.start_from(source)
    torch.manual_seed(0)
    expected = source(**batch)
    torch.manual_seed(0)
    found = model(**batch)
    torch.testing.assert_close(found.score, expected.score, rtol=0, atol=0)
    torch.testing.assert_close(found.z, expected.z, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "source", "message"),
    [
        ({}, {"latent_size": 0, "vocab_size": 31}, "same one, got another vocab_size: train it"),
        ({}, {"latent_size": 0, "decoder_layers": 2}, "another decoder.layers:"),
        ({}, {"latent_size": 0, "decoder_type": "dilated_convolution"}, "another decoder.kind"),
        ({}, {"latent_size": 2}, "another latent_size:"),
        ({}, {"bidirectional": True}, "another encoder.bidirectional:"),
        ({}, {"skip_connection": True}, "another decoder.skip_connection:"),
        ({"latent_size": 0}, {}, "another latent_size:"),
    ],
    ids=str,
)
def test_a_start_that_does_not_fit_is_refused(options, source, message):
    model = tiny.model(**options)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError, match=message):
        model.start_from(tiny.model(**source))
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


# ---- what dropout touches


class Recorder:
    """Records the ids that each part of a model reads."""

    def __init__(self, model):
        self.read = {}
        for name in ("encoder", "decoder"):
            getattr(model, name).register_forward_hook(self.remember(name))

    def remember(self, name):
        return lambda module, arguments, result: self.read.update({name: arguments[0]})


def test_word_dropout_touches_decoder_inputs_alone():
    model, batch = tiny.model(word_dropout=1.0).train(), tiny.batch()
    recorder, before = Recorder(model), {name: tensor.clone() for name, tensor in batch.items()}
    model(**batch)
    words = batch.mask & (batch.inputs != 1)
    assert torch.equal(recorder.read["decoder"], batch.inputs.masked_fill(words, 3))
    assert torch.equal(recorder.read["encoder"], batch.targets)
    assert all(torch.equal(batch[name], before[name]) for name in batch)


def test_word_dropout_is_off_at_evaluation():
    model, batch = tiny.model(word_dropout=1.0), tiny.batch()
    recorder = Recorder(model)
    model(**batch)
    assert torch.equal(recorder.read["decoder"], batch.inputs)


# ---- the language model


@pytest.mark.parametrize("decoder", tiny.DECODERS.values(), ids=tiny.DECODERS)
def test_without_z_probabilities_of_all_sentences_sum_to_one(decoder):
    """The vocabulary is {BOS, EOS, a, b}; all sentences longer than two tokens count as one case."""
    model = tiny.model(latent_size=0, vocab_size=4, pad_token_id=0, **decoder)
    contexts = [[1], *([1, word] for word in (0, 1, 3))]
    ended = [torch.tensor([context]) for context in contexts]
    logits = [
        model.output_layer.logits(model.decoder(ids, torch.zeros(1, 1, 0).double())[0])[0, 0] for ids in ended
    ]
    end = logits[0][0].log_softmax(-1)
    mass = end[2].exp()
    for word, one in zip((0, 1, 3), logits[1:], strict=True):
        mass = mass + (end[word] + one[1].log_softmax(-1)).exp().sum()
    torch.testing.assert_close(mass, torch.ones_like(mass))


def test_without_z_there_is_no_divergence_and_one_answer():
    model, batch = tiny.model(latent_size=0), tiny.batch()
    output = model(**batch, samples=3)
    assert model.encoder is None
    assert torch.equal(kl_divergence(output.posterior, output.prior), torch.zeros(4).double())
    assert torch.equal(output.score, output.score[:1].expand(3, -1))


# ---- learning


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["lstm", "dilated"])
def test_overfits_32_sentences_through_z(decoder):
    """A model without z needs log 32 = 3.47 nats per sentence, even if it knows all sentences by heart."""
    batch = tiny.collate(tiny.sentences([4] * 32))
    model = tiny.model(**LEARNER, **tiny.DECODERS[decoder]).float().train()
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    objective = ELBO(KLWeight("linear", steps=200))
    for step in range(200):
        loss = objective(model(**batch), objective.kl_weight(step)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    terms = objective(model.eval()(**batch, samples=20), 1.0).per_sentence
    assert terms["reconstruction"].mean() < 2
    assert terms["kl"].mean() > 3


LEARNER = {
    "latent_size": 8,
    "embedding_size": 16,
    "hidden_size": 32,
    "dropout": 0.0,
    "word_dropout": 0.7,
    "initial_range": None,
}


def test_only_the_class_of_a_labelled_sentence_is_decoded(monkeypatch):
    """The loss and its gradient are those of decoding all classes."""
    torch.manual_seed(0)
    model = tiny.model(classes=["a", "b", "c"], dropout=0.0).train()
    rows = [row | {"label": label} for row, label in zip(tiny.sentences(), [2, -1, 0, -1], strict=True)]
    batch = tiny.collate(rows)

    def results():
        torch.manual_seed(1)
        decoded = tiny.recorded(monkeypatch, model.decoder, "forward")
        loss = ELBO(samples=2)(model(**batch, samples=2), 0.5).loss
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        (states, _), *others = decoded
        assert not others
        return states.shape[0] * states.shape[1], [loss, *gradients]

    few, found = results()
    monkeypatch.setattr("textvae.models.language.possible", lambda posterior, z: None)
    many, expected = results()
    assert (few, many) == (2 * (2 * 1 + 2 * 3), 2 * 4 * 3)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-12)


def test_only_training_reads_labels():
    """Evaluation bounds log p(x), not log p(x, y)."""
    model = tiny.model(classes=["a", "b", "c"], dropout=0.0)
    rows = [row | {"label": label} for row, label in zip(tiny.sentences(), (2, -1, 0, 1), strict=True)]
    batch = tiny.collate(rows)
    probabilities = model.read(**batch).posterior.probabilities
    torch.testing.assert_close(probabilities, model.encode(batch.targets, batch.mask).probabilities)
    trained = model.train().read(**batch).posterior.probabilities
    assert trained[[0, 2, 3], [2, 0, 1]].tolist() == [1, 1, 1]
    torch.testing.assert_close(trained[1], probabilities[1])


@pytest.mark.parametrize("training", [False, True])
def test_only_training_scores_the_bag_of_words(training):
    output = tiny.model(bag_of_words=True, dropout=0.0).train(training)(**tiny.batch())
    assert list(output.auxiliary) == ["bag_of_words"] * training


def test_forward_refines_with_the_weight_of_the_kl():
    model, batch, options = tiny.model(), tiny.batch(), Refinement(steps=5)
    found = []
    for weight in (1.0, 4.0):
        with torch.no_grad():
            torch.manual_seed(3)
            output = model(**batch, refinement=options, kl_weight=weight)
            torch.manual_seed(3)
            expected = refined_reading(model, model.read(**batch), options, weight)
        torch.testing.assert_close(output.posterior.mean, expected.posterior.mean)
        torch.testing.assert_close(output.posterior.stddev, expected.posterior.stddev)
        found.append(output.posterior.mean)
    assert not torch.allclose(*found)
