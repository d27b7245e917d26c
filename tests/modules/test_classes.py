"""The joint distribution of class and z, compared with formulas and Monte Carlo, with and without labels."""

import pytest
import torch
from torch.distributions import kl_divergence

from textvae.modules.classes import UNLABELLED, ClassGaussian
from textvae.modules.distributions import diagonal_gaussian, gaussians_of, kl_per_dimension, sample
from textvae.modules.posteriors import ClassPosterior
from textvae.modules.priors import ClassPrior

LABELS = torch.tensor([2, UNLABELLED, 0, UNLABELLED])


@pytest.fixture
def parts():
    """log q(y), means and standard deviations for four sentences, three classes and two dimensions."""
    scores = torch.randn(4, 3).double().log_softmax(-1)
    return scores, torch.randn(4, 3, 2).double(), torch.rand(4, 3, 2).double() + 0.3


def prior():
    return ClassPrior(2, 3)(4, torch.zeros(1).double())


def value(z, y):
    return torch.cat([z, torch.eye(3).double()[y]])


def test_density_is_the_product(parts):
    posterior, z = ClassGaussian(*parts), torch.randn(4, 2).double()
    for y in range(3):
        values = torch.stack([value(row, y) for row in z])
        expected = parts[0][:, y] + diagonal_gaussian(parts[1][:, y], parts[2][:, y]).log_prob(z)
        torch.testing.assert_close(posterior.log_prob(values[None])[0], expected)


@pytest.mark.parametrize("labels", [None, LABELS])
def test_kl_is_that_of_monte_carlo(parts, labels):
    posterior = ClassGaussian(*parts, labels)
    values = posterior.rsample((100_000,))
    draws = posterior.log_prob(values) - prior().log_prob(values)
    error = draws.std(0) / len(draws) ** 0.5
    kl = kl_divergence(posterior, prior())
    assert ((draws.mean(0) - kl).abs() < 4 * error).all()
    torch.testing.assert_close(kl_per_dimension(posterior, prior()).sum(-1), kl)


def test_a_known_class_costs_its_probability(parts):
    """The KL is KL(q(z | y) ‖ p(z)) + log C, whatever the classifier says."""
    scores, mean, scale = parts
    kl = kl_divergence(ClassGaussian(scores, mean, scale, LABELS), prior())
    own = diagonal_gaussian(mean[0, 2], scale[0, 2])
    standard = diagonal_gaussian(torch.zeros(2).double(), torch.ones(2).double())
    torch.testing.assert_close(kl[0], kl_divergence(own, standard) + torch.tensor(3.0).double().log())


@pytest.mark.parametrize("labels", [None, LABELS])
def test_moments_are_those_of_draws(parts, labels):
    posterior = ClassGaussian(*parts, labels)
    values = posterior.rsample((200_000,))
    torch.testing.assert_close(values.mean(0), posterior.mean, rtol=0, atol=0.02)
    torch.testing.assert_close(values.std(0), posterior.stddev, rtol=0, atol=0.02)
    generator = torch.Generator().manual_seed(0)
    again = sample(posterior, 4_000, generator)
    torch.testing.assert_close(again.mean(0), posterior.mean, rtol=0, atol=0.08)
    torch.testing.assert_close(again.std(0), posterior.stddev, rtol=0, atol=0.08)


def test_enumeration_is_the_expectation_over_classes(parts):
    """The expectation of (y + 1) z_0, which is known exactly."""
    posterior = ClassGaussian(*parts, LABELS)
    values, weights = posterior.enumerated(50_000)
    assert values.shape == (150_000, 4, 5)
    torch.testing.assert_close(weights.sum(0), torch.ones(4).double())
    score = (values[..., 2:] @ torch.arange(1.0, 4.0).double()) * values[..., 0]
    known = (posterior.probabilities * torch.arange(1.0, 4.0).double() * parts[1][..., 0]).sum(-1)
    torch.testing.assert_close((weights * score).sum(0), known, rtol=0, atol=0.03)


def test_the_relaxed_draw_is_a_class_and_has_a_gradient(parts):
    scores = parts[0].clone().requires_grad_()
    draws = ClassGaussian(scores, *parts[1:], LABELS).relaxed(0.5, 2_000)
    classes = draws[..., 2:]
    torch.testing.assert_close(classes.max(-1).values, torch.ones(2_000, 4).double())
    torch.testing.assert_close(classes.sum(-1), torch.ones(2_000, 4).double())
    assert (classes[:, 0, 2] == 1).all(), "a known class is not drawn"
    torch.testing.assert_close(classes.mean(0)[1], scores[1].exp().detach(), rtol=0, atol=0.05)
    (draws[..., 2] ** 2).sum().backward()
    assert (scores.grad.abs().sum(-1) > 0).tolist() == [False, True, False, True]


def test_the_mode_is_that_of_the_likeliest_class(parts):
    posterior = ClassGaussian(*parts)
    y = parts[0].argmax(-1)
    expected = torch.stack([value(parts[1][row, c], c) for row, c in enumerate(y.tolist())])
    torch.testing.assert_close(posterior.mode, expected)
    parts_again = gaussians_of(posterior)
    torch.testing.assert_close(parts_again.log_weights.exp(), parts[0].exp())
    torch.testing.assert_close(parts_again.mean, parts[1])


def test_labels_give_no_gradient_that_is_no_number(parts):
    scores = (100 * parts[0]).requires_grad_()  # so large that some probabilities are 0
    posterior = ClassGaussian(scores.log_softmax(-1), *parts[1:], LABELS)
    kl_divergence(posterior, prior()).sum().backward()
    assert scores.grad.isfinite().all()


def test_the_posterior_with_classes_is_of_its_layers():
    module, summary = ClassPosterior(5, 2, 3).double(), torch.randn(4, 5).double()
    posterior = module(summary)
    torch.testing.assert_close(posterior.log_probabilities, module.classifier(summary).log_softmax(-1))
    for y in range(3):
        hidden = (module.hidden(summary) + module.embedding.weight[y]).tanh()
        torch.testing.assert_close(posterior.given.mean[:, y], module.mean(hidden))
        torch.testing.assert_close(posterior.given.variance[:, y].log(), module.log_variance(hidden))


def test_z_depends_on_the_class():
    posterior = ClassPosterior(5, 2, 3)(torch.randn(4, 5))
    assert (posterior.given.mean[:, 0] != posterior.given.mean[:, 1]).all()
