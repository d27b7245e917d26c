"""The likelihood given a z from the prior or from another sentence."""

import pytest
import tiny
import torch

from textvae.evaluation.evaluate import evaluate
from textvae.evaluation.meters import interventions
from textvae.evaluation.meters.interventions import ReplacedLatents
from textvae.inference.bounds import bounds


@pytest.fixture
def batches():
    return [tiny.batch(5, 1, 7, 3), tiny.batch(2), tiny.batch(9, 4)]


def quantities(model, batches):
    meter, generator = ReplacedLatents(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for number, batch in enumerate(batches):
            meter.add(meter.measure(model, batch, bounds(model, batch), number, generator))
    return {quantity.name: quantity.value for quantity in meter.quantities()}


def test_each_sentence_is_scored_with_the_z_of_the_one_before(batches, monkeypatch):
    """Without noise z is the posterior mean, so the z of another sentence can be recognised."""
    monkeypatch.setattr(interventions, "sample", lambda distribution, *_: distribution.mean[None])
    model = tiny.model()
    rows = [tiny.row(batch, index) for batch in batches for index in range(len(batch.inputs))]
    means = [model.encode(row.targets, row.mask).mean for row in rows]
    # The first of a batch takes the z of the last; a single sentence takes a z from the prior.
    nothing = torch.zeros(1, 3).double()
    others = [means[3], *means[:3], nothing, means[6], means[5]]

    @torch.no_grad()
    def lost(zs):
        scores = [
            model.score(z[None], row.inputs, row.targets, row.mask) for z, row in zip(zs, rows, strict=True)
        ]
        return -float(torch.cat(scores).mean())

    found = quantities(model, batches)
    assert found["reconstruction_shuffled_z"] == pytest.approx(lost(others))
    assert found["reconstruction_prior_z"] == pytest.approx(lost([nothing] * 7))


def test_a_decoder_that_ignores_z_loses_nothing(batches):
    model = tiny.model()
    with torch.no_grad():
        model.decoder.initial_cell.weight.zero_()
        model.decoder.lstm.weight_ih_l0[:, -3:] = 0
    found = quantities(model, batches)
    assert found["reconstruction_shuffled_z"] == pytest.approx(found["reconstruction"])
    assert found["reconstruction_prior_z"] == pytest.approx(found["reconstruction"])


def test_a_decoder_that_uses_z_loses(batches):
    model = tiny.model(initial_range=2.0)
    found = quantities(model, batches)
    assert abs(found["reconstruction_shuffled_z"] - found["reconstruction"]) > 0.1


def test_reconstruction_is_the_bound_without_the_kl(batches):
    found = evaluate(tiny.model(), batches, samples=5)
    assert found.reconstruction == pytest.approx(found.neg_elbo - found.kl)
