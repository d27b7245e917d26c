"""The additions to `transformers.Trainer`: the loss, the logs, the order of batches, the flags."""

import math
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from textvae.evaluation.diagnosis import diagnose
from textvae.evaluation.evaluate import evaluate
from textvae.evaluation.quantities import Training
from textvae.models.language import TextVAEModel
from textvae.objectives.elbo import ELBO
from textvae.objectives.schedules import KLWeight
from textvae.support.errors import UserError
from textvae.support.precision import check_bf16
from textvae.text.samplers import evaluation_loader
from textvae.training.arguments import TextVAETrainingArguments
from textvae.training.trainer import TextVAETrainer, history_of


def trained(trainer):
    trainer.train()
    return tiny.weights(trainer.model)


def history(trainer, name):
    """The logged values of a quantity, by step."""
    return {entry["step"]: entry[name] for entry in trainer.state.log_history if name in entry}


def recorded_terms(trainer):
    """A list to which the running trainer appends the terms of each batch."""
    objective, terms = trainer.objective, []

    class Recording(ELBO):
        def __call__(self, output, kl_weight):
            terms.append((trainer.state.global_step, objective(output, kl_weight)))
            return terms[-1][1]

    trainer.objective = Recording(objective.kl_weight, free_bits=objective.free_bits)
    return terms


# ---- steps


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "size", "steps"), [("sgd", 16, 2), ("sgd", 8, 4), ("adamw_torch", 8, 4)]
)
def test_accumulation_makes_the_steps_of_the_whole_batch(tmp_path, monkeypatch, optimizer, size, steps):
    tiny.without_noise(monkeypatch)
    common = {"optim": optimizer, "max_steps": 5, "learning_rate": 0.1}
    whole = tiny.trainer(tmp_path, per_device_train_batch_size=32, **common)
    parts = tiny.trainer(
        tmp_path, per_device_train_batch_size=size, gradient_accumulation_steps=steps, **common
    )
    torch.testing.assert_close(trained(parts), trained(whole))
    for name in ("loss", "reconstruction", "kl", "grad_norm"):
        assert history(parts, name) == pytest.approx(history(whole, name), rel=1e-6)


def test_training_moves_every_parameter(tmp_path):
    trainer = tiny.trainer(tmp_path, max_steps=3)
    before = tiny.weights(trainer.model)
    for name, tensor in trained(trainer).items():
        assert not torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("bound", [0.01, 0.1])
def test_gradients_are_clipped(tmp_path, bound):
    """A step of SGD with learning rate 1 has the length of the gradient."""
    trainer = tiny.trainer(tmp_path, max_steps=1, optim="sgd", learning_rate=1.0, max_grad_norm=bound)
    before = torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])
    trainer.train()
    after = torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])
    assert float((after - before).norm()) == pytest.approx(bound, rel=1e-4)
    assert history(trainer, "grad_norm")[1] > bound, "what is logged is the norm before"


def test_the_same_seed_gives_the_same_weights(tmp_path):
    options = {"max_steps": 4, "model_options": {"dropout": 0.3, "word_dropout": 0.3}}
    one, same, other = (trained(tiny.trainer(tmp_path, seed=seed, **options)) for seed in (1, 1, 2))
    torch.testing.assert_close(one, same, rtol=0, atol=0)
    assert not torch.equal(one["output_layer.linear.weight"], other["output_layer.linear.weight"])


@pytest.mark.slow
def test_evaluation_in_the_midst_changes_nothing(tmp_path):
    options = {"max_steps": 4, "model_options": {"dropout": 0.3, "word_dropout": 0.3}}
    plain = trained(tiny.trainer(tmp_path, **options))
    evaluated = trained(tiny.trainer(tmp_path, eval_strategy="steps", eval_steps=1, **options))
    torch.testing.assert_close(evaluated, plain, rtol=0, atol=0)


def test_batches_have_one_length_and_the_order_changes_with_the_epoch(tmp_path):
    """The corpus has twelve sentences of each of eight lengths, and a batch has twelve."""
    lengths = [length for length in range(1, 9) for _ in range(12)]
    trainer = tiny.trainer(tmp_path, lengths=lengths, per_device_train_batch_size=12, num_train_epochs=2)
    seen = []
    trainer.model.register_forward_pre_hook(
        lambda module, arguments, options: seen.append(options["targets"]), with_kwargs=True
    )
    trainer.train()
    assert len(seen) == 16
    assert all((targets != 0).all() for targets in seen), "there is not a pad"
    widths = [targets.shape[1] for targets in seen]
    assert sorted(widths[:8]) == sorted(widths[8:]) == list(range(2, 10))
    assert widths[:8] != widths[8:]


# ---- logs


@pytest.mark.parametrize(("steps", "accumulation"), [(1, 1), (3, 1), (2, 2)], ids=str)
def test_logged_terms_are_means_over_sentences(tmp_path, steps, accumulation):
    """The mean is over all sentences since the last log; the last batches of an epoch are smaller."""
    trainer = tiny.trainer(
        tmp_path,
        lengths=[3] * 25,
        logging_steps=steps,
        gradient_accumulation_steps=accumulation,
        per_device_train_batch_size=7,
        max_steps=12,
    )
    terms = recorded_terms(trainer)
    trainer.train()
    for name in ("kl", "reconstruction"):
        logged = history(trainer, name)
        assert list(logged) == list(range(steps, 13, steps))
        for last, value in logged.items():
            parts = [found.per_sentence[name] for step, found in terms if last - steps <= step < last]
            assert value == pytest.approx(float(torch.cat(parts).mean()))


def test_loss_is_not_multiplied_by_accumulation(tmp_path):
    """For batches with labels it would be, if the model did not set accepts_loss_kwargs."""
    trainer = tiny.trainer(
        tmp_path, max_steps=3, per_device_train_batch_size=8, gradient_accumulation_steps=4
    )
    assert not trainer.model_accepts_loss_kwargs
    trainer.train()
    for step, loss in history(trainer, "loss").items():
        assert loss == pytest.approx(history(trainer, "reconstruction")[step] + history(trainer, "kl")[step])


def test_kl_weight_is_logged_and_follows_the_optimiser_steps(tmp_path):
    objective = ELBO(KLWeight("linear", steps=8))
    trainer = tiny.trainer(tmp_path, objective=objective, max_steps=4, gradient_accumulation_steps=3)
    terms = recorded_terms(trainer)
    trainer.train()
    assert [step for step, _ in terms] == [step for step in range(4) for _ in range(3)]
    assert history(trainer, "kl_weight") == {step: step / 8 for step in range(1, 5)}


def test_evaluation_reports_all_quantities(tmp_path):
    trainer = tiny.trainer(tmp_path, evaluation_samples=4)
    expected = evaluate(
        trainer.model,
        evaluation_loader(trainer.eval_dataset, tiny.fields()),
        samples=4,
        seed=trainer.args.seed,
        fields=tiny.fields(),
    )
    for prefix in ("eval", "test"):
        found = trainer.evaluate(metric_key_prefix=prefix)
        found.pop("epoch")
        diagnosis = diagnose(expected)
        assert found.pop(f"{prefix}_verdict") == f"{diagnosis.state}: {diagnosis.finding}"
        assert found == pytest.approx(
            {f"{prefix}_{name}": value for name, value in expected.scalars().items()}
        )
    assert f"eval_kl_of_dimension_{trainer.model.config.latent_size - 1}" in trainer.state.log_history[0]


# ---- the best checkpoint


def test_the_best_checkpoint_is_that_of_the_bound_at_weight_one(tmp_path):
    """At KL weight 0 the loss falls in each step while the bound gets worse, so the first checkpoint is the best."""
    trainer = tiny.trainer(
        tmp_path,
        objective=ELBO(KLWeight(end=0.0)),
        model_options={"latent_size": 8},
        learning_rate=0.3,
        max_steps=12,
        save_strategy="steps",
        eval_strategy="steps",
        save_steps=3,
        eval_steps=3,
        load_best_model_at_end=True,
    )
    trainer.train()
    bounds = history(trainer, "eval_neg_elbo")
    reconstructions = {step: bounds[step] - kl for step, kl in history(trainer, "eval_kl").items()}
    best = min(bounds, key=bounds.get)
    assert min(reconstructions, key=reconstructions.get) != best, "or this test could not fail"
    assert trainer.state.best_metric == bounds[best]
    assert trainer.state.best_global_step == best
    kept = load_file(tmp_path / f"checkpoint-{best}" / "model.safetensors")
    torch.testing.assert_close(tiny.weights(trainer.model), kept, rtol=0, atol=0)


# ---- a loss that is NaN or infinite


class Poison(TrainerCallback):
    """Sets a weight to NaN or infinity after a step, as an overflowing gradient does."""

    def __init__(self, step, value):
        self.step, self.value = step, value

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            kwargs["model"].output_layer.linear.weight.data[5, 2] = self.value


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("logging_steps", [1, 100])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_good_checkpoint(tmp_path, value, logging_steps):
    trainer = tiny.trainer(
        tmp_path,
        logging_steps=logging_steps,
        max_steps=20,
        save_strategy="steps",
        eval_strategy="steps",
        save_steps=2,
        eval_steps=2,
        save_total_limit=1,
        load_best_model_at_end=True,
    )
    trainer.add_callback(Poison(5, value))
    step, best = 6, r"checkpoint-(2|4)"
    message = (
        rf"expected a finite loss, got (nan|inf) at step {step}: lower training\.learning_rate .*{best}$"
    )
    with pytest.raises(UserError, match=message) as raised:
        trainer.train()
    kept = Path(str(raised.value).split()[-1])
    for checkpoint in (kept, tmp_path / "checkpoint-4"):
        assert all(
            torch.isfinite(tensor).all() for tensor in load_file(checkpoint / "model.safetensors").values()
        )
    assert not (tmp_path / "checkpoint-6").exists()


@pytest.mark.parametrize(
    ("poisoned", "options", "message"),
    [
        (5, {}, "a finite loss, got nan at step 6"),
        (5, {"save_strategy": "steps", "save_steps": 6}, "a finite loss, got nan at step 6"),
        (
            2,
            {"save_strategy": "steps", "save_steps": 2},
            "finite weights, got NaN or infinity in output_layer.* at step 2",
        ),
        (3, {"save_strategy": "steps", "save_steps": 5}, "a finite loss, got nan at step 5"),
        (6, {}, "finite weights, got NaN or infinity in output_layer.* at step 6"),
        (5, {"gradient_accumulation_steps": 3}, "a finite loss, got nan at step 6"),
    ],
)
def test_a_run_that_diverges_unseen_does_not_succeed(tmp_path, poisoned, options, message):
    """The run logs and evaluates nothing after the weights become NaN or infinite."""
    trainer = tiny.trainer(tmp_path, logging_steps=100, max_steps=6, **options)
    trainer.add_callback(Poison(poisoned, math.nan))
    with pytest.raises(UserError, match=f"expected {message}: lower"):
        trainer.train()
        trainer.check_weights()
    assert not list(tmp_path.glob("checkpoint-*"))


# ---- saving


def test_a_checkpoint_holds_model_and_tokenizer(tmp_path):
    trainer = tiny.trainer(tmp_path, max_steps=1, save_strategy="steps", save_steps=1)
    expected = trained(trainer)
    loaded = TextVAEModel.from_pretrained(tmp_path / "checkpoint-1")
    torch.testing.assert_close(tiny.weights(loaded), expected, check_dtype=False)
    assert (tmp_path / "checkpoint-1" / "tokenizer.json").exists()


# ---- other machines


@pytest.mark.parametrize("precision", [pytest.param("bf16", marks=tiny.needs_bf16), None])
def test_training_in_lower_precision(tmp_path, precision):
    trainer = tiny.trainer(tmp_path, max_steps=3, **({precision: True} if precision else {}))
    trainer.model.float()
    trainer.train()
    assert {tensor.dtype for tensor in tiny.weights(trainer.model).values()} == {torch.float32}
    assert all(math.isfinite(loss) for loss in history(trainer, "loss").values())


def test_bf16_is_refused_where_it_cannot_be(tmp_path, monkeypatch):
    monkeypatch.setattr("textvae.support.precision.lstm_in_bf16", lambda: False)
    with pytest.raises(UserError, match="expected a CPU with AVX-512 for LSTMs in bf16"):
        tiny.trainer(tmp_path, bf16=True)
    tiny.trainer(tmp_path, bf16=False)
    without = tiny.model(encoder_type="convolution", **tiny.DECODERS["dilated"])
    check_bf16(without, torch.device("cpu"))
    check_bf16(tiny.model(), torch.device("cuda"))


@pytest.mark.parametrize("amx", [True, False])
@pytest.mark.parametrize("avx", [True, False])
def test_bf16_is_for_hardware_that_has_it_unless_told(tmp_path, monkeypatch, amx, avx):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    made = [
        TextVAETrainingArguments(output_dir=str(tmp_path), **options)
        for options in ({}, {"bf16": True}, {"bf16": False})
    ]
    assert [arguments.bf16 for arguments in made] == [amx or avx, True, False]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("decoder", tiny.DECODERS.values(), ids=tiny.DECODERS)
def test_training_and_generation_on_a_gpu(tmp_path, decoder):
    trainer = tiny.trainer(
        tmp_path, use_cpu=False, max_steps=1, model_options=decoder, eval_strategy="steps", eval_steps=1
    )
    before = trainer.evaluate()["eval_neg_elbo"]
    trainer.train()
    assert trainer.model.device.type == "cuda"
    assert history(trainer, "eval_neg_elbo")[1] != before
    z = torch.randn(4, 3, device="cuda", dtype=torch.double)
    assert trainer.model.eval().generate(z, max_new_tokens=3).device.type == "cuda"


# ---- conditional models


def pair_trainer(folder, **arguments):
    torch.manual_seed(0)
    return TextVAETrainer(
        tiny.seq2seq(dropout=0.0, source_vocab_size=tiny.VOCABULARY).float(),
        TextVAETrainingArguments(
            output_dir=str(folder), use_cpu=True, logging_steps=1, max_steps=3, **arguments
        ),
        ELBO(KLWeight("linear", start=0.5, steps=4), free_bits=0.1),
        tiny.pair_fields(),
        train_dataset=tiny.pair_dataset(64),
        eval_dataset=tiny.pair_dataset(8),
    )


def test_a_conditional_model_is_trained_and_measured(tmp_path):
    trainer = pair_trainer(
        tmp_path, eval_strategy="steps", eval_steps=3, save_strategy="no", load_best_model_at_end=False
    )
    before = tiny.weights(trainer.model)
    after = trained(trainer)
    assert all(not torch.equal(after[name], before[name]) for name in before)
    assert list(history(trainer, "kl")) == [1, 2, 3]
    assert history(trainer, "kl_weight")[2] == pytest.approx(0.75)
    assert history(trainer, "eval_neg_elbo")[3] > 0
    assert not history(trainer, "eval_mutual_information")


def test_pairs_of_one_length_come_together(tmp_path):
    trainer = pair_trainer(
        tmp_path,
        per_device_train_batch_size=8,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
    )
    rows = trainer.train_dataset
    order = torch.tensor(list(trainer._get_train_sampler())).view(8, 8)
    spread = torch.as_tensor(rows["length"])[order]
    assert (spread.amax(1) - spread.amin(1)).max() <= 2


def test_posteriors_given_a_source_are_refined_too(tmp_path):
    options = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    plain, refined = (
        pair_trainer(tmp_path, **options, **more) for more in ({}, {"refinement": {"steps": 2}})
    )
    assert refined.evaluate()["eval_neg_elbo"] < plain.evaluate()["eval_neg_elbo"]
    before = tiny.weights(refined.model)
    assert all(not torch.equal(tensor, before[name]) for name, tensor in trained(refined).items())


def test_batches_of_so_many_tokens_make_the_same_objective(tmp_path):
    """The mean over the weighted losses of an epoch's batches equals the mean over its sentences."""
    trainer = tiny.trainer(tmp_path, tokens_per_batch=20)
    trainer.model.eval()
    with torch.no_grad():
        batches = list(trainer.get_train_dataloader())
        torch.manual_seed(0)
        weighed = [float(trainer.compute_loss(trainer.model, batch)) for batch in batches]
        torch.manual_seed(0)
        outputs = [trainer.objective(trainer.model(**batch), 1.0).loss for batch in batches]
    sizes = [len(batch["lengths"]) for batch in batches]
    assert len(set(sizes)) > 2
    assert all(batch["mask"].numel() <= 20 for batch in batches)
    expected = sum(size * float(loss) for size, loss in zip(sizes, outputs, strict=True)) / 96
    assert sum(weighed) / len(weighed) == pytest.approx(expected)


@pytest.mark.slow
def test_batches_of_so_many_tokens_resume_exactly(tmp_path):
    options = {
        "tokens_per_batch": 20,
        "gradient_accumulation_steps": 2,
        "max_steps": 30,
        "save_strategy": "steps",
    }
    whole = tiny.trainer(tmp_path / "whole", save_steps=17, **options)
    assert len(whole.get_train_dataloader()) % 2 == 0
    whole.train()
    resumed = tiny.trainer(tmp_path / "resumed", save_steps=17, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-17"))
    assert resumed.state.epoch > 1
    for name, tensor in tiny.weights(whole.vae).items():
        torch.testing.assert_close(tiny.weights(resumed.vae)[name], tensor, rtol=0, atol=0)


def test_batches_of_so_many_tokens_need_a_stored_corpus(tmp_path):
    trainer = tiny.trainer(tmp_path, tokens_per_batch=20)
    trainer.train_dataset = trainer.train_dataset.to_iterable_dataset()
    with pytest.raises(UserError, match="expected a stored corpus for tokens_per_batch"):
        trainer.get_train_dataloader()


# ---- several data sets, and what is not available


def several(trainer):
    """The same trainer, with two evaluation data sets."""
    trainer.eval_dataset = {"short": tiny.dataset([1, 2, 2]), "long": tiny.dataset([8, 9])}
    return trainer


def test_several_data_sets_are_evaluated_by_name(tmp_path):
    options = {"max_steps": 2, "eval_strategy": "steps", "eval_steps": 1}
    trainer = several(tiny.trainer(tmp_path, metric_for_best_model="short_neg_elbo", **options))
    trainer.train()
    found = trainer.evaluate()
    for name, dataset in trainer.eval_dataset.items():
        alone = trainer.evaluate(dataset)
        assert found[f"eval_{name}_neg_elbo"] == alone["eval_neg_elbo"]
        assert len(history(trainer, f"eval_{name}_neg_elbo")) == 2
    assert "eval_neg_elbo" not in found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"load_best_model_at_end": True, "save_strategy": "epoch"}, "set it to short_neg_elbo"),
        (
            {"early_stopping_patience": 1},
            "expected metric_for_best_model to name one of the data sets short, long",
        ),
        ({"decay_on_plateau": {}}, "expected one evaluation data set with decay_on_plateau"),
        ({"aggressive": {}}, "expected one evaluation data set with decay_on_plateau or aggressive"),
    ],
    ids=repr,
)
def test_one_bound_must_decide(options, message, tmp_path):
    trainer = several(tiny.trainer(tmp_path))
    arguments = TextVAETrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, **{"load_best_model_at_end": False, **options}
    )
    with pytest.raises(UserError, match=message):
        TextVAETrainer(
            trainer.model,
            arguments,
            ELBO(),
            tiny.fields(),
            train_dataset=trainer.train_dataset,
            eval_dataset=trainer.eval_dataset,
        )


def test_one_of_several_data_sets_chooses_the_best(tmp_path):
    options = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 1, "save_steps": 1}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "long_neg_elbo"}
    trainer = several(tiny.trainer(tmp_path, max_steps=2, **options, **best))
    trainer.train()
    assert trainer.state.best_metric == min(history(trainer, "eval_long_neg_elbo").values())


def test_predict_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected another method than predict"):
        tiny.trainer(tmp_path).predict(tiny.dataset([3, 1]))


def test_the_objective_says_how_many_draws_there_are(tmp_path):
    trainer = tiny.trainer(tmp_path, objective=ELBO(samples=3))
    _, output = trainer.compute_loss(trainer.model, dict(tiny.batch()), return_outputs=True)
    assert output.z.shape == (*output.score.shape, 3) == (3, 4, 3)


@pytest.mark.parametrize(("bounds", "gained"), [([], None), ([8.0], None), ([9.0, 8.0, 6.0], 1 - 6 / 8)])
def test_the_history_has_the_last_gain(tmp_path, bounds, gained):
    trainer = tiny.trainer(
        tmp_path, max_steps=4, warmup_steps=2, lr_scheduler_type="linear", objective=ELBO(target_rate=1.5)
    )
    trainer.state.log_history = [{"eval_neg_elbo": bound} for bound in bounds] + [{"loss": 1.0}]
    trainer.state.max_steps = trainer.state.global_step = 4
    assert history_of(trainer, pretraining=True) == Training(4, 2, 1.5, True, gained, 600)
