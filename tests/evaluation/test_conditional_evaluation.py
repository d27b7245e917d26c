"""Evaluation of a conditional model, by the same code as for a language model."""

import math
from types import SimpleNamespace

import pytest
import tiny
import torch
from datasets import Dataset
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from textvae.evaluation import evaluate as evaluation
from textvae.evaluation.evaluate import evaluate, evaluate_rows
from textvae.evaluation.meters import interventions
from textvae.evaluation.meters.latent_use import LatentUse
from textvae.inference.bounds import bounds
from textvae.models.outputs import Reading
from textvae.models.refinement import Refinement
from textvae.models.seq2seq import Seq2SeqVAEModel
from textvae.modules.distributions import along, diagonal_gaussian, sample
from textvae.support.errors import UserError
from textvae.text.batches import Batch

EACH = pytest.mark.parametrize("latent", ["sentence", "attention", "step"])


class ConditionalLinearGaussian(Seq2SeqVAEModel):
    """z ~ N(A s, I), y | z ~ N(W z, r² I), so that y | s ~ N(W A s, W W^T + r² I), with the exact posterior."""

    device = torch.device("cpu")

    def __init__(self):
        nn.Module.__init__(self)
        self.config = SimpleNamespace(latent_size=2)
        self.reach = torch.tensor([[0.5, 1.0], [-2.0, 0.3]]).double()
        # Its columns are orthogonal, so the dimensions of the posterior are independent, too.
        self.weight = torch.tensor([[1.0, -0.5], [0.5, 1], [0.5, 0]]).double()
        self.scale = 0.8

    def read(self, inputs, targets, mask, source, source_mask):
        prior_mean = source @ self.reach.T
        precision = 1 + self.weight.square().sum(0) / self.scale**2
        mean = (prior_mean + targets @ self.weight / self.scale**2) / precision
        return Reading(
            diagonal_gaussian(mean, precision.rsqrt().expand_as(mean)),
            diagonal_gaussian(prior_mean, torch.ones_like(mean)),
            lambda z: Normal(z @ self.weight.T, self.scale).log_prob(targets).sum(-1),
        )

    def log_evidence(self, y, source):
        covariance = self.weight @ self.weight.T + self.scale**2 * torch.eye(3).double()
        return MultivariateNormal(source @ (self.weight @ self.reach).T, covariance).log_prob(y)


def observed():
    """Five pairs, in the form in which `bounds` passes them to the toy."""
    y, source = torch.randn(5, 3).double(), torch.randn(5, 2).double()
    masks = {name: torch.ones(5, size, dtype=torch.bool) for name, size in (("mask", 3), ("source_mask", 2))}
    return Batch({"inputs": y, "targets": y, "source": source, **masks})


@pytest.mark.parametrize("samples", [1, 7, 150])
@pytest.mark.parametrize("at_once", [4, 1000])
def test_with_the_exact_posterior_every_bound_is_log_p_of_the_target(monkeypatch, samples, at_once):
    model, pairs = ConditionalLinearGaussian(), observed()
    monkeypatch.setattr("textvae.inference.bounds.TOKEN_SAMPLES", at_once * pairs.inputs.numel())
    found = bounds(model, pairs, samples)
    torch.testing.assert_close(found.iw_nll, -model.log_evidence(pairs.targets, pairs.source))
    torch.testing.assert_close(found.kl_per_dimension.sum(-1), found.kl)


def test_the_elbo_is_log_p_of_the_target_on_average():
    model, pairs = ConditionalLinearGaussian(), observed()
    found, exact = bounds(model, pairs, 20_000), -model.log_evidence(pairs.targets, pairs.source)
    torch.testing.assert_close(found.neg_elbo, exact, rtol=0, atol=0.05)


@pytest.fixture
def batches():
    return [
        tiny.collate_pairs(tiny.pairs(*lengths)) for lengths in [((5, 1, 7), (2, 6, 4)), ((2, 9), (3, 3))]
    ]


@EACH
def test_quantities_are_those_of_the_bounds(latent, batches, monkeypatch):
    model, parts = tiny.seq2seq(latent_type=latent), tiny.recorded(monkeypatch, evaluation, "bounds")
    found = evaluate(model, batches, samples=5, seed=3, fields=tiny.pair_fields())
    for name in ("neg_elbo", "iw_nll", "kl"):
        expected = torch.cat([getattr(part, name) for part in parts]).mean()
        assert found[name] == pytest.approx(float(expected))
    assert sum(found.kl_per_dimension) == pytest.approx(found.kl)
    assert found.reconstruction == pytest.approx(found.neg_elbo - found.kl)
    assert (found.sentences, found.tokens) == (5, 5 + 1 + 7 + 2 + 9 + 5)
    assert "mutual_information" not in found, "one target a source does not show it"
    assert "reconstruction_bleu" not in found, "the posterior has seen the target"
    assert "accuracy" not in found
    assert {"mutual_information", "reconstruction_bleu", "accuracy"}.isdisjoint(found.to_dict())


@EACH
def test_units_are_active_by_their_distance_from_the_prior(latent, batches):
    model, shifts = tiny.seq2seq(latent_type=latent, initial_range=2.0), []
    for batch in batches:
        reading = model.read(**batch)
        mean = reading.posterior.mean
        shift = mean - along(reading.prior, mean).mean
        shifts.append(shift[batch.mask] if latent != "sentence" else shift)
    expected = int((torch.cat(shifts).detach().var(0) > 0.01).sum())
    assert evaluate(model, batches, samples=1).active_units == expected > 0


@EACH
def test_means_are_measured_from_the_prior_s_at_real_steps(latent, batches):
    model = tiny.seq2seq(latent_type=latent)
    found = bounds(model, batches[0])
    measured = LatentUse().measure(model, batches[0], found, 0, torch.Generator())
    with torch.no_grad():
        reading = model.read(**batches[0])
        mean = reading.posterior.mean
        expected = mean - along(reading.prior, mean).mean
    assert (expected != mean).any()
    torch.testing.assert_close(
        measured.means, expected if latent == "sentence" else expected[batches[0].mask]
    )


def test_a_posterior_that_is_the_prior_has_no_active_units(batches):
    """This holds even if the prior varies from source to source."""
    model = tiny.seq2seq(latent_type="attention")
    model.latent.distributions = lambda *given: (model.latent.generative(*given[:2], None),) * 2
    found = evaluate(model, batches, samples=1)
    assert (found.kl, found.active_units) == (0, 0)


@EACH
def test_the_latent_is_replaced_by_the_priors_and_by_the_pair_befores(monkeypatch, latent, batches):
    """Without noise, z is the mean of its distribution."""
    monkeypatch.setattr(interventions, "sample", lambda distribution, *_: distribution.mean[None])
    model, lost = tiny.seq2seq(latent_type=latent), torch.zeros(2).double()
    for batch in batches:
        with torch.no_grad():
            reading = model.read(**batch)
            mean = reading.posterior.mean
            others = torch.cat([mean[-1:], mean[:-1]])
            lost -= reading.score(torch.stack([reading.prior.mean, others])).sum(1)
    found = evaluate(model, batches, samples=1)
    assert found.reconstruction_prior_z == pytest.approx(float(lost[0]) / 5)
    assert found.reconstruction_shuffled_z == pytest.approx(float(lost[1]) / 5)


@EACH
def test_the_seed_decides_the_draws(latent, batches):
    model = tiny.seq2seq(latent_type=latent)
    one, same, other = (evaluate(model, batches, samples=2, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one.neg_elbo != other.neg_elbo
    generator = torch.Generator().manual_seed(0)
    reading = model.read(**batches[0])
    assert sample(reading.prior, 1, generator)[0].shape == reading.posterior.mean.shape


def test_rows_of_strings_are_measured():
    tokenizer = tiny.tokenizer()
    model = tiny.seq2seq(source_vocab_size=len(tokenizer), latent_size=0)
    rows = Dataset.from_dict({"source": ["a b", "c"], "target": ["d e f", "g"]})
    found = evaluate_rows(model, tiny.pair_fields(), rows, show_progress_bar=False)
    pairs = [{"ids": [7, 8, 9], "source_ids": [4, 5]}, {"ids": [10], "source_ids": [6]}]
    exact = -model(**tiny.collate_pairs(pairs)).score.detach()
    assert found.neg_elbo == pytest.approx(float(exact.mean()))
    assert found.tokens == 6
    assert "entropy" not in found
    assert found.ppl == pytest.approx(math.exp(float(exact.sum()) / 6))


def test_one_z_a_pair_is_refined(batches):
    model = tiny.seq2seq()
    plain, refined = (evaluate(model, batches, samples=50, refinement=way) for way in (None, Refinement()))
    assert refined.neg_elbo < plain.neg_elbo


@pytest.mark.parametrize("latent", ["attention", "step"])
def test_a_z_of_each_step_is_not_refined(latent, batches):
    with pytest.raises(UserError, match="expected a model with one Gaussian z for each sentence"):
        bounds(tiny.seq2seq(latent_type=latent), batches[0], refinement=Refinement())
