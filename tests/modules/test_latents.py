"""Tests of densities and KL divergences: against full covariances of torch, closed forms and Monte Carlo."""

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from textvae.modules.distributions import DiagonalGaussianMixture, diagonal_gaussian, kl_per_dimension, sample
from textvae.modules.posteriors import GaussianPosterior, NormalizedMeans
from textvae.modules.priors import MixturePrior, StandardNormalPrior


@pytest.fixture
def gaussians():
    """Two batches of Gaussians with batch shape (4,) and event shape (3,)."""
    return [diagonal_gaussian(torch.randn(4, 3).double(), torch.rand(4, 3).double() + 0.3) for _ in range(2)]


def full(distribution):
    """The same distribution with a full covariance matrix."""
    return MultivariateNormal(distribution.mean, scale_tril=torch.diag_embed(distribution.stddev))


def test_density_is_that_of_the_full_covariance(gaussians):
    z = torch.randn(2, 4, 3).double()
    torch.testing.assert_close(gaussians[0].log_prob(z), full(gaussians[0]).log_prob(z))


def test_kl_is_that_of_the_full_covariance(gaussians):
    torch.testing.assert_close(kl_divergence(*gaussians), kl_divergence(*map(full, gaussians)))
    torch.testing.assert_close(kl_per_dimension(*gaussians).sum(-1), kl_divergence(*gaussians))


def test_kl_from_the_prior_is_the_published_formula(gaussians):
    """The formula of Kingma & Welling 2014, appendix B, for each dimension."""
    mean, variance = gaussians[0].mean, gaussians[0].variance
    prior = StandardNormalPrior(3)(4, mean)
    expected = -0.5 * (1 + variance.log() - mean.square() - variance)
    torch.testing.assert_close(kl_per_dimension(gaussians[0], prior), expected)


def test_kl_is_that_of_monte_carlo(gaussians):
    posterior, prior = gaussians
    z = sample(posterior, 100_000)
    draws = posterior.log_prob(z) - prior.log_prob(z)
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - kl_divergence(posterior, prior)).abs() < 4 * error).all()


def test_samples_have_the_moments_and_the_gradient_of_the_distribution():
    mean = torch.tensor([[1.0, -2.0]], requires_grad=True)
    scale = torch.tensor([[0.5, 2.0]], requires_grad=True)
    z = sample(diagonal_gaussian(mean, scale), 50_000)
    assert z.shape == (50_000, 1, 2)
    torch.testing.assert_close(z.mean(0), mean, rtol=0, atol=0.04)
    torch.testing.assert_close(z.std(0), scale, rtol=0.02, atol=0)
    z.sum().backward()
    torch.testing.assert_close(mean.grad, torch.full_like(mean, 50_000.0))
    torch.testing.assert_close(
        scale.grad, ((z.detach() - mean) / scale).sum(0).detach(), rtol=1e-3, atol=1e-1
    )


def test_a_draw_with_a_generator_is_that_of_its_noise(gaussians):
    found = sample(gaussians[0], 5, torch.Generator().manual_seed(3))
    noise = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    torch.testing.assert_close(found, gaussians[0].mean + gaussians[0].stddev * noise)


def test_posterior_is_of_its_two_layers():
    module = GaussianPosterior(5, 3).double()
    summary = torch.randn(4, 5).double()
    posterior = module(summary)
    torch.testing.assert_close(posterior.mean, summary @ module.mean.weight.T)
    torch.testing.assert_close(posterior.variance.log(), summary @ module.log_variance.weight.T)


def test_posterior_is_precise_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        posterior = GaussianPosterior(5, 3)(torch.randn(4, 5))
    assert posterior.mean.dtype == posterior.stddev.dtype == torch.float32


@pytest.mark.parametrize("like", [torch.zeros(1, dtype=torch.double), torch.zeros(1, device="meta")], ids=str)
def test_prior_follows_what_it_is_compared_with(like):
    prior = StandardNormalPrior(3)(4, like)
    assert prior.mean.dtype == prior.stddev.dtype == like.dtype
    assert prior.mean.device == prior.stddev.device == like.device
    assert prior.batch_shape == (4,)


def test_no_latent_dimensions_have_no_divergence():
    prior = StandardNormalPrior(0)(4, torch.zeros(1))
    z = sample(prior, 2)
    assert z.shape == (2, 4, 0)
    assert torch.equal(prior.log_prob(z), torch.zeros(2, 4))
    assert torch.equal(kl_divergence(prior, prior), torch.zeros(4))


def test_normalised_means_have_the_deviation_that_was_asked_for():
    module = NormalizedMeans(3, 0.6).double()
    torch.nn.init.constant_(module.bias, 0.2)
    means = module(5 + 0.01 * torch.randn(16, 3).double())
    torch.testing.assert_close(means.mean(0), torch.full((3,), 0.2).double())
    torch.testing.assert_close(
        means.std(0, unbiased=False), torch.full((3,), 0.6).double(), rtol=1e-3, atol=0
    )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_normalised_means_keep_the_kl_over_its_bound(scale):
    """The mean KL is at least gamma² Z / 2 for every batch, whatever the variances of the posteriors."""
    module = GaussianPosterior(5, 4, normalize_means=0.5).double()
    for _ in range(20):
        posterior = module(scale * torch.randn(32, 5).double())
        kl = kl_divergence(posterior, StandardNormalPrior(4)(32, posterior.mean)).mean()
        assert float(kl.detach()) >= 0.5 * 0.25 * 4 * 0.9999


def test_one_sentence_is_normalised_by_what_was_seen_before():
    module = NormalizedMeans(2, 0.5).double()
    for _ in range(200):
        module(torch.tensor([[1.0, 4.0], [3.0, 0.0]]).double())
    # The running variances are the unbiased estimates, 2 and 8.
    expected = torch.tensor([[0.5 / 2**0.5, -0.5 * 2 / 8**0.5]]).double()
    torch.testing.assert_close(module(torch.tensor([[3.0, 0.0]]).double()), expected, rtol=1e-6, atol=1e-6)
    before = module.norm.running_mean.clone()
    module.eval()(torch.randn(5, 2).double())
    assert torch.equal(module.norm.running_mean, before)


def test_running_moments_are_those_of_torch():
    module, expected = NormalizedMeans(2, 1.0), torch.nn.BatchNorm1d(2, eps=1e-12, affine=False)
    for size in (5, 2, 9):
        mean = 3 + 2 * torch.randn(size, 2)
        torch.testing.assert_close(module(mean), expected(mean))
    torch.testing.assert_close(module.norm.running_mean, expected.running_mean)
    torch.testing.assert_close(module.norm.running_var, expected.running_var)


# ---- a mixture for a prior


@pytest.fixture
def mixture():
    """A mixture of three components with Z = 2, batch shape (4,)."""
    logits, mean = torch.tensor([0.1, -0.4, 0.7]).double(), 2 * torch.randn(3, 2).double()
    return DiagonalGaussianMixture(logits, mean, torch.rand(3, 2).double() + 0.5, 4)


@pytest.fixture
def posterior():
    return diagonal_gaussian(torch.randn(4, 2).double(), torch.rand(4, 2).double() + 0.2)


def test_a_mixture_s_density_is_the_weighted_sum(mixture):
    z = torch.randn(5, 4, 2).double()
    weights = torch.tensor([0.1, -0.4, 0.7]).double().softmax(0)
    parts = [
        weight
        * diagonal_gaussian(mixture.components.mean[:, c], mixture.components.stddev[:, c]).log_prob(z).exp()
        for c, weight in enumerate(weights)
    ]
    torch.testing.assert_close(mixture.log_prob(z), sum(parts).log())


def test_the_kl_to_a_mixture_is_an_upper_bound(mixture, posterior):
    z = sample(posterior, 100_000)
    draws = posterior.log_prob(z) - mixture.log_prob(z)
    error = draws.std(0) / len(draws) ** 0.5
    assert (draws.mean(0) - 4 * error < kl_divergence(posterior, mixture)).all()


def test_the_kl_to_a_mixture_is_exact_within_one_component(posterior):
    """If the posterior is inside component 2 and the others are far away, the KL is KL(q ‖ p_2) - log pi_2."""
    far = torch.tensor([[-500.0, 0.0], [0.0, 0.0], [500.0, 0.0]]).double()
    logits = torch.tensor([0.2, 0.3, 0.5]).double().log()
    mixture = DiagonalGaussianMixture(logits, far, torch.ones(3, 2).double(), 4)
    own = kl_divergence(posterior, StandardNormalPrior(2)(4, posterior.mean))
    torch.testing.assert_close(kl_divergence(posterior, mixture), own - logits[1])


def test_one_component_is_a_gaussian(gaussians):
    posterior, other = gaussians
    logits, mean, scale = torch.zeros(1).double(), other.mean[:1], other.stddev[:1]
    mixture = DiagonalGaussianMixture(logits, mean, scale, 4)
    gaussian = diagonal_gaussian(mean.expand(4, -1), scale.expand(4, -1))
    torch.testing.assert_close(kl_divergence(posterior, mixture), kl_divergence(posterior, gaussian))
    torch.testing.assert_close(kl_per_dimension(posterior, mixture), kl_per_dimension(posterior, gaussian))


def test_the_kl_to_a_mixture_is_the_sum_over_dimensions(mixture, posterior):
    torch.testing.assert_close(
        kl_per_dimension(posterior, mixture).sum(-1), kl_divergence(posterior, mixture)
    )


def test_responsibilities_are_those_of_bayes():
    prior = MixturePrior(1, 2)
    prior.start_from(torch.tensor([0.25, 0.75]), torch.tensor([[-1.0], [1.0]]), torch.ones(2, 1))
    z = torch.tensor([[0.0], [0.5]])
    # At 0 both are equally near; at 1/2 the odds of the second component grow by exp((1.5² - 0.5²) / 2) = e.
    odds = 3 * torch.tensor([1.0, torch.e])
    torch.testing.assert_close(prior.responsibilities(z)[:, 1], odds / (1 + odds))


def test_a_mixture_prior_is_the_one_that_it_starts_from():
    weights, variances = torch.tensor([0.25, 0.75]), torch.tensor([[4.0, 1.0], [0.25, 9.0]])
    means = torch.tensor([[-1.0, 0.0], [1.0, 2.0]])
    prior = MixturePrior(2, 2)
    prior.start_from(weights, means, variances)
    found = prior(3, means)
    torch.testing.assert_close(found.mixture_distribution.probs, weights.expand(3, -1))
    torch.testing.assert_close(found.components.mean, means.expand(3, -1, -1))
    torch.testing.assert_close(found.components.variance, variances.expand(3, -1, -1))


def test_every_parameter_of_a_mixture_prior_learns():
    prior = MixturePrior(2, 3)
    posterior = diagonal_gaussian(torch.randn(4, 2), torch.ones(4, 2))
    kl_divergence(posterior, prior(4, posterior.mean)).sum().backward()
    assert all(bool((parameter.grad != 0).all()) for parameter in prior.parameters())


def test_draws_have_the_moments_of_a_mixture(mixture):
    generator = torch.Generator().manual_seed(0)
    draws = sample(mixture, 4_000, generator).flatten(0, 1)
    torch.testing.assert_close(draws.mean(0), mixture.mean[0], rtol=0, atol=0.06)
    torch.testing.assert_close(draws.std(0), mixture.stddev[0], rtol=0.04, atol=0)
