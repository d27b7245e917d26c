import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from textvae.latent_space.fitted_priors import (
    FittedFlow,
    FittedMixture,
    fit_flow,
    fit_mixture,
    load_prior,
    save_prior,
)
from textvae.support.errors import UserError

LIKE = torch.zeros((), dtype=torch.float64)


def posteriors(n=3000, deviation=0.5):
    """Means in two clusters at (-3, 0) and (3, 3), of standard deviation 0.2; and posterior standard deviations."""
    draw = np.random.default_rng(7)
    means = np.array([[-3.0, 0.0], [3.0, 3.0]])[np.arange(n) % 2] + 0.2 * draw.standard_normal((n, 2))
    return means.astype(np.float32), np.full((n, 2), deviation, np.float32)


def fitted(kind):
    if kind == "mixture":
        return fit_mixture(*posteriors(), components=2)
    pytest.importorskip("zuko")
    return fit_flow(*posteriors(), epochs=8, learning_rate=1e-2)


@pytest.fixture(scope="module", params=["mixture", "flow"])
def prior(request):
    return fitted(request.param)


def integral(prior, edge=8.0, step=0.05):
    points = torch.arange(-edge, edge, step, dtype=torch.float64)
    grid = torch.cartesian_prod(points, points)
    return float(prior(len(grid), grid).log_prob(grid).exp().sum()) * step**2


@pytest.mark.slow
def test_the_density_integrates_to_one(prior):
    assert integral(prior) == pytest.approx(1, abs=0.005)


def test_draws_have_the_moments_of_the_aggregate_posterior(prior):
    torch.manual_seed(1)
    z = prior(20_000, LIKE).sample()
    means, deviations = posteriors()
    # The law of total variance: the posteriors' own variances are added to those of the means.
    np.testing.assert_allclose(z.mean(0), means.mean(0), atol=0.15)
    covariance = np.cov(means.T) + np.diag((deviations**2).mean(0))
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.5)
    # Quantiles, because the few draws between the clusters do not move them.
    low, high = np.quantile(z[z[:, 0] < 0], [0.1587, 0.8413], axis=0)
    np.testing.assert_allclose((high - low) / 2, np.sqrt(0.2**2 + 0.5**2), atol=0.15)


def test_more_epochs_of_a_flow_are_never_worse_on_the_posteriors_held_out():
    pytest.importorskip("zuko")
    means, deviations = posteriors(300)
    with torch.random.fork_rng(devices=[]):  # the draws that `fit_flow` makes before the first epoch
        torch.manual_seed(0)
        FittedFlow(2)
        held_out = torch.randperm(300)[:30]
        z = torch.normal(torch.from_numpy(means)[held_out], torch.from_numpy(deviations)[held_out])
    fits = [fit_flow(means, deviations, epochs=epochs, learning_rate=0.1) for epochs in (5, *range(9, 17))]
    found = [float(fit(30, z).log_prob(z).mean()) for fit in fits]
    assert found == sorted(found)
    assert found[-1] > found[0] + 1
    assert found[-1] in found[:-1], "or each epoch was the best so far"


def test_the_space_between_two_clumps_is_empty(prior):
    middle = torch.tensor([[0.0, 1.5]], dtype=torch.float64)
    clumps = torch.tensor([[-3.0, 0.0], [3.0, 3.0]], dtype=torch.float64)
    assert (prior(2, clumps).log_prob(clumps) > prior(1, middle).log_prob(middle) + 3).all()


def test_a_prior_is_called_like_that_of_a_model(prior):
    found = prior(4, LIKE)
    assert (found.batch_shape, found.event_shape) == ((4,), (2,))
    z = found.sample()
    assert (z.shape, z.dtype) == ((4, 2), torch.float64)
    assert found.log_prob(z).shape == (4,)
    assert prior(4, LIKE.float()).sample().dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in prior.parameters())


def test_a_saved_prior_is_the_same(prior, tmp_path):
    path = save_prior(prior, tmp_path, "mine")
    assert path == tmp_path / "priors" / "mine.safetensors"
    loaded = load_prior(tmp_path, "mine")
    z = torch.randn(9, 2, dtype=torch.float64)
    assert type(loaded) is type(prior)
    assert torch.equal(loaded(9, z).log_prob(z), prior(9, z).log_prob(z))


def test_a_mixture_is_that_of_scipy():
    prior = FittedMixture(2, 2)
    prior.weights.copy_(torch.tensor([0.3, 0.7]))
    prior.means.copy_(torch.tensor([[0.0, 1.0], [-2.0, 4.0]]))
    prior.factors.copy_(torch.tensor([[[1.0, 0.0], [0.5, 2.0]], [[0.1, 0.0], [0.0, 3.0]]]))
    z = torch.tensor([[0.3, -1.0], [-2.1, 5.0]], dtype=torch.float64)
    factors = prior.factors.double().numpy()
    expected = sum(
        weight * multivariate_normal(mean, factor @ factor.T).pdf(z)
        for weight, mean, factor in zip(
            prior.weights.tolist(), prior.means.double().numpy(), factors, strict=True
        )
    )
    np.testing.assert_allclose(prior(2, z).log_prob(z), np.log(expected), rtol=1e-6)


def test_a_fit_follows_its_seed():
    first, again, other = (fit_mixture(*posteriors(200), components=2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.means, again.means)
    assert not torch.equal(first.means, other.means)


def test_a_flow_in_one_dimension():
    pytest.importorskip("zuko")
    state = torch.get_rng_state()
    means, deviations = (part[:500, :1] for part in posteriors())
    prior = fit_flow(means, deviations, epochs=1)
    assert torch.equal(torch.get_rng_state(), state)
    z = torch.arange(-12, 12, 0.01, dtype=torch.float64)[:, None]
    assert float(prior(len(z), z).log_prob(z).exp().sum()) * 0.01 == pytest.approx(1, abs=0.01)


def test_a_flow_says_which_extra_it_needs(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "zuko.flows", None)
    with pytest.raises(UserError, match=r"expected zuko.*pip install 'textvae\[flows\]'"):
        FittedFlow(2)


def test_mistakes_are_named(tmp_path):
    means, deviations = posteriors(20)
    with pytest.raises(UserError, match="expected 30 posteriors or more, got 20"):
        fit_mixture(means, deviations, components=30)
    with pytest.raises(UserError, match=r"the same shape \(n, Z\), got \(20, 2\) and \(19, 2\)"):
        fit_mixture(means, deviations[:19])
    prior = FittedMixture(2, 3)
    with pytest.raises(UserError, match="expected a run folder to write the prior to"):
        save_prior(prior, tmp_path / "nowhere", "mine")
    with pytest.raises(UserError, match="found no 'mine': fit one with"):
        load_prior(tmp_path, "mine")
    path = save_prior(prior, tmp_path, "mine")
    with pytest.raises(UserError, match="found no 'yours': it has mine"):
        load_prior(tmp_path, "yours")
    prior.means[1, 1] = float("nan")
    save_prior(prior, tmp_path, "mine")
    with pytest.raises(
        UserError, match=r"expected a prior of finite numbers in .*, got NaN or infinity in means"
    ):
        load_prior(tmp_path, "mine")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"expected a prior in .*mine\.safetensors, got a damaged file"):
        load_prior(tmp_path, "mine")
