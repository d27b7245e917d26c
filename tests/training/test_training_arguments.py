"""Training arguments that fail or mislead: one line names them before any work, from a recipe and from Python."""

import dataclasses

import pytest
import tiny
from transformers.integrations import INTEGRATION_TO_CALLBACK

from textvae.objectives.elbo import ELBO
from textvae.support.errors import UserError
from textvae.training.arguments import TextVAETrainingArguments
from textvae.training.plateau import DecayOnPlateau
from textvae.training.recipe import recipe_of

CHOICES = (
    "lr_scheduler_type",
    "optim",
    "logging_strategy",
    "eval_strategy",
    "save_strategy",
    "report_to",
    "torch_compile_backend",
    "torch_compile_mode",
    "dataloader_multiprocessing_context",
    "ddp_backend",
)
COSINE = {"lr_scheduler_type": "cosine_with_min_lr"}
PLATEAU = {"lr_scheduler_type": "reduce_lr_on_plateau"}
NO_EVALUATION = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
STEPS = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 10}
BAD = [
    *[(name, {name: "nope"}, "expected one of .*'nope'") for name in CHOICES],
    ("report_to", {"report_to": ["tensorboard", "nope"]}, "expected one of .*"),
    ("max_steps", {"max_steps": 0}, "expected -1 or greater than or equal to 1, got 0"),
    ("decay_on_plateau.factor", {"decay_on_plateau": {"factor": 2}}, "expected less than 1, got 2"),
    ("decay_on_plateau.factor", {"decay_on_plateau": {"factor": 1.0}}, "expected less than 1, got 1.0"),
    ("decay_on_plateau.metric", {"decay_on_plateau": {"metric": "nope"}}, "expected a quantity"),
    (
        "decay_on_plateau.metric",
        {"decay_on_plateau": {"metric": "accuracy"}},
        "expected a quantity to minimise",
    ),
    (
        "decay_on_plateau",
        {"decay_on_plateau": {}, **NO_EVALUATION, "eval_strategy": "epoch"},
        "expected a checkpoint",
    ),
    ("decay_on_plateau", {"decay_on_plateau": {}, **STEPS, "save_steps": 20}, "expected a checkpoint"),
    ("lr_scheduler_kwargs", {"lr_scheduler_kwargs": "x"}, "expected a valid dictionary"),
    ("lr_scheduler_kwargs", {"lr_scheduler_kwargs": {"x": 1}}, "expected options that linear takes.*'x'"),
    (
        "lr_scheduler_kwargs",
        COSINE,
        "expected options that cosine_with_min_lr takes.*min_lr_rate should be set",
    ),
    (
        "lr_scheduler_kwargs",
        {**COSINE, "lr_scheduler_kwargs": {"min_lr": 1.0}},
        "expected learning rates from 0",
    ),
    ("lr_scheduler_kwargs", {**PLATEAU, "lr_scheduler_kwargs": {"factor": 2}}, "expected options .* < 1.0"),
    (
        "lr_scheduler_kwargs",
        {"lr_scheduler_type": "constant", "lr_scheduler_kwargs": {"x": 1}},
        "expected to be left out",
    ),
    (
        "lr_scheduler_kwargs",
        {"lr_scheduler_type": "warmup_stable_decay"},
        "expected options .*num_decay_steps",
    ),
    ("lr_scheduler_type", {**PLATEAU, **NO_EVALUATION}, "expected evaluations during training"),
    ("lr_scheduler_type", {**PLATEAU, "decay_on_plateau": {}}, "expected constant or another"),
    (
        "warmup_steps",
        {"lr_scheduler_type": "constant", "warmup_steps": 10},
        "expected a schedule with a warm-up",
    ),
    ("fp16", {"fp16": True, "bf16": True}, "expected fp16 or bf16, got both"),
    ("optim", {"optim": "galore_adamw"}, "expected one of"),
    ("optim", {"optim": "schedule_free_adamw"}, "expected one of"),
    ("optim_args", {"optim_args": "x"}, "expected options such as momentum=0.9,nesterov=true, got 'x'"),
    ("optim_args", {"optim": "sgd", "optim_args": "momentum=x"}, "expected arguments that sgd takes"),
    ("optim_args", {"optim": "sgd", "optim_args": "momentum=-1"}, "expected arguments that sgd takes"),
    (
        "optim_args",
        {"optim": "sgd", "optim_args": "momentum=.9,rank=2"},
        "expected options that sgd reads, got 'rank",
    ),
    (
        "adam_beta1",
        {"optim": "sgd", "adam_beta1": 0.8},
        "expected to be left out, got 0.8, which sgd does not use",
    ),
    (
        "metric_for_best_model",
        {"metric_for_best_model": "neg_elb"},
        "expected .*such as neg_elbo; did you mean neg_e",
    ),
    ("metric_for_best_model", {"metric_for_best_model": "loss"}, "expected a quantity"),
    ("greater_is_better", {"greater_is_better": True}, "expected false with metric_for_best_model neg_elbo"),
    ("greater_is_better", {"metric_for_best_model": "ppl", "greater_is_better": True}, "expected false"),
    (
        "greater_is_better",
        {"metric_for_best_model": "kl"},
        "expected true or false with metric_for_best_model kl",
    ),
    (
        "dataloader_persistent_workers",
        {"dataloader_persistent_workers": True},
        "expected processes that load",
    ),
    (
        "dataloader_prefetch_factor",
        {"dataloader_prefetch_factor": 2},
        "expected processes that load the data",
    ),
    (
        "dataloader_multiprocessing_context",
        {"dataloader_multiprocessing_context": "spawn"},
        "expected processes",
    ),
    ("dataloader_in_order", {"dataloader_in_order": False}, "expected processes that load the data"),
    ("run_name", {"run_name": "x"}, "expected a service to report to"),
    ("project", {"project": "x", "report_to": "tensorboard"}, "expected report_to trackio"),
    ("trackio_space_id", {"trackio_space_id": "x"}, "expected report_to trackio"),
    (
        "auto_find_batch_size",
        {"auto_find_batch_size": True, "tokens_per_batch": 99},
        "expected to be left out",
    ),
]
GOOD = [
    {"max_steps": -1},
    {"max_steps": 1},
    {"decay_on_plateau": {"factor": 0.5, "metric": "eval_iw_nll"}},
    {"decay_on_plateau": {}, "save_strategy": "best"},
    {**STEPS, "save_steps": 10, "decay_on_plateau": {}},
    {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2.0}},
    {**COSINE, "lr_scheduler_kwargs": {"min_lr_rate": 0.1}, "warmup_steps": 10},
    {
        "lr_scheduler_type": "warmup_stable_decay",
        "lr_scheduler_kwargs": {"num_decay_steps": 10},
        "max_steps": 50,
    },
    {**PLATEAU, "lr_scheduler_kwargs": {"factor": 0.5}},
    {"optim": "sgd", "optim_args": "momentum=0.9, nesterov=true", "adam_beta1": 0.9},
    {"optim": "adafactor"},
    {"metric_for_best_model": "kl", "greater_is_better": True},
    {"metric_for_best_model": "kl_of_dimension_2", "greater_is_better": False},
    {"metric_for_best_model": "eval_short_iw_nll"},
    {"dataloader_num_workers": 1, "dataloader_persistent_workers": True, "dataloader_prefetch_factor": 2},
    {"warmup_steps": 0.1},
    {"learning_rate": 0},
]


def recipe(training):
    return recipe_of({"corpus": {"train": "grammar"}, "training": {"output_dir": "run", **training}})


@pytest.mark.parametrize(("name", "training", "message"), BAD, ids=repr)
def test_bad_arguments_are_refused_by_their_names(name, training, message):
    with pytest.raises(UserError, match=rf"to mend: (.*; )?training\.{name}(\.\d)?: {message}") as error:
        recipe(training)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "training", "message"), BAD, ids=repr)
def test_bad_arguments_are_refused_in_python(name, training, message, tmp_path):
    with pytest.raises(UserError, match=rf"^(.*; )?{name}(\.\d)?: {message}"):
        TextVAETrainingArguments(output_dir=str(tmp_path), use_cpu=True, **training)


@pytest.mark.parametrize("training", GOOD, ids=repr)
def test_good_arguments_are_taken(training, tmp_path):
    recipe(training)
    made = TextVAETrainingArguments(output_dir=str(tmp_path), use_cpu=True, **training)
    own = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    assert TextVAETrainingArguments(**own).to_dict() == made.to_dict()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fp16": True}, "^fp16: expected a GPU with it, got a CPU"),
        ({"tf32": True}, "tf32"),
        ({"fp16": "x"}, "^fp16: expected a valid boolean"),
        ({"use_cpu": "x"}, "^use_cpu: expected a valid boolean"),
        (
            {"eval_steps": 2.5, "eval_strategy": "steps", "save_strategy": "steps"},
            "eval_steps must be an integer",
        ),
    ],
    ids=repr,
)
def test_what_does_not_fit_the_machine_is_one_line(given, message, tmp_path, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(UserError, match=message) as error:
        TextVAETrainingArguments(output_dir=str(tmp_path), **{"use_cpu": True, **given})
    assert "\n" not in str(error.value)


def test_a_service_that_is_not_installed_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("textvae.training.arguments.get_available_reporting_integrations", list)
    assert "wandb" in INTEGRATION_TO_CALLBACK
    with pytest.raises(
        UserError, match=r"^report_to: expected an installed service: pip install wandb, got 'wandb'"
    ):
        TextVAETrainingArguments(output_dir=str(tmp_path), report_to="wandb")


@pytest.mark.parametrize(
    ("metric", "greater"),
    [("neg_elbo", False), ("accuracy", True), ("eval_long_mutual_information", True), (None, False)],
)
def test_the_direction_of_a_quantity_is_known(metric, greater, tmp_path):
    made = TextVAETrainingArguments(output_dir=str(tmp_path), metric_for_best_model=metric, use_cpu=True)
    assert made.greater_is_better == greater
    assert made.metric_for_best_model == (metric or "neg_elbo")


@pytest.mark.parametrize("option", ["metric_for_best_model", "decay_on_plateau"])
def test_a_quantity_that_the_model_does_not_have_is_refused(option, tmp_path):
    value = {"metric": "bits_per_character"} if option == "decay_on_plateau" else "accuracy"
    strategies = {"eval_strategy": "epoch", "save_strategy": "epoch"}
    with pytest.raises(
        UserError, match=rf"^{option}(\.metric)?: expected a quantity that is measured during"
    ):
        tiny.trainer(tmp_path, **strategies, **{option: value})


def test_the_best_checkpoint_has_the_greatest_value_if_greater_is_better(tmp_path):
    options = {
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": 1,
        "save_steps": 1,
        "max_steps": 3,
    }
    trainer = tiny.trainer(tmp_path, **options, metric_for_best_model="mutual_information", objective=ELBO())
    trainer.train()
    values = [
        logs["eval_mutual_information"] for logs in trainer.state.log_history if "eval_neg_elbo" in logs
    ]
    assert trainer.state.best_metric == max(values) > min(values)


def test_the_metric_of_a_decay_needs_no_prefix():
    assert DecayOnPlateau("iw_nll").metric == DecayOnPlateau("eval_iw_nll").metric == "eval_iw_nll"
