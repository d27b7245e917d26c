"""The bounds of a model with a known log p(x), for any number of samples."""

import pytest
import tiny
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from textvae.evaluation.meters.latent_use import LatentUse
from textvae.inference.bounds import bounds
from textvae.models.outputs import Reading
from textvae.modules.distributions import diagonal_gaussian
from textvae.modules.priors import StandardNormalPrior
from textvae.text.batches import Batch

SAMPLES = (1, 7, 150)
BOUNDS = ("neg_elbo", "iw_nll", "kl", "kl_per_dimension")


class LinearGaussian:
    """z ~ N(0, I), x | z ~ N(W z + b, s² I), so that x ~ N(b, W W^T + s² I).

    The columns of W are orthogonal, so the dimensions of the exact posterior are independent, too. Its precision is
    I + W^T W / s², its mean W^T (x - b) / s² divided by the precision. The encoder's mean is off by ``error``.
    """

    has_latent = True
    device = torch.device("cpu")

    def __init__(self, error):
        self.prior = StandardNormalPrior(2)
        self.weight = torch.tensor([[1.0, -0.5], [0.5, 1], [0.5, 0]]).double()
        self.bias, self.scale, self.error = torch.tensor([0.1, -0.2, 0.3]).double(), 0.8, error
        self.decoded = []

    def encode(self, x, mask):
        precision = 1 + self.weight.square().sum(0) / self.scale**2
        mean = (x - self.bias) @ self.weight / self.scale**2 / precision
        return diagonal_gaussian(mean + self.error, (1 + self.error) * precision.rsqrt().expand_as(mean))

    def read(self, inputs, targets, mask):
        posterior = self.encode(targets, mask)
        return Reading(
            posterior,
            self.prior(len(targets), posterior.mean),
            lambda z: self.score(z, inputs, targets, mask),
        )

    def score(self, z, inputs, targets, mask):
        self.decoded.append(len(z))
        return Normal(z @ self.weight.T + self.bias, self.scale).log_prob(targets).sum(-1)

    def log_evidence(self, x):
        covariance = self.weight @ self.weight.T + self.scale**2 * torch.eye(3).double()
        return MultivariateNormal(self.bias, covariance).log_prob(x)


def observed(count=1, repeats=1):
    """A batch of ``count`` points, each ``repeats`` times, in the form in which `bounds` passes them to the toy."""
    x = torch.randn(count, 3).double().repeat_interleave(repeats, 0)
    return Batch({"inputs": x, "targets": x, "mask": torch.ones_like(x, dtype=torch.bool)})


@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("at_once", [1, 4, 1000])
def test_with_the_exact_posterior_every_bound_is_log_p(monkeypatch, samples, at_once):
    """All importance weights are then p(x), so any error in K or in the chunks is visible."""
    model, batch = LinearGaussian(error=0.0), observed(5)
    monkeypatch.setattr("textvae.inference.bounds.TOKEN_SAMPLES", at_once * batch.inputs.numel())
    torch.testing.assert_close(bounds(model, batch, samples).iw_nll, -model.log_evidence(batch.inputs))


@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("at_once", [1, 4, 7, 1000])
def test_as_many_samples_are_decoded_as_asked_for(monkeypatch, samples, at_once):
    model, batch = LinearGaussian(error=0.1), observed(5)
    monkeypatch.setattr("textvae.inference.bounds.TOKEN_SAMPLES", at_once * batch.inputs.numel())
    bounds(model, batch, samples)
    assert sum(model.decoded) == samples
    assert max(model.decoded) == min(samples, at_once)


def test_chunks_do_not_change_the_estimate(monkeypatch):
    """The draws are the same in chunks of four and all at once."""
    model, batch, draws = LinearGaussian(error=0.3), observed(5), torch.randn(150, 5, 2).double()

    def estimate(at_once):
        position = 0

        def rsample(posterior, shape):
            nonlocal position
            position += shape[0]
            return posterior.mean + posterior.stddev * draws[position - shape[0] : position]

        monkeypatch.setattr(torch.distributions.Independent, "rsample", rsample)
        monkeypatch.setattr("textvae.inference.bounds.TOKEN_SAMPLES", at_once * batch.inputs.numel())
        found = bounds(model, batch, 150)
        return {name: getattr(found, name) for name in BOUNDS}

    torch.testing.assert_close(estimate(4), estimate(1000))


def test_bounds_hold_and_tighten_with_the_samples():
    """Mean over 4,000 estimates: -ELBO >= iw(1) >= iw(7) >= iw(150) >= -log p(x), and the last two are close."""
    model, batch = LinearGaussian(error=0.3), observed(3, repeats=4000)
    exact = -model.log_evidence(batch.inputs[::4000])

    def average(name, samples):
        values = getattr(bounds(model, batch, samples), name).view(3, 4000)
        return values.mean(1), values.std(1) / 4000**0.5

    means, errors = zip(*(average("iw_nll", samples) for samples in SAMPLES), strict=True)
    assert all((mean > exact - 4 * error).all() for mean, error in zip(means, errors, strict=True))
    assert (means[0] > means[1] + 4 * errors[0]).all()
    assert (means[1] > means[2] + 4 * errors[1]).all()
    torch.testing.assert_close(means[2], exact, rtol=0, atol=0.01)
    elbo, error = average("neg_elbo", 1)
    assert ((elbo - means[0]).abs() < 4 * (error + errors[0])).all(), "one sample estimates the same bound"


@pytest.mark.parametrize("samples", [1, 7])
def test_neg_elbo_is_the_closed_form_on_average(samples):
    """E_q log p(x | z) of the toy is the log-density at the mean minus tr(W S W^T) / 2 s²."""
    model, batch = LinearGaussian(error=0.3), observed(1, repeats=20_000)
    posterior = model.encode(batch.inputs, None)
    lost = (model.weight.square() @ posterior.variance[0]).sum() / (2 * model.scale**2)
    expected = model.score(posterior.mean[None], None, batch.targets, None)[0] - lost
    found = bounds(model, batch, samples)
    error = float(found.neg_elbo.std() / 20_000**0.5)
    assert abs(float((found.neg_elbo + expected - found.kl).mean())) < 4 * error
    torch.testing.assert_close(found.kl, kl_divergence(posterior, model.prior(20_000, posterior.mean)))


def test_one_sample_by_hand():
    model, batch = tiny.model(), tiny.batch()
    torch.manual_seed(5)
    found = bounds(model, batch, 1)
    torch.manual_seed(5)
    output = model(**batch)
    z, score = output.z[0], output.score[0]
    expected = score + output.prior.log_prob(z) - output.posterior.log_prob(z)
    torch.testing.assert_close(found.iw_nll, -expected)
    torch.testing.assert_close(found.neg_elbo, kl_divergence(output.posterior, output.prior) - score)


@pytest.mark.parametrize("samples", [1, 7])
def test_without_z_all_bounds_are_exact(samples):
    model, batch = tiny.model(latent_size=0), tiny.batch()
    decoded = []
    model.decoder.register_forward_hook(lambda module, arguments, result: decoded.append(len(arguments[1])))
    found, exact = bounds(model, batch, samples), -model(**batch).score[0]
    torch.testing.assert_close(found.iw_nll, exact)
    torch.testing.assert_close(found.neg_elbo, exact)
    assert torch.equal(found.kl, torch.zeros_like(exact))
    assert decoded[0] == 1, "one pass is enough"


def test_estimates_keep_no_graph():
    found = bounds(tiny.model(), tiny.batch(), 2)
    tensors = [getattr(found, name) for name in BOUNDS]
    tensors += [found.prior_mean, found.reading.posterior.mean, found.reading.posterior.stddev]
    assert not any(tensor.requires_grad for tensor in tensors)


def test_a_generator_decides_the_draws():
    model, batch = tiny.model(), tiny.batch()
    state = torch.get_rng_state()
    one, same, other = (
        bounds(model, batch, 3, generator=torch.Generator().manual_seed(seed)).iw_nll for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_kl_to_a_mixture_is_that_of_quadrature():
    """Not VaDE's upper bound, which is far above it where the components overlap."""
    torch.manual_seed(4)
    model = tiny.model(latent_size=1, prior_components=4)
    with torch.no_grad():
        model.prior.means.copy_(torch.linspace(-1.5, 1.5, 4)[:, None])
        model.prior.log_variances.fill_(-1.5)
    batch = tiny.batch(4, 2)
    found = bounds(model, batch, samples=20_000, generator=torch.Generator().manual_seed(0))
    q, p = found.reading.posterior, found.reading.prior
    z = torch.linspace(-15, 15, 30_001, dtype=torch.float64)[:, None, None].expand(-1, 2, 1)
    log_q = q.log_prob(z)
    exact = (log_q.exp() * (log_q - p.log_prob(z))).sum(0).detach() * (30 / 30_000)
    torch.testing.assert_close(found.kl, exact, rtol=0, atol=0.03)
    assert (kl_divergence(q, p) > exact + 0.3).all()
    torch.testing.assert_close(found.kl_per_dimension.sum(-1), kl_divergence(q, p).detach())
    assert (found.iw_nll <= found.neg_elbo + 1e-9).all()


def test_the_meter_reports_the_kl_to_a_mixture_and_names_the_bound():
    model, batch = tiny.model(latent_size=2, prior_components=3), tiny.batch(4, 2)
    found = bounds(model, batch, samples=500)
    meter = LatentUse()
    meter.add(meter.measure(model, batch, found, 0, torch.Generator()))
    value, how = meter.results()["kl"]
    assert value == pytest.approx(float(found.kl.mean()))
    bound = float(kl_divergence(found.reading.posterior, found.reading.prior).detach().mean())
    assert how == f"raw, by Monte Carlo; VaDE's upper bound, which training uses, is {bound:.2f}"
