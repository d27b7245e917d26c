"""The training arguments of a text VAE."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, MinLen
from transformers import (
    TrainingArguments,
)
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from textvae.models.refinement import Refinement
from textvae.support.options import ArgumentsOf, Count, Dropout, Positive, Size, Weight, check_arguments
from textvae.support.precision import bf16_is_fast
from textvae.support.seeds import Seed
from textvae.training.aggressive import AggressiveEncoder
from textvae.training.plateau import DecayOnPlateau


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
    eval_accumulation_steps: Size | None = TrainingArguments.eval_accumulation_steps
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
        # The collator reads columns that are not arguments of the model's forward.
        self.remove_unused_columns = False
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
