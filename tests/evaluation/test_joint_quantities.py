"""Mutual information, active units and shuffling of a model whose latent is a class y and a vector z."""

import math
from types import SimpleNamespace

import pytest
import torch

from textvae.evaluation.meters.accuracy import Accuracy
from textvae.evaluation.meters.interventions import ReplacedLatents
from textvae.evaluation.meters.latent_use import ACTIVE_VARIANCE, MomentsOfMeans
from textvae.evaluation.meters.mutual_information import mutual_information
from textvae.models.outputs import Reading
from textvae.modules.classes import ClassGaussian
from textvae.modules.distributions import Gaussians, gaussians_of

N, C, Z = 400, 4, 2


def posteriors(sure: bool, apart: bool) -> ClassGaussian:
    """N posteriors. If ``sure``, each is certain of its class; if ``apart``, z differs greatly between two halves."""
    y = torch.arange(N) % C
    logits = (
        torch.full((N, C), -40.0).scatter(1, y[:, None], 0.0) if sure else torch.full((N, C), -math.log(C))
    )
    mean = torch.zeros(N, C, Z)
    if apart:
        mean[:, :, 0] = 50.0 * ((torch.arange(N) // C) % 2)[:, None]
    return ClassGaussian(logits, mean, torch.ones_like(mean))


@pytest.mark.parametrize(
    ("sure", "apart", "exact"),
    [
        (False, False, 0.0),
        (True, False, math.log(C)),
        (False, True, math.log(2)),
        (True, True, math.log(C) + math.log(2)),
    ],
)
def test_the_information_is_that_of_both_parts(sure, apart, exact):
    found: Gaussians = gaussians_of(posteriors(sure, apart))
    assert mutual_information(found, torch.Generator().manual_seed(0)) == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize(
    ("sure", "apart", "active"), [(False, False, 0), (True, False, C), (True, True, C + 1)]
)
def test_units_are_those_of_z_and_the_probability_of_each_class(sure, apart, active):
    moments = MomentsOfMeans(Z + C)
    moments.update(posteriors(sure, apart).mean)
    assert moments.active_units() == active
    assert 1 / C * (1 - 1 / C) > ACTIVE_VARIANCE


def test_accuracy_is_over_the_known_labels_and_by_the_classifier():
    """Of five sentences in two batches three have labels, of which two are the likeliest class."""
    log_probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.3, 0.3, 0.4]]).log()
    meter = Accuracy()
    for labels, rows in (([0, -1, 1], [0, 1, 2]), ([-1, 1], [0, 1])):
        y, parts = torch.tensor(labels), log_probabilities[rows]
        posterior = ClassGaussian(parts, torch.zeros(len(y), 3, 2), torch.ones(len(y), 3, 2), y)
        found = SimpleNamespace(reading=SimpleNamespace(posterior=posterior))
        meter.add(meter.measure(None, {"labels": y}, found, 0, torch.Generator()))
    value, how = meter.results()["accuracy"]
    assert value == pytest.approx(2 / 3)
    assert how.endswith("3 labelled sentences")


def test_shuffling_moves_the_class_together_with_its_z():
    posterior, seen = posteriors(sure=True, apart=True), []
    reading = Reading(posterior, posteriors(sure=False, apart=False), lambda z: seen.append(z) or z.sum(-1))
    found = SimpleNamespace(reading=reading, neg_elbo=torch.zeros(N), kl=torch.zeros(N))
    batch = SimpleNamespace(size=N)
    ReplacedLatents().measure(None, batch, found, 0, torch.Generator().manual_seed(0))
    from_prior, shuffled = seen[0]
    before = (torch.arange(N) - 1) % N
    assert torch.equal(shuffled[:, Z:].argmax(-1), before % C)
    assert torch.equal(shuffled[:, 0] > 25, (before // C) % 2 == 1)
    assert from_prior[:, Z:].sum(-1).eq(1).all()
    assert from_prior[:, Z:].mean(0).sub(1 / C).abs().max() < 0.1
