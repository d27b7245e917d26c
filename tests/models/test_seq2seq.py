"""Tests of the whole conditional model: every latent with every prior and every encoder."""

from itertools import product

import pytest
import tiny
import torch
from torch.distributions import kl_divergence
from transformers import AutoConfig, AutoModel

from textvae.inference import bounds as inference
from textvae.inference.bounds import bounds
from textvae.models.checkpoint import load_model
from textvae.models.seq2seq import Seq2SeqVAEModel
from textvae.modules.conditional_latents import SentenceLatent
from textvae.modules.distributions import along
from textvae.objectives.elbo import ELBO
from textvae.objectives.schedules import KLWeight
from textvae.support.errors import UserError
from textvae.text.batches import Batch

TYPES = ("sentence", "attention", "step")
LATENTS = {
    f"{latent}-{prior}": {"latent_type": latent, "prior_type": prior}
    for latent, prior in product(TYPES, ("source", "standard_normal"))
}
MODELS = {
    f"{name}-{encoder}": options | {"encoder_type": encoder}
    for (name, options), encoder in product(LATENTS.items(), ("lstm", "transformer"))
} | {"no-z": {"latent_size": 0}}
OPTIONS = MODELS | {
    "additive": {"attention_type": "additive"},
    "dot": {"attention_type": "dot"},
    "two-layers": {"encoder_layers": 2, "decoder_layers": 2},
    "tied": {"tie_word_embeddings": True},
    "shared": {"share_embeddings": True, "source_vocab_size": tiny.VOCABULARY},
    "word-dropout": {"word_dropout": 0.5},
    "bag-of-words": {"bag_of_words": True},
    "no-z-of-each-step": {"latent_size": 0, "latent_type": "step"},
    "torch-initial-weights": {"initial_range": None},
}
EACH_MODEL = pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
EACH_LATENT = pytest.mark.parametrize("options", LATENTS.values(), ids=LATENTS)


@pytest.fixture
def batch():
    return tiny.collate_pairs(tiny.pairs())


def read(model, batch):
    return model.read(batch.inputs, batch.targets, batch.mask, batch.source, batch.source_mask)


def draws(model, batch, samples=2):
    """Draws of z for each token, (K, B, T, Z), or for each pair, (K, B, Z), that do not depend on the model."""
    shape = batch.inputs.shape[: 1 if isinstance(model.latent, SentenceLatent) else 2]
    size = model.config.latent_size
    return torch.randn(samples, *shape, size).double()


def measured(model, batch, z):
    """log p(y | x, z), the KL divergence and the log-ratio of the densities at z, each (K, B)."""
    reading = read(model, batch)
    q, p = along(reading.posterior, z), along(reading.prior, z)
    ratio = q.log_prob(z) - p.log_prob(z)
    return reading.score(z), kl_divergence(q, p).expand(len(z), -1), ratio


def padded(batch, columns, source_columns):
    """The same pairs with more pads in source and target; the ids at the pads are those of words."""
    more = dict(tiny.padded(Batch({name: batch[name] for name in BATCH}), columns))
    size = (len(batch.inputs), source_columns)
    words = torch.randint(4, tiny.SOURCE_VOCABULARY, size)
    more["source"] = torch.cat([batch.source, words], 1)
    more["source_mask"] = torch.cat([batch.source_mask, torch.zeros(size, dtype=torch.bool)], 1)
    return Batch(more)


BATCH = ("inputs", "targets", "mask", "lengths")


def row(batch, index):
    """One pair of the batch, without its pads."""
    length = int(batch.source_mask[index].sum())
    one = dict(tiny.row(batch, index))
    return Batch(one | {name: batch[name][index : index + 1, :length] for name in ("source", "source_mask")})


def with_pads(z, columns):
    return z if z.ndim < 4 else torch.cat([z, torch.randn(*z.shape[:2], columns, z.shape[3]).double()], 2)


# ---- invariances


@EACH_MODEL
@pytest.mark.parametrize("columns", [(1, 0), (0, 1), (4, 9)], ids=str)
def test_more_padding_changes_nothing(options, columns, batch):
    model = tiny.seq2seq(**options)
    z = draws(model, batch)
    found = measured(model, padded(batch, *columns), with_pads(z, columns[0]))
    torch.testing.assert_close(found, measured(model, batch, z))


@EACH_MODEL
def test_a_batch_gives_what_its_pairs_give_alone(options, batch):
    model = tiny.seq2seq(**options)
    z = draws(model, batch)
    together = measured(model, batch, z)
    for index, length in enumerate(batch.lengths.tolist()):
        own = z[:, index : index + 1]
        alone = measured(model, row(batch, index), own if own.ndim < 4 else own[:, :, :length])
        for all_rows, one in zip(together, alone, strict=True):
            torch.testing.assert_close(all_rows[:, index : index + 1], one)


@EACH_MODEL
def test_gradient_of_padding_is_zero(options, batch):
    model = tiny.seq2seq(**options)
    z = draws(model, batch)

    def gradients(given, own):
        model.zero_grad()
        sum(part.sum() for part in measured(model, given, own)).backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    torch.testing.assert_close(gradients(padded(batch, 2, 3), with_pads(z, 2)), gradients(batch, z))


@EACH_MODEL
@pytest.mark.parametrize("samples", [1, 3])
def test_each_sample_is_scored_by_itself(options, samples, batch):
    model = tiny.seq2seq(**options)
    z = draws(model, batch, samples)
    one_by_one = [measured(model, batch, part[None]) for part in z]
    for together, apart in zip(measured(model, batch, z), zip(*one_by_one, strict=True), strict=True):
        torch.testing.assert_close(together, torch.cat(apart))


@EACH_MODEL
@pytest.mark.parametrize("attention", ["additive", "general"])
def test_gradient_reaches_every_parameter(options, attention, batch):
    model = tiny.seq2seq(**options, attention_type=attention).train()
    output = model(**batch)
    (kl_divergence(output.posterior, output.prior).sum() - output.score.sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@EACH_LATENT
def test_no_state_sees_the_words_to_come(options, batch):
    """A state depends on later words only through z."""
    model, changed = tiny.seq2seq(**options), batch.inputs.clone()
    changed[:, 3:] = 5
    source, z = model.encode(batch.source, batch.source_mask), draws(model, batch)
    target = torch.zeros(*batch.inputs.shape, 8).double()

    def states(inputs):
        return model.latent(model.decoder, inputs, batch.mask, source, target)[2](z)

    before, after = states(batch.inputs), states(changed)
    torch.testing.assert_close(after[:, :, :3], before[:, :, :3], rtol=0, atol=0)
    assert not torch.equal(after[:, 0, 3:], before[:, 0, 3:])


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_option_runs_alone(options, batch):
    model = tiny.seq2seq(**options).train()
    output = model(**batch, samples=2)
    terms = ELBO(free_bits=0.5)(output, 1.0)
    terms.loss.backward()
    assert torch.isfinite(terms.loss)
    assert output.score.shape == (2, 4)
    assert all(term.shape == (4,) for term in terms.per_sentence.values())
    assert ("bag_of_words" in output.auxiliary) is (model.bag_of_words is not None)
    model.eval()
    weights = model.attention(batch)
    assert weights.shape == (4, 8, 7)
    assert (weights.transpose(1, 2)[~batch.source_mask] == 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 8).double())


def test_evaluation_is_deterministic_with_every_dropout(batch):
    for encoder in ("lstm", "transformer"):
        model = tiny.seq2seq(dropout=0.5, word_dropout=0.5, encoder_type=encoder)
        z = draws(model, batch)
        torch.testing.assert_close(measured(model, batch, z), measured(model, batch, z), rtol=0, atol=0)
        model.train()
        assert not torch.equal(measured(model, batch, z)[0], measured(model, batch, z)[0])


# ---- the bound on log p(y | x)


@EACH_LATENT
@torch.no_grad()
def test_the_bound_comes_to_the_integral_over_z(options):
    """The importance-weighted bound equals log of p(y | x, z) p(z | x), integrated over a grid of z."""
    # If the posterior is narrower than the prior, the variance of the importance weights is unbounded.
    model = tiny.seq2seq(**options, latent_size=1, initial_range=0.3)
    batch = tiny.collate_pairs(tiny.pairs((1,), (3,)))
    reading, axis = read(model, batch), torch.linspace(-8, 8, 161).double()
    grid = axis[:, None, None]
    if not isinstance(model.latent, SentenceLatent):
        grid = torch.cartesian_prod(axis, axis)[:, None, :, None]
    density = along(reading.prior, grid).log_prob(grid)
    cell = 0.1 ** reading.prior.event_shape.numel()
    assert float(density.exp().sum()) * cell == pytest.approx(1, abs=1e-3)
    exact = float((reading.score(grid) + density).exp().sum().log()) + torch.tensor(cell).log()
    found = bounds(model, batch, 20_000)
    assert float(found.iw_nll) == pytest.approx(-float(exact), abs=0.02)
    assert float(found.neg_elbo) > -float(exact)


@EACH_LATENT
@pytest.mark.parametrize("at_once", [1, 4, 1000])
def test_as_many_samples_are_scored_as_asked_for(monkeypatch, options, at_once, batch):
    model, scored = tiny.seq2seq(**options), []
    plain = model.output_layer.log_likelihood
    monkeypatch.setattr(
        model.output_layer, "log_likelihood", lambda z, *rest: scored.append(len(z)) or plain(z, *rest)
    )
    monkeypatch.setattr(inference, "TOKEN_SAMPLES", at_once * batch.inputs.numel())
    found = bounds(model, batch, 7)
    assert sum(scored) == 7
    assert max(scored) == min(7, at_once)
    torch.testing.assert_close(found.kl_per_dimension.sum(-1), found.kl)


def test_without_z_all_bounds_are_exact(batch):
    model = tiny.seq2seq(latent_size=0)
    found, exact = bounds(model, batch, 7), -model(**batch).score[0]
    torch.testing.assert_close(found.iw_nll, exact)
    torch.testing.assert_close(found.neg_elbo, exact)
    assert torch.equal(found.kl, torch.zeros_like(exact))


# ---- translations


def translate(model, batch, tokens=6, **options):
    chosen = {"do_sample": False} | options
    return model.translate(batch.source, batch.source_mask, max_new_tokens=tokens, **chosen)


def parallel_logits(model, ids, batch):
    """Logits of all tokens after BOS in one pass; z is the mean, as in generation."""
    source = model.encode(batch.source, batch.source_mask)
    latent, inputs = model.latent, ids[:, :-1]
    if isinstance(latent, SentenceLatent):
        states = model.decoder(inputs, latent.prior_of(source).mean[None], source)[0]
    else:
        hidden, contexts, _ = model.decoder.read(inputs, torch.zeros(1, len(ids), 0).double(), source)
        z = latent.generative(hidden[0], contexts[0], None).mean
        states = model.decoder.write(hidden, *latent.beside(contexts, z[None]))
    return model.output_layer.logits(states[0])


@EACH_MODEL
def test_greedy_is_the_most_probable_token_of_the_parallel_pass(options, batch):
    model = tiny.seq2seq(**options)
    ids = translate(model, batch)
    best = parallel_logits(model, ids, batch).argmax(-1)
    written = (ids[:, 1:] != 0).cumprod(1).bool()
    assert torch.equal(best[written], ids[:, 1:][written])
    assert torch.equal(translate(model, batch, num_beams=1), ids)


@EACH_LATENT
def test_a_batch_writes_what_its_rows_write_alone(options, batch):
    model = tiny.seq2seq(**options)
    for ways in ({}, {"num_beams": 3, "length_penalty": 0.5}):
        together = translate(model, batch, **ways)
        for index in range(4):
            alone = translate(model, row(batch, index), **ways)[0]
            width = min(len(alone), together.shape[1])
            assert torch.equal(together[index, :width], alone[:width])
            assert (together[index, width:] == 0).all()


@EACH_LATENT
def test_as_many_beams_as_prefixes_find_the_best_target(options, batch):
    """There are 64 targets of three tokens. At the third, a beam needs the state and the z of its own prefix."""
    model, words = tiny.seq2seq(vocab_size=5, **options), torch.tensor([0, 1, 3, 4])
    targets = torch.cat([torch.ones(64, 1).long(), torch.cartesian_prod(words, words, words)], 1)
    found = translate(model, batch, num_beams=16, min_new_tokens=3, tokens=3, length_penalty=0.0)
    for index, ids in enumerate(found):
        one = row(batch, index)
        repeated = Batch({name: tensor.expand(64, *tensor.shape[1:]) for name, tensor in one.items()})
        tokens = parallel_logits(model, targets, repeated).log_softmax(-1).gather(-1, targets[:, 1:, None])
        assert torch.equal(ids, targets[tokens.squeeze(-1).sum(1).argmax()])


@EACH_LATENT
def test_the_source_is_read_once_and_each_token_costs_one(options, batch):
    model, read_words, read_sources = tiny.seq2seq(**options), [], []
    model.decoder.lstm.register_forward_hook(lambda _, given, __: read_words.append(given[0].shape[:2]))
    model.encoder.register_forward_hook(lambda *_: read_sources.append(1))
    translate(model, batch, num_beams=3, min_new_tokens=6)
    assert read_words == [(12, 1)] * 6
    assert read_sources == [1]


@EACH_LATENT
def test_the_latent_of_a_translation(options, batch):
    model = tiny.seq2seq(**options, initial_embedding_range=3.0)
    ways = {"num_beams": 2, "min_new_tokens": 6}
    zero = translate(model, batch, latent="zero", **ways)
    given = translate(model, batch, z=torch.zeros(4, 3).double(), **ways)
    assert torch.equal(zero, given)
    several = [translate(model, batch, latent="sample", **ways) for _ in range(8)]
    assert len({tuple(ids.flatten().tolist()) for ids in several}) > 1
    repeated = translate(model, batch, latent="mean", num_return_sequences=2, **ways)
    assert repeated.shape[0] == 8


@pytest.mark.parametrize("beams", [1, 3])
def test_a_shuffled_latent_is_that_of_the_pair_before(beams, batch):
    model = tiny.seq2seq()
    mean = model.latent.prior_of(model.encode(batch.source, batch.source_mask)).mean
    shuffled = translate(model, batch, latent="shuffled", num_beams=beams)
    assert torch.equal(shuffled, translate(model, batch, z=mean[[3, 0, 1, 2]], num_beams=beams))


# ---- starting from a trained model


def log_likelihood(model, batch, z):
    return read(model, batch).score(z)


@EACH_LATENT
@pytest.mark.parametrize("layers", [1, 2])
def test_starts_as_a_model_without_z_which_it_does_not_read(options, layers, batch):
    source = tiny.seq2seq(latent_size=0, decoder_layers=layers)
    # z has the size of the contexts, so that it can replace them.
    model = tiny.seq2seq(**options, latent_size=8, decoder_layers=layers)
    model.start_from(source)
    z, choice = draws(model, batch), "sample"
    if options["latent_type"] == "attention":
        z, choice = read(model, batch).posterior.mean[None], "mean"
    expected = log_likelihood(source, batch, torch.zeros(1, 4, 0).double())
    torch.testing.assert_close(log_likelihood(model, batch, z), expected.expand(len(z), -1))
    for beams in (1, 3):
        written = translate(model, batch, latent=choice, num_beams=beams)
        assert torch.equal(written, translate(source, batch, num_beams=beams))


@pytest.mark.parametrize("latent", TYPES)
def test_learns_to_read_z_after_such_a_start(latent, batch):
    model = tiny.seq2seq(latent_type=latent, latent_size=8)
    model.start_from(tiny.seq2seq(latent_size=0))
    log_likelihood(model, batch, draws(model, batch)).sum().backward()
    readers = model.decoder.lstm.weight_ih_l0 if latent == "sentence" else model.decoder.of_beside[-1].weight
    assert (readers.grad[:, -8:] != 0).any(0).all()


def test_without_z_its_kind_does_not_matter(batch):
    source, model = tiny.seq2seq(latent_size=0), tiny.seq2seq(latent_size=0, latent_type="attention")
    model.start_from(source)
    empty = torch.zeros(1, 4, 0).double()
    assert torch.equal(log_likelihood(model, batch, empty), log_likelihood(source, batch, empty))


@EACH_MODEL
def test_starts_as_a_model_with_the_same_z(options, batch):
    source, model = tiny.seq2seq(**options), tiny.seq2seq(**options)
    model.start_from(source)
    z = draws(model, batch)
    torch.testing.assert_close(measured(model, batch, z), measured(source, batch, z), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "source", "message"),
    [
        ({}, {"latent_size": 0, "vocab_size": 31}, "same one, got another vocab_size: train it"),
        ({}, {"latent_size": 0, "encoder_layers": 2}, "another encoder.layers:"),
        ({"encoder_layers": 2}, {"latent_size": 0}, "another encoder.layers:"),
        ({"attention_type": "additive"}, {"latent_size": 0}, "another attention.kind:"),
        ({"tie_word_embeddings": True}, {"latent_size": 0}, "another tie_word_embeddings:"),
        ({}, {"latent_size": 2}, "another latent_size:"),
        ({}, {"latent_type": "step"}, "another latent.kind:"),
        ({"latent_size": 0}, {}, "another latent_size:"),
        (
            {"latent_type": "attention"},
            {"latent_size": 0},
            "latent_size equal to hidden_size, .*, got 3 and 8",
        ),
    ],
    ids=str,
)
def test_a_start_that_does_not_fit_is_refused(options, source, message):
    model = tiny.seq2seq(**options)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError, match=message):
        model.start_from(tiny.seq2seq(**source))
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


# ---- saving and construction


@pytest.mark.parametrize(
    "options",
    [{}, {"latent_size": 0}, {"latent_type": "step", "encoder_type": "transformer"}]
    + [
        {"tie_word_embeddings": tied, "share_embeddings": True, "source_vocab_size": tiny.VOCABULARY}
        for tied in (False, True)
    ],
    ids=str,
)
def test_a_saved_model_comes_back_whole(tmp_path, options, batch):
    model = tiny.seq2seq(**options)
    model.save_pretrained(tmp_path)
    z = draws(model, batch)
    for load in (lambda: AutoModel.from_pretrained(tmp_path), lambda: load_model(str(tmp_path))):
        loaded = load()
        assert isinstance(loaded, Seq2SeqVAEModel)
        torch.testing.assert_close(measured(loaded.double(), batch, z), measured(model, batch, z))
        tied = loaded.output_layer.linear.weight is loaded.decoder.embedding.weight
        assert tied == bool(options.get("tie_word_embeddings"))
    assert AutoConfig.from_pretrained(tmp_path).latent == model.config.latent
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".safetensors"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent_type": "word"}, "latent.kind: expected one of sentence, attention, step, got 'word'"),
        (
            {"latent_type": "step", "bag_of_words": True},
            "expected bag_of_words with a latent of kind sentence, got step",
        ),
        (
            {"share_embeddings": True},
            "expected one vocabulary .* got 25 source and 30 target tokens: train a joint",
        ),
        (
            {"source_vocab_size": 0},
            "expected a positive source_vocab_size, got 0: set it from the tokenizer of the sources",
        ),
        ({"vocab_size": 0}, "expected a positive vocab_size, got 0"),
    ],
)
def test_choices_that_do_not_fit_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        tiny.seq2seq(**options)


# ---- learning


@pytest.mark.slow
@pytest.mark.parametrize("latent", ["sentence", "step"])
def test_overfits_32_targets_of_one_source_through_z(latent):
    """A model without z needs log 32 = 3.47 nats per target, even if it knows all targets by heart."""
    source = tiny.sentences([4], tiny.SOURCE_VOCABULARY)[0]["ids"]
    batch = tiny.collate_pairs([one | {"source_ids": source} for one in tiny.sentences([4] * 32)])
    terms = learnt(batch, latent_type=latent, latent_size=8)
    assert terms["reconstruction"].mean() < 2.5
    assert terms["kl"].mean() > 2


@pytest.mark.slow
def test_overfits_32_pairs_through_latent_contexts():
    """A decoder that does not use the source would need log 32 nats here, too."""
    terms = learnt(
        tiny.collate_pairs(tiny.pairs([4] * 32, [4] * 32)), latent_type="attention", latent_size=16
    )
    assert terms["reconstruction"].mean() < 2


def learnt(batch, **options):
    """The terms after 150 training steps, averaged over 20 draws."""
    sizes = {"embedding_size": 16, "hidden_size": 32, "dropout": 0.0, "word_dropout": 0.7}
    model = tiny.seq2seq(**options, **sizes, initial_range=None).float().train()
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    objective = ELBO(KLWeight("linear", end=0.3, steps=150))
    for step in range(150):
        loss = objective(model(**batch), objective.kl_weight(step)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return objective(model.eval()(**batch, samples=20), 1.0).per_sentence
