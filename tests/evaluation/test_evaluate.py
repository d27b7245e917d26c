"""The totals of a data set; and evaluation changes neither the model nor the random state."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import tiny
import torch
from datasets import Dataset

from textvae.evaluation import evaluate as evaluation
from textvae.evaluation.evaluate import evaluate
from textvae.evaluation.meters import mutual_information
from textvae.evaluation.meters.characters import BitsPerCharacter
from textvae.inference.bounds import bounds
from textvae.modules.distributions import diagonal_gaussian
from textvae.text.samplers import evaluation_loader


@pytest.fixture
def batches():
    """Three batches of different size and length, so averages of averages would be wrong."""
    return [tiny.batch(5, 1, 7, 3), tiny.batch(2), tiny.batch(9, 4)]


def test_quantities_are_totals_over_sentences_and_tokens(batches):
    model = tiny.model(latent_size=0)
    exact = torch.cat([-model(**batch).score[0] for batch in batches]).detach()
    found = evaluate(model, batches, samples=3)
    assert (found.sentences, found.tokens) == (7, 5 + 1 + 7 + 3 + 2 + 9 + 4 + 7), "EOS counts, BOS does not"
    assert found.neg_elbo == pytest.approx(float(exact.mean()))
    assert found.iw_nll == pytest.approx(found.neg_elbo)
    assert found.ppl == pytest.approx(math.exp(float(exact.sum()) / 38))
    assert {"kl", "mutual_information", "active_units"}.isdisjoint(found), "there is no z to speak of"
    assert found.iw_samples == 1, "one pass is exact, whatever was asked for"


def test_quantities_are_those_of_the_bounds(batches, monkeypatch):
    model, parts = tiny.model(), tiny.recorded(monkeypatch, evaluation, "bounds")
    found = evaluate(model, batches, samples=5, seed=3)
    expected = {
        name: float(torch.cat([getattr(part, name) for part in parts]).mean())
        for name in ("neg_elbo", "iw_nll", "kl")
    }
    assert found.neg_elbo == pytest.approx(expected["neg_elbo"])
    assert found.iw_nll == pytest.approx(expected["iw_nll"])
    assert found.kl == pytest.approx(expected["kl"]) == pytest.approx(sum(found.kl_per_dimension))
    assert found.iw_nll < found.neg_elbo
    assert found.ppl == pytest.approx(math.exp(7 * found.iw_nll / found.tokens))
    variance = torch.cat([part.reading.posterior.mean for part in parts]).var(0)
    assert found.active_units == int((variance > 0.01).sum())
    assert (found.iw_samples, found.latent_size, found.mutual_information_sentences) == (5, 3, 7)


def test_batch_size_does_not_matter():
    model, dataset = tiny.model(latent_size=0), tiny.dataset([5, 1, 7, 3, 3, 8, 2])
    found = [evaluate(model, evaluation_loader(dataset, tiny.fields(), size)) for size in (1, 3, 7)]
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
    monkeypatch.setattr(mutual_information, "MOST_POSTERIORS", 5)
    found = evaluate(tiny.model(), batches, samples=1)
    assert (found.sentences, found.mutual_information_sentences) == (7, 5)
    assert found.mutual_information <= math.log(5)


def test_mutual_information_of_many_is_that_of_a_random_sample(monkeypatch):
    """z encodes the length, which sorts the batches, so the first posteriors are more similar than a random sample."""
    model, dataset = tiny.model(), tiny.dataset(torch.randint(1, 13, (300,)).tolist())

    def encode(targets, mask, labels=None):
        mean = 0.5 * mask.sum(1, keepdim=True).double().expand(-1, 3)
        return diagonal_gaussian(mean, torch.ones_like(mean))

    monkeypatch.setattr(model, "encode", encode)
    loader = evaluation_loader(dataset, tiny.fields(), 10)
    whole = evaluate(model, loader, samples=1)
    assert whole.mutual_information < math.log(100) - 1, "otherwise the limit log N would hide the loss"
    first = evaluate(model, list(loader)[:10], samples=1)
    monkeypatch.setattr(mutual_information, "MOST_POSTERIORS", 100)
    found = [evaluate(model, loader, samples=1, seed=seed) for seed in range(4)]
    assert {result.mutual_information_sentences for result in found} == {100}
    assert "a random sample of 100" in found[0].quantities["mutual_information"].how
    assert len({result.mutual_information for result in found}) == 4, "the seed decides the sample"
    off = max(abs(result.mutual_information - whole.mutual_information) for result in found)
    assert off < 0.25
    assert abs(first.mutual_information - whole.mutual_information) > 1.5 * off, "the first would not do"


def test_threads_share_a_model(batches):
    """Each gets the result that it would get alone, and the last one restores the mode before the first."""
    model = tiny.model(dropout=0.5, word_dropout=0.5)
    alone = [evaluate(model, batches, samples=20, seed=seed) for seed in range(6)]
    model.train()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda seed: evaluate(model, batches, samples=20, seed=seed), range(6)))
    assert found == alone
    assert all(part.training for part in model.modules())


def test_what_does_not_apply_is_left_out(batches):
    model = tiny.model()
    rows = Dataset.from_dict({"text": [""] * 7, "log_prob": [-2.5] * 7})
    plain, known = (evaluate(model, batches, samples=1, rows=given).to_dict() for given in (None, rows))
    assert not {"entropy", "gap", "characters", "bits_per_character"} & plain.keys()
    assert known == plain | {"entropy": 2.5, "gap": pytest.approx(plain["iw_nll"] / 2.5 - 1)}
    assert evaluate(model, batches, samples=1, rows=rows, cut=True).to_dict() == plain, (
        "the entropy of whole sentences does not apply to cut ones"
    )


def test_bits_per_character(batches):
    model, meter, total = tiny.model(), BitsPerCharacter(50), 0.0
    for number, batch in enumerate(batches):
        found = bounds(model, batch)
        meter.add(meter.measure(model, batch, found, number, torch.Generator()))
        total += float(found.iw_nll.sum())
    assert meter.results()["bits_per_character"][0] == pytest.approx(total / 50 / math.log(2))
