"""Training arguments of `transformers` that are not offered, and those that need another to have an effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_LOGGING = "the environment variable TRANSFORMERS_VERBOSITY sets it"
_MEMORY = "lower per_device_train_batch_size and raise gradient_accumulation_steps"
_OTHER_MODELS = "its kernels are for other models"
_PROCESSES = "each process holds the whole model, as torchrun starts it"
_UPLOADS = "nothing is uploaded: upload the finished run with hf upload"

UNUSED = {
    "label_smoothing_factor": "the loss is the objective",
    "train_sampling_strategy": "the model decides how sentences are grouped by length",
    "length_column_name": "the fields of the model name the columns",
    "remove_unused_columns": "the collator reads columns that the model does not",
    "label_names": "the fields of the model name the targets",
    "average_tokens_across_devices": "losses are means over sentences",
    "prediction_loss_only": "evaluations report the quantities of textvae evaluate",
    "eval_accumulation_steps": "evaluations keep no predictions",
    "eval_do_concat_batches": "evaluations keep no predictions",
    "eval_use_gather_object": "evaluations keep no predictions",
    "include_for_metrics": "evaluations report the quantities of textvae evaluate",
    "batch_eval_metrics": "evaluations report the quantities of textvae evaluate",
    "bf16_full_eval": "evaluations during training have the precision of training, see bf16",
    "fp16_full_eval": "evaluations during training have the precision of training, see fp16",
    "include_num_input_tokens_seen": "the batches have no column input_ids",
    "use_cache": "generation always uses its cache",
    "do_train": "it is for scripts that read it",
    "do_eval": "it is for scripts that read it",
    "do_predict": "it is for scripts that read it",
    "resume_from_checkpoint": "it is for scripts that read it; a run is resumed by --resume",
    "disable_tqdm": "--quiet hides the progress",
    "local_rank": "torchrun sets it",
    "log_level": _LOGGING,
    "log_level_replica": _LOGGING,
    "use_liger_kernel": _OTHER_MODELS,
    "liger_kernel_config": _OTHER_MODELS,
}
"""Arguments of the parent that do nothing here, and the reason; recipes do not offer them."""

UNSUPPORTED = {
    "activation_checkpointing": _MEMORY,
    "activation_checkpointing_kwargs": _MEMORY,
    "gradient_checkpointing": _MEMORY,
    "gradient_checkpointing_kwargs": _MEMORY,
    "neftune_noise_alpha": "model.word_dropout disturbs what the decoder reads",
    "optim_target_modules": "the optimisers that read it are not offered",
    "accelerator_config": "batches of similar length decide how processes share the data",
    "parallelism_config": _PROCESSES,
    "fsdp": _PROCESSES,
    "fsdp_config": _PROCESSES,
    "deepspeed": _PROCESSES,
    "enable_jit_checkpoint": "SIGTERM ends a run, and --resume continues it",
    "debug": "a NaN or infinite loss ends the run in any case",
    "push_to_hub": _UPLOADS,
    "hub_token": _UPLOADS,
    "hub_private_repo": _UPLOADS,
    "hub_model_id": _UPLOADS,
    "hub_strategy": _UPLOADS,
    "hub_always_push": _UPLOADS,
    "hub_revision": _UPLOADS,
}
"""Arguments of the parent that the models or the trainer do not support, and what to do instead."""

NOT_OFFERED = UNUSED.keys() | UNSUPPORTED.keys()

SET_BY_PARENT = (
    "do_train",
    "do_eval",
    "do_predict",
    "disable_tqdm",
    "local_rank",
)
"""Those that the parent itself sets, so that their values do not show what the user asked for."""

SECRET = ("hub_token",)
"""Arguments whose values no message shows."""

STRATEGIES = {
    "eval_steps": "eval_strategy",
    "save_steps": "save_strategy",
    "logging_steps": "logging_strategy",
}
"""Numbers of steps, and the strategies that must be "steps" for them to be used."""

OF_EVALUATIONS = ("early_stopping_patience", "decay_on_plateau")
"""Options that act on the results of evaluations during training."""


BESIDE_TOKENS = {
    "dataloader_drop_last": "no batch is incomplete",
    "auto_find_batch_size": "lower tokens_per_batch",
}
"""Arguments that do nothing if ``tokens_per_batch`` is set, and why."""


class Companion(NamedTuple):
    """What an argument needs to have an effect.

    Attributes:
        wanted: the other argument, for messages.
        fix: how to set it.
        is_met: takes the values of all arguments by name.
    """

    wanted: str
    fix: str
    is_met: Callable[[Mapping[str, Any]], bool]


def _has_workers(values: Mapping[str, Any]) -> bool:
    return values["dataloader_num_workers"] > 0


def _services(values: Mapping[str, Any]) -> set[str]:
    chosen = values["report_to"] or []
    return {chosen} if isinstance(chosen, str) else {*chosen}


_WORKERS = Companion("processes that load the data", "dataloader_num_workers=1", _has_workers)
_REPORT = Companion("a service to report to", "report_to", lambda values: bool(_services(values) - {"none"}))
_TRACKIO = Companion(
    "report_to trackio", "report_to=trackio", lambda values: bool(_services(values) & {"trackio", "all"})
)

COMPANIONS = {
    "dataloader_persistent_workers": _WORKERS,
    "dataloader_prefetch_factor": _WORKERS,
    "dataloader_multiprocessing_context": _WORKERS,
    "dataloader_in_order": _WORKERS,
    "run_name": _REPORT,
    "project": _TRACKIO,
    "trackio_space_id": _TRACKIO,
    "trackio_bucket_id": _TRACKIO,
    "trackio_static_space_id": _TRACKIO,
}
"""Arguments that have no effect, or fail, without another."""


def unoffered(given: Mapping[str, Any]) -> list[str]:
    """A fault for each training argument that is not offered.

    Args:
        given: the arguments that are set, by name.
    """
    faults = []
    for name in given:
        shown = "a value" if name in SECRET else repr(given[name])
        if name in UNUSED:
            faults.append(
                f"{name}: expected to be left out, got {shown}, which would do nothing: {UNUSED[name]}"
            )
        if name in UNSUPPORTED:
            faults.append(
                f"{name}: expected to be left out, got {shown}, which is not supported: {UNSUPPORTED[name]}"
            )
    return faults


def idle(given: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """A fault for each training argument that would do nothing beside the others.

    Args:
        given: the arguments that are set, by name.
        values: all arguments by name, with the defaults of those that are not set.
    """
    faults = _without_companion(given, values)
    for name, strategy in STRATEGIES.items():
        if given.get(name) is not None and values[strategy] == "epoch":
            faults.append(
                f"{name}: expected {strategy} steps with it, got epoch: set {strategy}, or leave {name} out"
            )
    for name in OF_EVALUATIONS:
        if given.get(name) is not None and values["eval_strategy"] == "no":
            faults.append(
                f"{name}: expected evaluations during training with it, got eval_strategy no: set eval_strategy, or "
                f"leave {name} out"
            )
    if values["fp16"] and values["bf16"]:
        faults.append("fp16: expected fp16 or bf16, got both: leave one out")
    if given.get("tokens_per_batch") is not None:
        faults += [
            f"{name}: expected to be left out with tokens_per_batch, got true: {reason}"
            for name, reason in BESIDE_TOKENS.items()
            if given.get(name)
        ]
    return faults


def _without_companion(given: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: expected {need.wanted} with it, got none: set {need.fix}, or leave {name} out"
        for name, need in COMPANIONS.items()
        if given.get(name) is not None and not need.is_met(values)
    ]
