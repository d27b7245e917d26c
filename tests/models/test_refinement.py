"""Tests of refined posteriors: against autograd through the steps, steps by hand, and with real decoders."""

from copy import copy

import pytest
import tiny
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from textvae.models.outputs import Reading
from textvae.models.refinement import Refinement, refined, refined_reading, refined_with_gradient
from textvae.modules.distributions import diagonal_gaussian
from textvae.support.errors import UserError

NO_CLIP = 1e9
DECODERS = pytest.mark.parametrize(
    "options", [pytest.param(options, id=name) for name, options in tiny.DECODERS.items()]
)


class Toy:
    """A smooth -ELBO of 4 sentences with Z = 3: fixed noise for z, two layers that predict the words, and the KL."""

    def __init__(self, dtype=torch.double):
        self.noise, self.words = torch.randn(4, 3).to(dtype), torch.rand(4, 5).round().to(dtype)
        self.parameters = [(2 * torch.randn(*shape)).to(dtype).requires_grad_() for shape in ((3, 5), (5,))]
        # The gradients range from short to long, so that clipping changes some and leaves others.
        scale = torch.tensor([[0.1], [0.5], [2.0], [4.0]])
        self.start = [(scale * torch.randn(4, 3)).to(dtype).requires_grad_() for _ in range(2)]

    def row(self, index):
        """One sentence alone."""
        alone, part = copy(self), slice(index, index + 1)
        alone.noise, alone.words = self.noise[part], self.words[part]
        alone.start = [half[part].detach().requires_grad_() for half in self.start]
        return alone

    def bound(self, mean, log_variance):
        weight, bias = self.parameters
        logits = (mean + (0.5 * log_variance).exp() * self.noise).tanh() @ weight + bias
        nll = functional.softplus(logits) - self.words * logits
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        return nll.sum(-1) + kl.sum(-1)


def quadratic(optimum):
    """The bound 3/2 |mean - optimum|² + 1/2 |log_variance + 1|²."""
    return lambda mean, log_variance: (
        1.5 * (mean - optimum).square().sum(-1) + 0.5 * (log_variance + 1).square().sum(-1)
    )


def unrolled(negative_elbo, mean, log_variance, options):
    """The same steps in one graph, which autograd differentiates twice."""
    for _ in range(options.steps):
        gradients = torch.autograd.grad(
            negative_elbo(mean, log_variance).sum(), (mean, log_variance), create_graph=True
        )
        length = torch.cat(gradients, -1).norm(dim=-1, keepdim=True)
        scale = torch.where(length > options.gradient_clip, options.gradient_clip / length, 1.0)
        mean, log_variance = (
            part - options.learning_rate * scale * gradient
            for part, gradient in zip((mean, log_variance), gradients, strict=True)
        )
    return mean, log_variance


def gradients_of(toy, result):
    """The gradients of a loss that weights each number of the result differently and also uses theta directly."""
    weights = torch.arange(1.0, 13.0, dtype=torch.double).view(4, 3) / 12
    mean, log_variance = (part.double() for part in result)
    loss = (weights * mean).sum() + (weights * log_variance).sin().sum()
    loss = loss + sum(parameter.double().square().sum() for parameter in toy.parameters)
    return torch.autograd.grad(loss, [*toy.start, *toy.parameters])


def negative_elbo_of(model, batch, samples=2):
    """The bound of a model in evaluation mode, with fixed noise."""
    noise = torch.randn(samples, len(batch.inputs), model.config.latent_size).double()

    def negative_elbo(mean, log_variance):
        posterior = diagonal_gaussian(mean, (0.5 * log_variance).exp())
        z = posterior.mean + posterior.stddev * noise
        likelihood = model.score(z, batch.inputs, batch.targets, batch.mask)
        return kl_divergence(posterior, model.prior(len(mean), z)) - likelihood.mean(0)

    return negative_elbo


def encoded(model, batch):
    posterior = model.encode(batch.targets, batch.mask)
    return posterior.mean, 2 * posterior.stddev.log()


@pytest.mark.parametrize("clip", [NO_CLIP, 2.0, 0.1])
@pytest.mark.parametrize("steps", [1, 4])
def test_gradient_is_that_of_the_unrolled_steps(steps, clip):
    toy, options = Toy(), Refinement(steps=steps, learning_rate=0.1, gradient_clip=clip)
    result = refined_with_gradient(toy.bound, *toy.start, toy.parameters, options)
    expected = unrolled(toy.bound, *toy.start, options)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(gradients_of(toy, result), gradients_of(toy, expected), rtol=1e-7, atol=1e-7)


def test_some_sentences_of_that_test_are_clipped():
    toy = Toy()
    gradients = torch.autograd.grad(toy.bound(*toy.start).sum(), toy.start)
    clipped = torch.cat(gradients, -1).norm(dim=-1) > 2.0
    assert clipped.any()
    assert not clipped.all()


def test_gradient_in_single_precision_is_close_to_it():
    """The finite differences subtract gradients that agree in most of their digits."""
    options = Refinement(steps=4, learning_rate=0.1, gradient_clip=2.0)
    gradients = []
    for dtype in (torch.double, torch.float):
        torch.manual_seed(0)
        toy = Toy(dtype)
        result = refined_with_gradient(toy.bound, *toy.start, toy.parameters, options)
        gradients.append([gradient.double() for gradient in gradients_of(toy, result)])
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)


def test_one_step_on_a_quadratic_is_that_by_hand():
    optimum = torch.tensor([1.0, -2.0], dtype=torch.double, requires_grad=True)
    mean = torch.tensor([[0.0, 0.0], [3.0, 1.0]], dtype=torch.double, requires_grad=True)
    log_variance = torch.tensor([[1.0, 0.0], [-1.0, 2.0]], dtype=torch.double, requires_grad=True)
    options = Refinement(steps=1, learning_rate=0.1, gradient_clip=NO_CLIP)
    result = refined_with_gradient(quadratic(optimum), mean, log_variance, [optimum], options)
    # mean - 0.1 · 3 (mean - optimum), log_variance - 0.1 (log_variance + 1)
    torch.testing.assert_close(result[0], torch.tensor([[0.3, -0.6], [2.4, 0.1]]).double())
    torch.testing.assert_close(result[1], torch.tensor([[0.8, -0.1], [-1.0, 1.7]]).double())
    weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double()
    gradients = torch.autograd.grad(((result[0] + result[1]) * weights).sum(), [mean, log_variance, optimum])
    torch.testing.assert_close(gradients, (0.7 * weights, 0.9 * weights, 0.3 * weights.sum(0)))


def test_clipping_bounds_the_step():
    toy = Toy()
    options = Refinement(steps=1, learning_rate=0.1, gradient_clip=2.0)
    result = refined_with_gradient(toy.bound, *toy.start, toy.parameters, options)
    step = (torch.cat(result, -1) - torch.cat(toy.start, -1)).norm(dim=-1)
    full = torch.cat(torch.autograd.grad(toy.bound(*toy.start).sum(), toy.start), -1).norm(dim=-1)
    torch.testing.assert_close(step, 0.1 * full.clamp_max(2.0))


@pytest.mark.parametrize("sentences", [[0], [1, 3], [0, 1, 2, 3]])
def test_a_sentence_without_adjoint_has_no_gradient(sentences):
    toy, options = Toy(), Refinement(steps=3, learning_rate=0.1, gradient_clip=2.0)
    mean, log_variance = refined_with_gradient(toy.bound, *toy.start, toy.parameters, options)
    used = torch.ones(4, 1, dtype=torch.double)
    used[sentences] = 0
    gradients = torch.autograd.grad((used * (mean + log_variance)).sum(), [*toy.start, *toy.parameters])
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert all((gradient[sentences] == 0).all() for gradient in gradients[:2])
    assert all(gradient.any() for gradient in gradients) == (len(sentences) < 4)


def test_a_sentence_at_its_optimum_stays_there():
    optimum, log_variance = torch.zeros(2, 2).double(), -torch.ones(2, 2).double()
    mean = optimum.clone().requires_grad_()
    options = Refinement(steps=3, learning_rate=0.1)
    result = refined_with_gradient(quadratic(optimum), mean, log_variance, [], options)
    torch.testing.assert_close(result, (mean, log_variance))
    result[0].sum().backward()
    torch.testing.assert_close(mean.grad, torch.full_like(mean, 0.7**3))


def test_only_what_is_used_and_trained_gets_a_gradient():
    toy, unused = Toy(), torch.ones(2, requires_grad=True)
    toy.parameters[0].requires_grad_(False)
    options = Refinement(steps=2, learning_rate=0.1)
    result = refined_with_gradient(toy.bound, *toy.start, [*toy.parameters, unused], options)
    torch.cat(result).sum().backward()
    frozen, trained = toy.parameters
    assert frozen.grad is None
    assert unused.grad is None
    assert trained.grad.any()
    assert all(part.grad.any() for part in toy.start)


def test_autocast_does_not_reach_the_steps():
    options = Refinement(steps=2, learning_rate=0.1)
    toy = Toy(torch.float)
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            result = refined_with_gradient(toy.bound, *toy.start, toy.parameters, options)
            results.append([*result, *torch.autograd.grad(sum(result).sum(), [*toy.start, *toy.parameters])])
    torch.testing.assert_close(*results, rtol=0, atol=0)


@DECODERS
def test_gradient_through_a_decoder_is_the_slope_of_the_whole(options):
    """The gradient equals the slope of the refined bound along one direction of all weights, the encoder's too."""
    model, batch = tiny.model(**options), tiny.batch()
    negative_elbo = negative_elbo_of(model, batch)
    theta = [*model.decoder.parameters(), *model.output_layer.parameters()]
    steps = Refinement(steps=3, learning_rate=0.1)
    directions = [torch.randn_like(parameter) for parameter in model.parameters()]

    def loss():
        start = encoded(model, batch)
        return negative_elbo(*refined_with_gradient(negative_elbo, *start, theta, steps)).mean()

    def moved(by):
        with torch.no_grad():
            for parameter, direction in zip(model.parameters(), directions, strict=True):
                parameter += by * direction
            return loss()

    loss().backward()
    slope = sum(
        (parameter.grad * direction).sum()
        for parameter, direction in zip(model.parameters(), directions, strict=True)
    )
    difference = (moved(1e-5) - moved(-2e-5)) / 2e-5
    torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("learning_rate", [0.05, 1.0, 1e200])
def test_no_sentence_gets_worse(learning_rate):
    toy = Toy()
    before = toy.bound(*toy.start)
    after = toy.bound(*refined(toy.bound, *toy.start, Refinement(steps=5, learning_rate=learning_rate)))
    assert (after <= before).all()
    assert (after < before).any() == (learning_rate < 1e200)


def test_the_best_of_all_steps_is_kept():
    """The learning rate is so large that the mean oscillates around the optimum and diverges."""
    start = torch.tensor([[1.0]]).double(), torch.tensor([[-1.0]]).double()
    options = Refinement(steps=2, learning_rate=0.7, gradient_clip=NO_CLIP)
    visited = []

    def bound(mean, log_variance):
        visited.append(mean.item())
        # The bound is lower by 2 if the mean is negative: 1.5, -0.2, 2.2 nats at the three points.
        return quadratic(0.0)(mean, log_variance) - 2.0 * (mean[:, 0] < 0)

    mean, _ = refined(bound, *start, options)
    assert visited == pytest.approx([1.0, -1.1, 1.21])
    assert mean.item() == pytest.approx(-1.1)


def test_a_quadratic_is_refined_to_its_optimum():
    optimum = torch.randn(4, 3).double()
    start = torch.randn(2, 4, 3).double()
    mean, log_variance = refined(quadratic(optimum), *start, Refinement(steps=60, learning_rate=0.3))
    torch.testing.assert_close(mean, optimum)
    torch.testing.assert_close(log_variance, -torch.ones(4, 3).double())


@pytest.mark.parametrize("clip", [NO_CLIP, 2.0])
def test_a_batch_gives_what_its_sentences_give_alone(clip):
    toy, options = Toy(), Refinement(steps=3, learning_rate=0.1, gradient_clip=clip)
    alone = [toy.row(index) for index in range(4)]

    def best_last_and_gradient(of):
        best = torch.cat(refined(of.bound, *of.start, options), -1)
        last = torch.cat(refined_with_gradient(of.bound, *of.start, of.parameters, options), -1)
        return best, last, torch.cat(torch.autograd.grad(last.sin().sum(), of.start), -1)

    apart = zip(*map(best_last_and_gradient, alone), strict=True)
    for result, results in zip(best_last_and_gradient(toy), apart, strict=True):
        torch.testing.assert_close(result, torch.cat(results))


def test_evaluation_needs_and_leaves_no_gradient():
    toy, options = Toy(), Refinement(steps=3, learning_rate=0.1)
    expected = refined(toy.bound, *toy.start, options)
    with torch.no_grad():
        torch.testing.assert_close(refined(toy.bound, *toy.start, options), expected, rtol=0, atol=0)
        last = refined_with_gradient(toy.bound, *toy.start, toy.parameters, options)
    assert not any(part.requires_grad for part in (*expected, *last))
    assert all(tensor.grad is None for tensor in (*toy.start, *toy.parameters))


@DECODERS
def test_elbo_of_every_sentence_rises(options):
    model, batch = tiny.model(**options), tiny.batch()
    negative_elbo = negative_elbo_of(model, batch)
    with torch.no_grad():
        start = encoded(model, batch)
        result = refined(negative_elbo, *start, Refinement(steps=5, learning_rate=0.1))
        gain = negative_elbo(*start) - negative_elbo(*result)
    assert (gain > 0).all()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_empty_z_has_nothing_to_refine():
    model, batch = tiny.model(latent_size=0), tiny.batch()
    options = Refinement(steps=2, learning_rate=0.1)
    arguments = (negative_elbo_of(model, batch), *encoded(model, batch))
    assert [part.shape for part in refined(*arguments, options)] == [(4, 0)] * 2
    theta = list(model.decoder.parameters())
    assert [part.shape for part in refined_with_gradient(*arguments, theta, options)] == [(4, 0)] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps: expected greater than or equal to 1, got 0"),
        ({"learning_rate": 0.0}, r"learning_rate: expected greater than 0, got 0\.0"),
        ({"gradient_clip": -1.0}, r"gradient_clip: expected greater than 0, got -1\.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        Refinement(**({"steps": 5, "learning_rate": 0.1} | options))


def test_the_draws_of_the_steps_are_a_pair_mirrored_at_the_mean():
    """So a score that is linear in z is known exactly, and mean - eta (mean - slope) is one step of a prior N(0, I)."""
    mean, slope = torch.randn(3, 2).double(), torch.randn(2).double()
    posterior = diagonal_gaussian(mean, torch.full_like(mean, 0.7))
    prior = diagonal_gaussian(torch.zeros_like(mean), torch.ones_like(mean))
    drawn = []

    def score(z):
        drawn.append(z.detach())
        return z @ slope

    with torch.no_grad():
        options = Refinement(steps=1, learning_rate=0.1, gradient_clip=1e9)
        found = refined_reading(tiny.model(), Reading(posterior, prior, score), options)
    first, mirrored = drawn[0]
    assert (first != mirrored).all()
    torch.testing.assert_close((first + mirrored) / 2, mean)
    torch.testing.assert_close(found.posterior.mean, mean - 0.1 * (mean - slope))


@pytest.fixture
def linear(monkeypatch):
    """x ~ N(W z, .64 I) and the posteriors of four x, which are wrong; the draws are one deviation from the mean.

    The columns of W are orthogonal, so with these draws the bound has no noise.
    """
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    weight = torch.tensor([[1.0, -0.5], [0.5, 1], [0.5, 0]]).double()
    x = torch.randn(4, 3).double()
    posterior = diagonal_gaussian(torch.randn(4, 2).double(), torch.rand(4, 2).double() + 0.2)
    prior = diagonal_gaussian(torch.zeros(4, 2).double(), torch.ones(4, 2).double())
    return Reading(posterior, prior, lambda z: Normal(z @ weight.T, 0.8).log_prob(x).sum(-1)), weight, x


@pytest.mark.parametrize("kl_weight", [1.0, 0.3, 4.0])
def test_the_refined_posterior_is_the_exact_one(linear, kl_weight):
    """In proportion to p(z) p(x | z)^(1 / beta)."""
    reading, weight, x = linear
    options = Refinement(steps=800, learning_rate=0.3 / max(1, kl_weight), gradient_clip=NO_CLIP)
    with torch.no_grad():
        found = refined_reading(tiny.model(), reading, options, kl_weight).posterior
    precision = 1 + weight.square().sum(0) / (0.64 * kl_weight)
    torch.testing.assert_close(found.mean, x @ weight / (0.64 * kl_weight) / precision)
    torch.testing.assert_close(found.variance, precision.reciprocal().expand_as(found.mean))


@pytest.mark.parametrize("train", [False, True])
def test_steps_without_length_leave_the_posterior_as_it_is(linear, train):
    reading, *_ = linear
    with torch.set_grad_enabled(train):
        found = refined_reading(tiny.model(), reading, Refinement(steps=1, learning_rate=1e-12)).posterior
    torch.testing.assert_close(found.mean, reading.posterior.mean)
    torch.testing.assert_close(found.stddev, reading.posterior.stddev)
