"""Aggressive training: which weights change, when the encoder updates stop, and when the phase ends."""

import pytest
import tiny
import torch

from textvae.objectives.elbo import ELBO
from textvae.support.errors import UserError
from textvae.training.aggressive import AggressiveEncoder
from textvae.training.arguments import TextVAETrainingArguments
from textvae.training.trainer import TextVAETrainer

SETTINGS = {"updates": 6, "window": 2}
LATER = {"eval_strategy": "steps", "eval_steps": 100}
"""Evaluations, which end the phase, after the last step."""


def is_encoder(name):
    return name.startswith(("encoder.", "posterior."))


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def callback_of(trainer):
    return next(found for found in trainer.callback_handler.callbacks if isinstance(found, AggressiveEncoder))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw_torch"])
def test_the_inner_loop_moves_the_encoder_alone_and_the_step_the_decoder_alone(tmp_path, optimizer):
    trainer = tiny.trainer(tmp_path, max_steps=2, optim=optimizer, aggressive=SETTINGS, **LATER)
    callback, seen = callback_of(trainer), []
    catch_up = callback.catch_up

    def watched(model, *arguments):
        before = tiny.weights(model)
        updates = catch_up(model, *arguments)
        seen.append((changed(before, tiny.weights(model)), before, tiny.weights(model)))
        assert all(parameter.grad is None for parameter in model.parameters())
        return updates

    callback.catch_up = watched
    trainer.train()
    names = set(tiny.weights(trainer.model))
    encoder = {name for name in names if is_encoder(name)}
    # After the encoder updates of the last step, only the step's own update of the decoder follows.
    after_steps = [seen[1][1], tiny.weights(trainer.model)]
    for (moved, _, behind), after in zip(seen, after_steps, strict=True):
        assert moved == encoder
        assert changed(behind, after) == names - encoder


def losses_of(values, lengths, model):
    """Losses of these values and numbers of tokens, each with a gradient for every parameter."""
    for value, length in zip(values, lengths, strict=True):
        total = sum(parameter.sum() for parameter in model.parameters())
        yield total - total.detach() + value, length


@pytest.mark.parametrize(
    ("values", "lengths", "updates"),
    [
        ([9, 9, 8, 8, 7, 7, 6, 6, 5, 5], [2.0] * 10, 10),
        ([9, 9, 8, 8, 8, 9, 1, 1, 1, 1], [2.0] * 10, 6),
        ([9, 9, 9, 9.5, 1, 1, 1, 1, 1, 1], [2.0] * 10, 4),
        ([9, 9, 16, 16, 2, 4, 1, 1, 1, 1], [2.0, 2, 4, 4, 0.5, 0.5, 1, 1, 1, 1], 6),
    ],
    ids=["falls-to-the-end", "rises", "rises-at-once", "rises a token"],
)
def test_it_stops_where_the_loss_of_a_window_is_no_lower(values, lengths, updates):
    model = tiny.model()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    given = losses_of(torch.tensor(values, dtype=torch.double), lengths, model)
    clipped = []
    found = AggressiveEncoder(updates=10, window=2).catch_up(
        model, optimizer, given, lambda: clipped.append(1)
    )
    assert found == len(clipped) == updates


def test_a_loss_comes_with_the_mean_number_of_tokens(tmp_path):
    trainer = tiny.trainer(tmp_path, max_steps=1, aggressive=SETTINGS, **LATER)
    trainer._random_batches = iter([tiny.batch(5, 1, 7, 3)])
    ((loss, tokens),) = trainer._losses(trainer.model)
    assert loss.requires_grad
    assert tokens == (6 + 2 + 8 + 4) / 4


def test_the_phase_ends_where_the_information_falls(tmp_path):
    callback = AggressiveEncoder()
    for information, active in ((0.5, True), (0.7, True), (0.7, True), (0.6, False), (2.0, False)):
        callback.on_evaluate(None, None, None, metrics={"eval_mutual_information": information})
        assert callback.active is active


def test_after_the_phase_training_is_plain(tmp_path):
    ended = tiny.trainer(tmp_path, max_steps=3, aggressive=SETTINGS, **LATER)
    callback_of(ended).active = False
    ended.train()
    plain = tiny.trainer(tmp_path, max_steps=3)
    plain.train()
    torch.testing.assert_close(tiny.weights(ended.model), tiny.weights(plain.model), rtol=0, atol=0)


def test_updates_are_logged(tmp_path):
    trainer = tiny.trainer(tmp_path, max_steps=2, aggressive=SETTINGS, gradient_accumulation_steps=2, **LATER)
    trainer.train()
    logged = [entry["encoder_updates"] for entry in trainer.state.log_history if "encoder_updates" in entry]
    assert len(logged) == 2, "once a step, however many batches it has"
    assert all(2 <= updates <= 6 for updates in logged)


def test_what_it_cannot_do_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="updates: expected greater than or equal to 1, got 0"):
        AggressiveEncoder(updates=0)
    stream = tiny.dataset([3, 4]).to_iterable_dataset()
    monkeypatch.setattr(tiny, "dataset", lambda *_: stream)
    with pytest.raises(UserError, match="expected a stored corpus for aggressive training"):
        tiny.trainer(tmp_path, max_steps=2, aggressive={}, **LATER)


def test_a_model_without_z_or_with_a_condition_is_refused(tmp_path):
    """The phase ends by the mutual information, which such models do not measure."""
    plain = {**LATER, "save_strategy": "no", "load_best_model_at_end": False, "use_cpu": True}
    arguments = TextVAETrainingArguments(output_dir=str(tmp_path), **plain, aggressive={})
    rows = tiny.dataset([3, 4])
    for model, fields in (
        (tiny.model(latent_size=0), tiny.fields()),
        (tiny.seq2seq(source_vocab_size=tiny.VOCABULARY), tiny.pair_fields()),
    ):
        with pytest.raises(UserError, match="expected an unconditional model with a latent code for aggress"):
            TextVAETrainer(model, arguments, ELBO(), fields, train_dataset=rows, eval_dataset=rows)
