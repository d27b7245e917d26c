"""The learning-rate schedule of the published SGD runs, with scripted bounds and in a killed run."""

from types import SimpleNamespace

import pytest
import tiny
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState

from textvae.evaluation.quantities import Description, Evaluation, Quantity
from textvae.training import trainer as trainer_module
from textvae.training.plateau import DecayOnPlateau


class Bench:
    """A callback with its model, optimiser and scheduler; the best checkpoint has the number 1."""

    def __init__(self, folder, **options):
        self.callback = DecayOnPlateau(**options)
        self.model = tiny.model(tie_word_embeddings=True)
        self.model.save_pretrained(folder / "checkpoint-1")
        self.best = tiny.weights(self.model)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1.0)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1.0)
        self.arguments = SimpleNamespace(output_dir=str(folder))
        self.control = TrainerControl()

    def evaluate(self, value, epoch=1.0):
        """Evaluate after a step that spoils the weights; returns the rate and whether the weights are restored."""
        with torch.no_grad():
            self.model.decoder.embedding.weight.add_(1)
        state = TrainerState(epoch=epoch, best_global_step=1)
        parts = {"model": self.model, "optimizer": self.optimizer, "lr_scheduler": self.scheduler}
        self.callback.on_evaluate(
            self.arguments, state, self.control, metrics={"eval_neg_elbo": value}, **parts
        )
        self.optimizer.step()
        self.scheduler.step()
        restored = torch.equal(self.model.decoder.embedding.weight, self.best["decoder.embedding.weight"])
        return self.optimizer.param_groups[0]["lr"], restored


def test_rates_by_hand(tmp_path):
    """Patience 2: each second evaluation without a new best decays and restores; a new best resets the count."""
    bench = Bench(tmp_path, patience=2, factor=0.5, start_epoch=0, decays=2)
    found = [bench.evaluate(value) for value in (5, 6, 4, 4, 5, 6, 3, 7, 8)]
    assert [rate for rate, _ in found] == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]
    assert [index for index, (_, restored) in enumerate(found) if restored] == [4, 8]
    assert bench.model.output_layer.linear.weight is bench.model.decoder.embedding.weight
    assert not bench.control.should_training_stop


def test_the_last_decay_is_followed_by_the_end(tmp_path):
    bench = Bench(tmp_path, patience=1, start_epoch=0, decays=2)
    stops = []
    for value in (1, 2, 2, 2):
        bench.evaluate(value)
        stops.append(bench.control.should_training_stop)
    assert stops == [False, False, False, True]


def test_no_decay_before_its_epoch(tmp_path):
    """Evaluations before this epoch count too, so the first decay happens as soon as it begins."""
    bench = Bench(tmp_path, patience=2, start_epoch=15)
    rates = [
        bench.evaluate(value, epoch)[0] for value, epoch in ((1, 12), (2, 13), (2, 14), (2, 15), (2, 16))
    ]
    assert rates == [1, 1, 1, 0.5, 0.5]


def test_state_survives_a_checkpoint():
    callback = DecayOnPlateau(patience=7, decays=3)
    callback.best, callback.stale, callback.decayed = 3.5, 1, 2
    restored = DecayOnPlateau.from_state(callback.state())
    assert vars(restored) == vars(callback)


class Watch(TrainerCallback):
    """Records the learning rate of each step, and ends training after a given step."""

    def __init__(self, last_step=None):
        self.last_step, self.rates = last_step, {}

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self.rates[state.global_step + 1] = kwargs["optimizer"].param_groups[0]["lr"]

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop |= state.global_step == self.last_step


@pytest.mark.slow
@pytest.mark.parametrize("last_step", [4, 7])
def test_a_resumed_run_decays_as_an_uninterrupted_one(tmp_path, monkeypatch, last_step):
    bound = Description("neg_elbo")
    bounds = {2: 5.0, 4: 6.0, 6: 4.0, 8: 6.0, 10: 6.0, 12: 3.0}

    def trained(folder, last_step=None, checkpoint=None):
        trainer = tiny.trainer(
            folder,
            max_steps=12,
            optim="sgd",
            save_strategy="steps",
            eval_strategy="steps",
            save_steps=2,
            eval_steps=2,
            decay_on_plateau={"patience": 1, "start_epoch": 0},
        )
        monkeypatch.setattr(
            trainer_module,
            "evaluate",
            lambda *_, **__: Evaluation([Quantity(bound, bounds[trainer.state.global_step])]),
        )
        watch = Watch(last_step)
        trainer.add_callback(watch)
        trainer.train(resume_from_checkpoint=checkpoint)
        return tiny.weights(trainer.model), watch.rates

    weights, rates = trained(tmp_path / "whole")
    assert list(rates.values()) == pytest.approx([0.01] * 4 + [0.005] * 4 + [0.0025] * 2 + [0.00125] * 2)
    trained(tmp_path / "cut", last_step)
    checkpoint = last_step // 2 * 2
    resumed, resumed_rates = trained(
        tmp_path / "cut", checkpoint=str(tmp_path / "cut" / f"checkpoint-{checkpoint}")
    )
    torch.testing.assert_close(resumed, weights, rtol=0, atol=0)
    assert resumed_rates == {step: rate for step, rate in rates.items() if step > checkpoint}
