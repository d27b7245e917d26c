"""Options that would do nothing are refused by name, in recipes and in Python."""

import pytest
import tiny

from textvae.objectives.elbo import ELBO
from textvae.objectives.schedules import KLWeight
from textvae.support.errors import UserError
from textvae.text.corpus import load_corpus
from textvae.training.arguments import TextVAETrainingArguments
from textvae.training.offered import SET_BY_PARENT, UNSUPPORTED, UNUSED
from textvae.training.recipe import recipe_of
from textvae.training.trainer import TextVAETrainer

CLASSES = {"posterior": {"kind": "classes"}, "prior": {"kind": "classes"}}
TRAINING = {
    "label_smoothing_factor": 0.1,
    "train_sampling_strategy": "group_by_length",
    "length_column_name": "size",
    "remove_unused_columns": True,
    "label_names": ["targets"],
    "average_tokens_across_devices": False,
    "prediction_loss_only": True,
    "eval_accumulation_steps": 2,
    "eval_do_concat_batches": False,
    "eval_use_gather_object": True,
    "include_for_metrics": ["loss"],
    "batch_eval_metrics": True,
    "bf16_full_eval": True,
    "fp16_full_eval": True,
    "use_cache": True,
    "do_train": True,
    "do_eval": True,
    "do_predict": True,
    "resume_from_checkpoint": "run/checkpoint-1",
    "disable_tqdm": True,
    "local_rank": 0,
    "include_num_input_tokens_seen": "all",
    "log_level": "debug",
    "log_level_replica": "error",
    "use_liger_kernel": True,
    "liger_kernel_config": {"rope": True},
}
NOT_SUPPORTED = {
    "activation_checkpointing": True,
    "activation_checkpointing_kwargs": {"use_reentrant": False},
    "gradient_checkpointing": True,
    "gradient_checkpointing_kwargs": {"use_reentrant": False},
    "neftune_noise_alpha": 5.0,
    "optim_target_modules": "all-linear",
    "accelerator_config": {"split_batches": True},
    "parallelism_config": {"tp_size": 2},
    "fsdp": "full_shard",
    "fsdp_config": "nope.json",
    "deepspeed": "nope.json",
    "enable_jit_checkpoint": True,
    "debug": "underflow_overflow",
    "push_to_hub": True,
    "hub_token": "secret",
    "hub_private_repo": True,
    "hub_model_id": "name",
    "hub_strategy": "end",
    "hub_always_push": True,
    "hub_revision": "main",
}
TOGETHER = {
    "eval_steps": {"eval_steps": 100},
    "save_steps": {"save_steps": 100, "save_strategy": "epoch"},
    "logging_steps": {"logging_steps": 100, "logging_strategy": "epoch"},
    "early_stopping_patience": {"early_stopping_patience": 3, "eval_strategy": "no"},
    "decay_on_plateau": {"decay_on_plateau": {}, "eval_strategy": "no"},
    "dataloader_drop_last": {"dataloader_drop_last": True, "tokens_per_batch": 100},
}
USED = {
    "eval_steps": {"eval_steps": 100, "save_steps": 100, "eval_strategy": "steps", "save_strategy": "steps"},
    "save_steps": {
        "save_steps": 100,
        "save_strategy": "no",
        "eval_strategy": "no",
        "load_best_model_at_end": False,
    },
    "logging_steps": {"logging_steps": 100},
    "early_stopping_patience": {"early_stopping_patience": 3},
    "dataloader_drop_last": {"dataloader_drop_last": True},
}


def recipe(**sections):
    source = {"corpus": {"train": "grammar"}, "training": {}, **sections}
    return recipe_of({**source, "training": {"output_dir": "run", **source["training"]}})


def test_every_unused_argument_has_a_case():
    assert TRAINING.keys() == UNUSED.keys()
    assert NOT_SUPPORTED.keys() == UNSUPPORTED.keys()


@pytest.mark.parametrize("name", [*TRAINING, *NOT_SUPPORTED])
def test_what_is_not_offered_is_refused(name):
    reason = "would do nothing" if name in TRAINING else "is not supported"
    with pytest.raises(
        UserError, match=rf"training\.{name}: expected to be left out, got .*, which {reason}"
    ) as error:
        recipe(training={name: (TRAINING | NOT_SUPPORTED)[name]})
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name in [*TRAINING, *NOT_SUPPORTED] if name not in SET_BY_PARENT])
def test_what_is_not_offered_is_refused_in_python(name, tmp_path):
    with pytest.raises(UserError, match=f"^{name}: expected to be left out"):
        TextVAETrainingArguments(output_dir=str(tmp_path), **{name: (TRAINING | NOT_SUPPORTED)[name]})


def test_arguments_can_be_made_of_others(tmp_path):
    first = TextVAETrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    own = {name: value for name, value in vars(first).items() if name in first.__dataclass_fields__}
    assert TextVAETrainingArguments(**own).label_names == []


@pytest.mark.parametrize("name", TOGETHER)
def test_options_that_others_switch_off_are_refused(name, tmp_path):
    with pytest.raises(UserError, match=rf" training\.{name}: expected"):
        recipe(training=TOGETHER[name])
    with pytest.raises(UserError, match=f"^{name}: expected"):
        TextVAETrainingArguments(output_dir=str(tmp_path), **TOGETHER[name])


@pytest.mark.parametrize("name", USED)
def test_options_that_are_used_are_taken(name, tmp_path):
    recipe(training=USED[name])
    TextVAETrainingArguments(output_dir=str(tmp_path), use_cpu=True, **USED[name])


OBJECTIVES = {
    "free_bits_on": ({"free_bits_on": "batch"}, {}),
    "cycles": ({"kl_weight": {"schedule": "linear", "steps": 9, "cycles": 2}}, {}),
    "start": ({"kl_weight": {"start": 0.5}}, {}),
    "steps": ({"kl_weight": {"steps": 5}}, {}),
    "classification": ({"classification": 1.0}, {}),
    "classification of pairs": ({"classification": 5.0}, {"kind": "seq2seq"}),
    "bag_of_words": ({"bag_of_words": 1.0}, {}),
    "bag_of_words set to null": ({"bag_of_words": 3}, {"bag_of_words": None}),
}


@pytest.mark.parametrize("case", OBJECTIVES)
def test_idle_options_of_the_objective_are_refused(case):
    objective, model = OBJECTIVES[case]
    with pytest.raises(UserError, match=rf"objective.*{case.split()[0]}.*leave.* out"):
        recipe(objective=objective, model=model)


@pytest.mark.parametrize(
    ("objective", "model"),
    [
        ({"free_bits": 3, "free_bits_on": "batch"}, {}),
        ({"kl_weight": {"schedule": "cyclical", "steps": 9, "cycles": 2, "start": 0.1}}, {}),
        ({"classification": 5}, CLASSES),
        ({"bag_of_words": 5}, {"bag_of_words": {}}),
        ({"bag_of_words": 5}, {"bag_of_words": {}, "latent_size": 0}),
        ({"bag_of_words": 0, "classification": 0}, {}),
        ({"bag_of_words": None, "classification": None}, {}),
    ],
    ids=repr,
)
def test_options_of_the_objective_that_are_used_are_taken(objective, model):
    recipe(objective=objective, model=model)


def test_a_first_stage_is_checked_too():
    with pytest.raises(
        UserError, match=r"pretraining: objective\.bag_of_words: expected a model with a bag of words"
    ):
        recipe(pretraining={"objective": {"kl_weight": {"end": 0.0}, "bag_of_words": 2}})


@pytest.mark.parametrize("options", [{"classification": 3.0}, {"bag_of_words": 3.0}], ids=repr)
def test_the_trainer_refuses_idle_weights(options, tmp_path):
    (name,) = options
    with pytest.raises(UserError, match=rf"^objective\.{name}: expected a model with"):
        tiny.trainer(tmp_path, objective=ELBO(**options))
    assert isinstance(tiny.trainer(tmp_path, objective=ELBO(KLWeight(end=0.5))), TextVAETrainer)


@pytest.mark.parametrize("option", [{"sizes": (5, 5, 5)}, {"language": "de"}], ids=repr)
def test_options_of_the_embedded_corpus_are_refused_for_others(option, tmp_path):
    (tmp_path / "texts.txt").write_text("a b\nc d\n" * 9)
    (name,) = option
    with pytest.raises(
        UserError, match=f"expected no {name} with .*, as only the embedded corpus has {name}.* instead$"
    ):
        load_corpus(str(tmp_path / "texts.txt"), **option)
