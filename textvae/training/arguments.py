"""The training arguments of a text VAE."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, MinLen
from transformers import (
    TrainingArguments,
)
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from textvae.models.refinement import Refinement
from textvae.support.errors import UserError
from textvae.support.options import (
    ArgumentsOf,
    Count,
    Dropout,
    Positive,
    Size,
    Weight,
    check_arguments,
    set_fields,
)
from textvae.support.precision import bf16_is_fast
from textvae.support.seeds import Seed
from textvae.training.aggressive import AggressiveEncoder
from textvae.training.plateau import DecayOnPlateau

UNUSED = {
    "label_smoothing_factor": "the loss is the objective",
    "train_sampling_strategy": "batches always have sentences of similar length",
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
    "use_cache": "generation always uses its cache",
    "do_train": "it is for scripts that read it",
    "do_eval": "it is for scripts that read it",
    "do_predict": "it is for scripts that read it",
    "resume_from_checkpoint": "it is for scripts that read it; a run is resumed by --resume",
    "disable_tqdm": "--quiet hides the progress",
    "local_rank": "torchrun sets it",
}
"""Arguments of the parent that do nothing here, and the reason; recipes do not offer them."""

SET_BY_PARENT = ("do_train", "do_eval", "do_predict", "disable_tqdm", "local_rank")
"""Those that the parent itself sets, so that their values do not show what the user asked for."""

STRATEGIES = {
    "eval_steps": "eval_strategy",
    "save_steps": "save_strategy",
    "logging_steps": "logging_strategy",
}
"""Numbers of steps, and the strategies that must be "steps" for them to be used."""

OF_EVALUATIONS = ("early_stopping_patience", "decay_on_plateau")
"""Options that act on the results of evaluations during training."""


@dataclass
class TextVAETrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments` for a text VAE.

    The first six are new and the next have different defaults. The rest are the parent's, with ranges that the parent
    does not check: a negative learning rate would train.

    For an option that is a dict, {} means the default arguments, and None turns it off.

    Attributes:
        evaluation_samples: K, the samples of the importance-weighted bound in evaluations during training.
        tokens_per_batch: a batch on a device has as many sentences of similar length as make this many tokens,
            including padding and sources. Replaces per_device_train_batch_size; not for streams. Batches are weighted
            by their numbers of sentences, so the objective does not change.
        decay_on_plateau: arguments of `DecayOnPlateau`.
        aggressive: arguments of `AggressiveEncoder`, which needs a single process and does not support fp16.
        refinement: arguments of `Refinement`: in training and in evaluations during training, gradient steps improve
            the posterior of each sentence before the loss is computed.
        early_stopping_patience: training ends after this many evaluations without a new best; None: no early stopping.
        bf16: compute matrix products in bf16; parameters, optimiser state, softmax sums and the KL stay in fp32. None:
            use bf16 if the hardware is fast at it, see `bf16_is_fast`.
        metric_for_best_model: the best checkpoint has the best bound at KL weight 1, for any KL schedule.
        logging_nan_inf_filter: off, because a NaN or infinite loss must end the run instead of being averaged away.
        save_total_limit: keep the best and the last checkpoint. With 1, `transformers` would delete the last one at the
            end of training, and a run killed before its evaluation would have to repeat its last steps.
        ddp_find_unused_parameters: off, because all parameters are used; also, the search misses the posterior.
        restore_callback_states_from_checkpoint: on, so that a resumed `DecayOnPlateau` keeps its counters.
    """

    evaluation_samples: Size = 1
    tokens_per_batch: Size | None = None
    decay_on_plateau: Annotated[dict[str, Any] | None, ArgumentsOf(DecayOnPlateau)] = None
    aggressive: Annotated[dict[str, Any] | None, ArgumentsOf(AggressiveEncoder)] = None
    refinement: Annotated[dict[str, Any] | None, ArgumentsOf(Refinement)] = None
    early_stopping_patience: Size | None = None
    bf16: bool | None = None  # type: ignore[assignment]
    metric_for_best_model: str | None = "neg_elbo"
    greater_is_better: bool | None = False
    load_best_model_at_end: bool = True
    eval_strategy: IntervalStrategy | str = "epoch"
    save_strategy: SaveStrategy | str = "epoch"
    save_total_limit: Size | None = 2
    per_device_train_batch_size: Size = 32
    per_device_eval_batch_size: Size = 32
    logging_nan_inf_filter: bool = False
    restore_callback_states_from_checkpoint: bool = True
    ddp_find_unused_parameters: bool | None = False
    dataloader_pin_memory: bool = torch.cuda.is_available()
    report_to: str | list[str] | None = "none"
    # The collator reads columns that are not arguments of the model's forward.
    remove_unused_columns: bool = False

    output_dir: Annotated[str, MinLen(1)] | None = TrainingArguments.output_dir
    num_train_epochs: Positive = TrainingArguments.num_train_epochs
    max_steps: Annotated[int, Ge(-1)] = TrainingArguments.max_steps
    learning_rate: Weight = TrainingArguments.learning_rate
    warmup_steps: Weight = TrainingArguments.warmup_steps
    weight_decay: Weight = TrainingArguments.weight_decay
    adam_beta1: Dropout = TrainingArguments.adam_beta1
    adam_beta2: Dropout = TrainingArguments.adam_beta2
    adam_epsilon: Positive = TrainingArguments.adam_epsilon
    max_grad_norm: Weight = TrainingArguments.max_grad_norm
    neftune_noise_alpha: Weight | None = TrainingArguments.neftune_noise_alpha
    gradient_accumulation_steps: Size = TrainingArguments.gradient_accumulation_steps
    torch_empty_cache_steps: Size | None = TrainingArguments.torch_empty_cache_steps
    logging_steps: Positive = TrainingArguments.logging_steps
    eval_steps: Positive | None = TrainingArguments.eval_steps
    save_steps: Positive = TrainingArguments.save_steps
    eval_delay: Weight = TrainingArguments.eval_delay
    dataloader_num_workers: Count = TrainingArguments.dataloader_num_workers
    dataloader_prefetch_factor: Size | None = TrainingArguments.dataloader_prefetch_factor
    ddp_bucket_cap_mb: Size | None = TrainingArguments.ddp_bucket_cap_mb
    ddp_timeout: Size = TrainingArguments.ddp_timeout
    seed: Seed = TrainingArguments.seed
    data_seed: Seed | None = TrainingArguments.data_seed

    def __post_init__(self) -> None:
        # Only the fields declared here: the parent stores others in types that it does not declare.
        names = inspect.get_annotations(TextVAETrainingArguments)
        check_arguments(TextVAETrainingArguments, **{name: getattr(self, name) for name in names})
        if faults := idle_arguments(self._set_by_user()):
            raise UserError("; ".join(faults))
        # The batches have no column "labels": their targets have other names.
        self.label_names = []
        # Without a GPU, the parent accepts bf16 only if use_cpu is set.
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()
        if self.bf16 is None:
            self.bf16 = not self.fp16 and bf16_is_fast(self.use_cpu)
        if self.accelerator_config is None:
            # Each process reads its own part of a stream, because dispatched batches would need the same width.
            # Batches of tokens_per_batch tokens cannot be evened out; each process has the same number of them anyway.
            self.accelerator_config = {
                "dispatch_batches": False,
                "even_batches": self.tokens_per_batch is None,
            }
        super().__post_init__()

    def _set_by_user(self) -> dict[str, Any]:
        """The values that are not the defaults, except those that the parent sets, and the strategies."""
        changed = {name: value for name, value in set_fields(self).items() if name not in SET_BY_PARENT}
        if not self.label_names:
            changed.pop("label_names", None)
        return changed | {strategy: getattr(self, strategy) for strategy in STRATEGIES.values()}


def idle_arguments(given: Mapping[str, Any]) -> list[str]:
    """A fault for each training argument that would do nothing.

    Args:
        given: the arguments that are set, by name; strategies that are missing have their defaults.
    """
    faults = [
        f"{name}: expected to be left out, got {given[name]!r}, which would do nothing: {UNUSED[name]}"
        for name in UNUSED
        if name in given
    ]
    for name, strategy in STRATEGIES.items():
        chosen = given.get(strategy, getattr(TextVAETrainingArguments, strategy))
        if given.get(name) is not None and chosen == "epoch":
            faults.append(
                f"{name}: expected {strategy} steps with it, got epoch: set {strategy}, or leave {name} out"
            )
    for name in OF_EVALUATIONS:
        if given.get(name) is not None and given.get("eval_strategy", "epoch") == "no":
            faults.append(
                f"{name}: expected evaluations during training with it, got eval_strategy no: set eval_strategy, or "
                f"leave {name} out"
            )
    if given.get("tokens_per_batch") is not None and given.get("dataloader_drop_last"):
        faults.append(
            "dataloader_drop_last: expected to be left out with tokens_per_batch, got true: no batch is incomplete"
        )
    return faults
