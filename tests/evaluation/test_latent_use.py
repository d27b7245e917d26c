import math

import pytest
import torch

from textvae.evaluation.meters.latent_use import MomentsOfMeans
from textvae.evaluation.meters.mutual_information import mutual_information
from textvae.modules.distributions import Gaussians, diagonal_gaussian


def generator():
    return torch.Generator().manual_seed(0)


def estimate(mean, scale, **options):
    log_weights = torch.zeros(len(mean), 1, dtype=mean.dtype)
    return mutual_information(Gaussians(log_weights, mean[:, None], scale[:, None]), generator(), **options)


@pytest.fixture
def posteriors():
    return torch.randn(50, 3).double(), torch.rand(50, 3).double() + 0.2


def test_separate_posteriors_tell_which_sentence_it_is():
    mean = torch.arange(40.0)[:, None].expand(-1, 2) * 100
    assert estimate(mean, torch.ones(40, 2)) == pytest.approx(math.log(40))


def test_equal_posteriors_tell_nothing():
    assert estimate(torch.full((40, 2), 3.0), torch.full((40, 2), 0.7)) == pytest.approx(0, abs=1e-12)


def test_two_clusters_tell_one_bit():
    mean = torch.tensor([-50.0, 50]).repeat(20)[:, None]
    assert estimate(mean, torch.ones(40, 1)) == pytest.approx(math.log(2))


def test_is_that_of_the_channel_with_gaussian_noise():
    """Means N(0, 3), noise N(0, 1): I = log(1 + 3) / 2, with N large enough for the mixture to be nearly Gaussian."""
    mean = math.sqrt(3) * torch.randn(2500, 1).double()
    assert estimate(mean, torch.ones(2500, 1)) == pytest.approx(0.5 * math.log(4), abs=0.05)


@pytest.mark.parametrize("chunk", [1, 7, 50, 1024])
def test_is_the_naive_double_loop(posteriors, chunk):
    mean, scale = posteriors
    z = mean + scale * torch.randn(mean.shape, generator=generator(), dtype=torch.double)
    # (n, m): log q(z_n | x_m)
    densities = diagonal_gaussian(mean, scale).log_prob(z[:, None])
    expected = densities.diagonal() - (densities.logsumexp(1) - math.log(50))
    assert estimate(mean, scale, chunk=chunk) == pytest.approx(float(expected.mean()))


@pytest.mark.parametrize("chunk", [1, 7, 1024])
def test_with_classes_it_is_the_naive_double_loop_over_classes_and_z(chunk):
    log_weights = torch.randn(50, 2).double().log_softmax(-1)
    mean, scale = torch.randn(50, 2, 3).double(), torch.rand(50, 2, 3).double() + 0.2
    draws, rows = generator(), torch.arange(50)
    y = torch.multinomial(log_weights.exp(), 1, generator=draws)[:, 0]
    assert y.unique().tolist() == [0, 1]
    z = mean[rows, y] + scale[rows, y] * torch.randn(50, 3, generator=draws, dtype=torch.double)
    # (n, m): log q(y_n, z_n | x_m)
    densities = torch.stack(
        [
            log_weights[:, own] + diagonal_gaussian(mean[:, own], scale[:, own]).log_prob(value)
            for own, value in zip(y, z, strict=True)
        ]
    )
    expected = densities.diagonal() - (densities.logsumexp(1) - math.log(50))
    found = mutual_information(Gaussians(log_weights, mean, scale), generator(), chunk)
    assert found == pytest.approx(float(expected.mean()))


def test_is_at_most_log_n(posteriors):
    mean, scale = posteriors
    for factor in (1e-4, 1e-2, 1, 100):
        assert -0.1 < estimate(mean, factor * scale) <= math.log(50) + 1e-9


def test_is_that_of_single_precision(posteriors):
    mean, scale = (tensor.float() for tensor in posteriors)
    assert estimate(mean, scale) == pytest.approx(estimate(mean.double(), scale.double()))


def test_without_latent_dimensions_there_is_none():
    assert estimate(torch.zeros(4, 0), torch.zeros(4, 0)) == 0


# ---- active units


@pytest.mark.parametrize("sizes", [(30,), (1, 29), (7, 7, 7, 9), (1,) * 30], ids=str)
def test_running_moments_are_those_of_the_whole_set(sizes):
    mean = torch.randn(30, 4).double() * torch.tensor([1e-3, 0.1, 1, 10]).double() + 1000
    moments = MomentsOfMeans(4)
    for part in mean.split(sizes):
        moments.update(part)
    torch.testing.assert_close(moments.mean, mean.mean(0))
    torch.testing.assert_close(moments.squares / 29, mean.var(0))


def test_units_are_active_over_the_published_variance():
    """Sample variances (n - 1) of 0.0098, 0.0102 and 0; for n = 2 they are half the squared distance."""
    moments = MomentsOfMeans(3)
    moments.update(torch.stack([torch.zeros(3), torch.tensor([0.0098, 0.0102, 0]).mul(2).sqrt()]))
    assert moments.active_units() == 1


def test_one_sentence_has_no_active_units():
    moments = MomentsOfMeans(3)
    moments.update(torch.full((1, 3), 5.0))
    assert moments.active_units() == 0
