"""Tests of the chain of Gaussians, and of what all three latent variables must do."""

import math

import pytest
import tiny
import torch
from torch.distributions import Independent, Normal, kl_divergence

from textvae.modules.conditional_latents import RecurrentGaussian, RecurrentStep
from textvae.modules.distributions import along, diagonal_gaussian, kl_per_dimension, kl_per_sentence, sample


@pytest.fixture
def chain():
    """A chain for two sentences of three steps, with Z = 2."""
    return RecurrentGaussian(RecurrentStep(4, 5, 2).double(), torch.randn(2, 3, 4).double())


def test_each_step_depends_on_the_one_before(chain):
    """The parameters along z equal those of `RecurrentStep`, called for one step after the other from z_0 = 0."""
    z, previous = torch.randn(6, 2, 3, 2).double(), torch.zeros(6, 2, 2).double()
    gaussians = chain.at(z)
    assert (gaussians.batch_shape, gaussians.event_shape) == ((6, 2), (3, 2))
    for t in range(3):
        one = chain.step(chain.known[:, t], previous)
        torch.testing.assert_close(gaussians.mean[:, :, t], one.mean)
        torch.testing.assert_close(gaussians.stddev[:, :, t], one.stddev)
        previous = z[:, :, t]


def test_draws_follow_the_density(chain):
    """If z is computed from noise, then log q(z) = log N(noise; 0, I) - sum of log s."""
    noise = torch.randn(6, 2, 3, 2).double()
    z = chain.path(noise)
    gaussians = chain.at(z)
    expected = Normal(0, 1).log_prob(noise) - gaussians.stddev.log()
    torch.testing.assert_close(chain.log_prob(z), expected.sum((-1, -2)))
    assert chain.rsample((7,)).shape == (7, 2, 3, 2)
    torch.testing.assert_close(chain.at(chain.mean).mean, chain.mean)


@torch.no_grad()
def test_the_density_of_a_chain_integrates_to_one():
    chain = RecurrentGaussian(RecurrentStep(4, 5, 1).double(), torch.randn(1, 2, 4).double())
    axis = torch.linspace(-12, 12, 241).double()
    z = torch.cartesian_prod(axis, axis)[:, None, :, None]
    assert float(chain.log_prob(z).exp().sum()) * 0.1**2 == pytest.approx(1, abs=1e-6)


def test_a_chain_goes_on_where_it_was_left(chain):
    """One step at a time, as in generation, gives the same chain."""
    noise = torch.randn(2, 3, 2).double()
    features, previous, written = torch.randn(2, 3, 4).double(), None, []
    for t in range(3):
        one = RecurrentGaussian(chain.step, features[:, t : t + 1], previous)
        z = one.path(noise[:, t : t + 1])
        previous = z[:, -1]
        written.append(previous)
    whole = RecurrentGaussian(chain.step, features).path(noise)
    torch.testing.assert_close(torch.stack(written, 1), whole)


def test_a_draw_with_a_generator_is_that_of_its_noise(chain):
    one, same = (sample(chain, 1, torch.Generator().manual_seed(3))[0] for _ in range(2))
    assert torch.equal(one, same)
    noise = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    torch.testing.assert_close(one, chain.path(noise))


def test_divergence_is_the_mean_over_draws_and_the_sum_over_steps():
    shape = (6, 2, 3, 2)
    q, p = (
        Independent(Normal(torch.randn(shape).double(), torch.rand(shape).double() + 0.2), 2)
        for _ in range(2)
    )
    each = kl_divergence(q.base_dist, p.base_dist)
    torch.testing.assert_close(kl_per_dimension(q, p), each.sum(2).mean(0))
    torch.testing.assert_close(kl_per_sentence(q, p), each.sum((2, 3)).mean(0))


def test_divergence_of_gaussians_is_that_of_draws():
    """The KL divergence of two Gaussians is the mean log-ratio over draws from the first."""
    q = diagonal_gaussian(torch.tensor([0.5, -1.0]).double(), torch.tensor([0.5, 2.0]).double())
    p = diagonal_gaussian(torch.tensor([0.0, 0.3]).double(), torch.tensor([1.5, 0.9]).double())
    z = q.sample((200_000,))
    ratios = q.log_prob(z) - p.log_prob(z)
    error = float(ratios.std()) / math.sqrt(len(ratios))
    assert abs(float(ratios.mean() - kl_divergence(q, p))) < 4 * error < 0.05
    assert float(kl_divergence(q, q)) == 0


@pytest.mark.parametrize("latent", ["attention", "step"])
@pytest.mark.parametrize("prior", ["source", "standard_normal"])
def test_at_pads_the_posterior_is_the_prior(latent, prior):
    model, batch = tiny.seq2seq(latent_type=latent, prior_type=prior), tiny.collate_pairs(tiny.pairs())
    reading = model.read(batch.inputs, batch.targets, batch.mask, batch.source, batch.source_mask)
    z = reading.posterior.rsample((5,))
    q, p = along(reading.posterior, z).base_dist, along(reading.prior, z).base_dist
    divergence, weight = kl_divergence(q, p), p.log_prob(z) - q.log_prob(z)
    pads = ~batch.mask
    assert (divergence[..., pads, :] == 0).all()
    assert (weight[..., pads, :] == 0).all()
    assert (divergence[..., batch.mask, :] > 0).all()


@pytest.mark.parametrize("latent", ["sentence", "attention", "step"])
def test_without_the_source_the_prior_is_standard_normal(latent):
    model = tiny.seq2seq(latent_type=latent, prior_type="standard_normal")
    reading = model.read(**tiny.collate_pairs(tiny.pairs()))
    prior = along(reading.prior, reading.posterior.rsample((2,))).base_dist
    assert (prior.mean == 0).all()
    assert (prior.stddev == 1).all()
