"""The training arguments of a text VAE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_all_start_methods
from typing import Annotated, Any, Literal

import torch
from accelerate.utils import DynamoBackend
from annotated_types import MinLen
from pydantic import AfterValidator
from transformers import (
    TrainingArguments,
)
from transformers.integrations import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations
from transformers.trainer_pt_utils import AcceleratorConfig
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from textvae.models.refinement import Refinement
from textvae.support.errors import UserError
from textvae.support.options import (
    ArgumentsOf,
    Count,
    Dropout,
    Faults,
    Positive,
    Size,
    Weight,
    check,
    defaults,
    one_of,
    parameters,
    set_fields,
)
from textvae.support.precision import bf16_is_fast
from textvae.support.seeds import Seed
from textvae.training.aggressive import AggressiveEncoder
from textvae.training.judged import BOUND, Metric, faults_of_metrics, greater_is_better
from textvae.training.offered import SET_BY_PARENT, idle, unoffered
from textvae.training.optimisation import OPTIMIZERS, SCHEDULES, Pairs, faults_of_optimisation
from textvae.training.plateau import DecayOnPlateau

BACKENDS = [each.value.lower() for each in DynamoBackend if each.value != "NO"]
"""What may compile the model."""

MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
"""The modes of `torch.compile`."""

DDP_BACKENDS = ("nccl", "gloo", "mpi", "ccl", "xccl", "hccl", "cncl", "mccl")
"""What processes may communicate with."""

STRATEGY = [each.value for each in IntervalStrategy]

SERVICES = ("none", "all", *INTEGRATION_TO_CALLBACK)
"""The names that ``report_to`` may have."""

STORED_OTHERWISE = ("local_rank", "debug", "accelerator_config", "include_num_input_tokens_seen")
"""Arguments that the parent stores in types that it does not declare; none is offered."""


def _installed(services: str | list[str]) -> str | list[str]:
    for service in [services] if isinstance(services, str) else services:
        if service not in SERVICES:
            raise ValueError(f"expected one of {', '.join(SERVICES)}")
        if service not in (*SERVICES[:2], *get_available_reporting_integrations()):
            raise ValueError(f"expected an installed service: pip install {service}")
    return services


Services = Annotated[str | list[str], AfterValidator(_installed)]


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
        metric_for_best_model: the best checkpoint has the best bound at KL weight 1, for any KL schedule. For another
            quantity, its `Description` says whether a greater value is better.
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
    metric_for_best_model: Metric | None = BOUND
    greater_is_better: bool | None = None
    load_best_model_at_end: bool = True
    eval_strategy: Annotated[str, one_of(STRATEGY)] = "epoch"
    save_strategy: Annotated[str, one_of([each.value for each in SaveStrategy])] = "epoch"
    save_total_limit: Size | None = 2
    per_device_train_batch_size: Size = 32
    per_device_eval_batch_size: Size = 32
    logging_nan_inf_filter: bool = False
    restore_callback_states_from_checkpoint: bool = True
    ddp_find_unused_parameters: bool | None = False
    dataloader_pin_memory: bool = torch.cuda.is_available()
    report_to: Services | None = "none"
    # The collator reads columns that are not arguments of the model's forward.
    remove_unused_columns: bool = False

    output_dir: Annotated[str, MinLen(1)] | None = TrainingArguments.output_dir
    num_train_epochs: Positive = TrainingArguments.num_train_epochs
    max_steps: Literal[-1] | Size = TrainingArguments.max_steps
    learning_rate: Weight = TrainingArguments.learning_rate
    warmup_steps: Weight = TrainingArguments.warmup_steps
    weight_decay: Weight = TrainingArguments.weight_decay
    adam_beta1: Dropout = TrainingArguments.adam_beta1
    adam_beta2: Dropout = TrainingArguments.adam_beta2
    adam_epsilon: Positive = TrainingArguments.adam_epsilon
    max_grad_norm: Weight = TrainingArguments.max_grad_norm
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
    lr_scheduler_type: Annotated[str, one_of(SCHEDULES)] = TrainingArguments.lr_scheduler_type
    lr_scheduler_kwargs: dict[str, Any] | None = None
    optim: Annotated[str, one_of(OPTIMIZERS)] = TrainingArguments.optim
    optim_args: Pairs | None = None
    logging_strategy: Annotated[str, one_of(STRATEGY)] = TrainingArguments.logging_strategy
    torch_compile_backend: Annotated[str, one_of(BACKENDS)] | None = None
    torch_compile_mode: Annotated[str, one_of(MODES)] | None = None
    dataloader_multiprocessing_context: Annotated[str, one_of(get_all_start_methods())] | None = None
    ddp_backend: Annotated[str, one_of(DDP_BACKENDS)] | None = None
    seed: Seed = TrainingArguments.seed
    data_seed: Seed | None = TrainingArguments.data_seed

    def __post_init__(self) -> None:
        offered = {
            name: getattr(self, name) for name in parameters(type(self)) if name not in STORED_OTHERWISE
        }
        values, faults = check(offered, parameters(type(self)))
        if not faults:
            faults = faults_of(self._set_by_user(), vars(self) | values)
        if faults := faults or self._unfit_for_machine():
            raise Faults(faults)
        for name, value in values.items():
            setattr(self, name, value)
        self._complete()
        try:
            super().__post_init__()
        except (ValueError, ImportError) as error:
            raise UserError(" ".join(str(error).split())) from error

    def _complete(self) -> None:
        """Set what the parent would set otherwise."""
        # The batches have no column "labels": their targets have other names.
        self.label_names = []
        # Without a GPU, the parent accepts bf16 only if use_cpu is set.
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()
        if self.bf16 is None:
            self.bf16 = not self.fp16 and bf16_is_fast(self.use_cpu)
        self.metric_for_best_model = self.metric_for_best_model or BOUND
        if self.greater_is_better is None:
            self.greater_is_better = greater_is_better(self.metric_for_best_model)
        if self.accelerator_config is None:
            # Each process reads its own part of a stream, because dispatched batches would need the same width.
            # Batches of tokens_per_batch tokens cannot be evened out; each process has the same number of them anyway.
            self.accelerator_config = {
                "dispatch_batches": False,
                "even_batches": self.tokens_per_batch is None,
            }

    def _unfit_for_machine(self) -> list[str]:
        """A fault for each argument that cannot work on this machine."""
        if self.fp16 and (self.use_cpu or not torch.accelerator.is_available()):
            return ["fp16: expected a GPU with it, got a CPU: leave it out, or set bf16"]
        return []

    def _set_by_user(self) -> dict[str, Any]:
        """The values that are not the defaults, except those that the parent sets."""
        changed = {name: value for name, value in set_fields(self).items() if name not in SET_BY_PARENT}
        if not self.label_names:
            changed.pop("label_names", None)
        # In a copy of other arguments, the parent has replaced None.
        if isinstance(self.accelerator_config, AcceleratorConfig):
            changed.pop("accelerator_config", None)
        for name in ("activation_checkpointing", "gradient_checkpointing", "debug"):
            if not getattr(self, name):
                changed.pop(name, None)
        return changed


def faults_of(given: Mapping[str, Any], values: Mapping[str, Any] | None = None) -> list[str]:
    """A fault for each training argument that is not offered, would do nothing, or does not fit the others.

    Args:
        given: the arguments that are set, by name, of the right types.
        values: all arguments by name; None: those in ``given``, and the defaults.
    """
    values = values or {**defaults(TextVAETrainingArguments), **given}
    if faults := unoffered(given):
        return faults
    return [*idle(given, values), *faults_of_metrics(values), *faults_of_optimisation(given, values)]
