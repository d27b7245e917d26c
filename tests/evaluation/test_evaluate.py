"""The totals of a data set, and that measuring leaves no trace."""

import math

import pytest
import tiny
import torch

from textvae.evaluation import evaluate as evaluation
from textvae.evaluation import latent_use
from textvae.evaluation.evaluate import evaluate
from textvae.text.batches import evaluation_loader


@pytest.fixture
def batches():
    """Three batches of unequal size and length: averages of averages would be wrong."""
    return [tiny.batch(5, 1, 7, 3), tiny.batch(2), tiny.batch(9, 4)]


def test_quantities_are_totals_over_sentences_and_tokens(batches):
    model = tiny.model(latent_size=0)
    exact = torch.cat([-model(**batch).log_likelihood[0] for batch in batches]).detach()
    found = evaluate(model, batches, samples=3)
    assert (found.sentences, found.tokens) == (7, 5 + 1 + 7 + 3 + 2 + 9 + 4 + 7), "EOS counts, BOS does not"
    assert found.neg_elbo == pytest.approx(float(exact.mean()))
    assert found.iw_nll == pytest.approx(found.neg_elbo)
    assert found.ppl == pytest.approx(math.exp(float(exact.sum()) / 38))
    assert (found.kl, found.mutual_information, found.active_units) == (0, 0, 0)
    assert found.iw_samples == 1, "one pass is exact, whatever was asked for"


def test_quantities_are_those_of_the_bounds(batches, monkeypatch):
    model, parts = tiny.model(), tiny.recorded(monkeypatch, evaluation, "bounds")
    found = evaluate(model, batches, samples=5, seed=3)
    expected = {
        name: float(torch.cat([part[name] for part in parts]).mean()) for name in ("neg_elbo", "iw_nll", "kl")
    }
    assert found.neg_elbo == pytest.approx(expected["neg_elbo"])
    assert found.iw_nll == pytest.approx(expected["iw_nll"])
    assert found.kl == pytest.approx(expected["kl"])
    variance = torch.cat([part["posterior"].mean for part in parts]).var(0)
    assert found.active_units == int((variance > 0.01).sum())
    assert (found.iw_samples, found.latent_size, found.mutual_information_sentences) == (5, 3, 7)


def test_batch_size_does_not_matter():
    model, dataset = tiny.model(latent_size=0), tiny.dataset([5, 1, 7, 3, 3, 8, 2])
    found = [evaluate(model, evaluation_loader(dataset, tiny.collate, size)) for size in (1, 3, 7)]
    assert [result.neg_elbo for result in found] == pytest.approx([found[0].neg_elbo] * 3)
    assert {(result.tokens, result.sentences) for result in found} == {(36, 7)}


def test_the_seed_decides_the_draws(batches):
    model = tiny.model()
    one, same, other = (evaluate(model, batches, samples=2, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one.neg_elbo != other.neg_elbo


@pytest.mark.parametrize("training", [True, False])
def test_measuring_leaves_no_trace(batches, training):
    model = tiny.model(dropout=0.5, word_dropout=0.5).train(training)
    state, weights = torch.get_rng_state(), {k: v.clone() for k, v in model.state_dict().items()}
    evaluate(model, batches, samples=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(part.training == training for part in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.testing.assert_close(dict(model.state_dict()), weights, rtol=0, atol=0)


def test_the_mode_survives_an_error():
    model = tiny.model().train()
    with pytest.raises(ValueError, match="expected one batch or more to evaluate, got none"):
        evaluate(model, [])
    with pytest.raises(AttributeError):
        evaluate(model, [None])
    assert model.training


def test_dropout_is_off(batches):
    model = tiny.model(latent_size=0, dropout=0.5, word_dropout=0.5).train()
    assert evaluate(model, batches, seed=0).neg_elbo == evaluate(model, batches, seed=1).neg_elbo


def test_mutual_information_keeps_a_bounded_number_of_posteriors(monkeypatch, batches):
    monkeypatch.setattr(latent_use, "POSTERIORS", 5)
    found = evaluate(tiny.model(), batches, samples=1)
    assert (found.sentences, found.mutual_information_sentences) == (7, 5)
    assert found.mutual_information <= math.log(5)


def test_what_does_not_apply_is_left_out(batches):
    model = tiny.model()
    plain, known = (evaluate(model, batches, samples=1, entropy=entropy).to_dict() for entropy in (None, 2.5))
    assert not {"entropy", "characters", "bits_per_character"} & plain.keys()
    assert known == plain | {"entropy": 2.5}


def test_bits_per_character(batches):
    found = evaluate(tiny.model(), batches, samples=1, characters=50)
    assert found.bits_per_character == pytest.approx(found.iw_nll * 7 / 50 / math.log(2))
