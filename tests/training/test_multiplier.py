"""The KL weight of a target rate: updated once per step with all its sentences, and kept in checkpoints."""

import math

import pytest
import tiny
import torch

from textvae.modules.distributions import kl_per_dimension
from textvae.objectives.elbo import ELBO
from textvae.objectives.rate import SPEED, START
from textvae.training.multiplier import RateMultiplier


def moved(multiplier, *batches):
    for batch in batches:
        multiplier.observe(torch.tensor(batch))
    multiplier.on_step_end(None, None, None)
    return float(multiplier.value)


def test_a_step_goes_by_the_mean_over_its_sentences():
    found = moved(RateMultiplier(4.0), [1.0, 2.0, 6.0], [3.0])
    assert found == pytest.approx(START * math.exp(SPEED * (3 / 4 - 1)), rel=1e-6)


def test_it_moves_once():
    multiplier = RateMultiplier(4.0)
    value = moved(multiplier, [1.0])
    multiplier.on_step_end(None, None, None)
    assert float(multiplier.value) == value


@pytest.mark.parametrize("accumulation", [1, 3])
def test_training_moves_it_in_every_step(tmp_path, accumulation):
    """The logged weight is the updated one."""
    trainer = tiny.trainer(
        tmp_path,
        objective=ELBO(target_rate=5.0),
        max_steps=4,
        gradient_accumulation_steps=accumulation,
        per_device_train_batch_size=8,
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "kl_weight" in entry]
    value = START
    for entry in logged:
        value *= math.exp(SPEED * max(-1.0, min(1.0, entry["kl"] / 5 - 1)))
        assert entry["kl_weight"] == pytest.approx(value, rel=1e-5)
    assert len(logged) == 4


@pytest.mark.slow
def test_the_rate_is_reached(tmp_path):
    """From a posterior far from the prior and from one equal to it. The multiplier weights the loss."""
    trainer = tiny.trainer(
        tmp_path,
        objective=ELBO(target_rate=1.5),
        max_steps=1200,
        learning_rate=0.01,
        logging_steps=100,
        per_device_train_batch_size=32,
    )
    trainer.train()
    rates = [entry["kl"] for entry in trainer.state.log_history if "kl" in entry]
    assert rates[-1] == pytest.approx(1.5, rel=0.1)
    assert abs(rates[0] / 1.5 - 1) > 0.1, "it was not there from the start"


def test_with_classes_it_sees_the_kl_of_z_alone(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(RateMultiplier, "observe", lambda self, kl: seen.append(kl))
    trainer = tiny.trainer(tmp_path, objective=ELBO(target_rate=2.0), model_options={"classes": ["a", "b"]})
    _, output = trainer.compute_loss(trainer.model, dict(tiny.batch()), return_outputs=True)
    each = kl_per_dimension(output.posterior, output.prior)
    assert each[:, -1].max() > 1e-3, "the class has a KL of its own"
    torch.testing.assert_close(seen[0], each[:, :-1].sum(-1).detach())
