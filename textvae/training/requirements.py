"""Checks that the training options fit the model and the data."""

from __future__ import annotations

from typing import Any

import datasets

from textvae.models.base import VAEModel
from textvae.support.errors import UserError
from textvae.text.fields import Fields
from textvae.training.arguments import TextVAETrainingArguments


def check_aggressive(
    arguments: TextVAETrainingArguments, model: VAEModel, fields: Fields, train_dataset: Any
) -> None:
    """Check that aggressive training supports the precision, the data and the model.

    Raises:
        UserError: if it does not.
    """
    if arguments.world_size > 1 or arguments.fp16:
        raise UserError("expected one process in fp32 or bf16 for aggressive training, got several or fp16")
    if not isinstance(train_dataset, datasets.Dataset):
        raise UserError(
            "expected a stored corpus for aggressive training, which draws random batches, got a stream"
        )
    if not model.has_latent or any(field.is_condition for field in fields):
        raise UserError(
            "expected an unconditional model with a latent code for aggressive training, which measures its mutual "
            "information, got another: leave training.aggressive out"
        )


def check_batches(arguments: TextVAETrainingArguments, model: VAEModel) -> None:
    """Check that a model that normalises batches gets random ones.

    Raises:
        UserError: if batches are made of sentences of similar length.
    """
    if arguments.tokens_per_batch is not None and model.normalizes_batches:
        raise UserError(
            "expected no tokens_per_batch for a model that normalises batches, which must hold sentences of all "
            f"lengths, got {arguments.tokens_per_batch}: set per_device_train_batch_size instead"
        )


def check_data_sets(arguments: TextVAETrainingArguments, eval_dataset: Any) -> None:
    """Check that it is clear which bound the training goes by, if there are several evaluation data sets (a dict).

    Raises:
        UserError: if it is not clear.
    """
    if not isinstance(eval_dataset, dict):
        return
    names = ", ".join(eval_dataset)
    if arguments.decay_on_plateau is not None or arguments.aggressive is not None:
        raise UserError(
            "expected one evaluation data set with decay_on_plateau or aggressive, which go by its bound, got "
            f"{names}: give one of them"
        )
    metric = (arguments.metric_for_best_model or "").removeprefix("eval_")
    asked = metric and arguments.eval_strategy != "no"
    if asked and not any(metric.startswith(f"{name}_") for name in eval_dataset):
        raise UserError(
            f"expected metric_for_best_model to name one of the data sets {names}, got {metric!r}: set it to "
            f"{next(iter(eval_dataset))}_neg_elbo"
        )
