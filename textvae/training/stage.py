"""One stage of a run: a new model of a recipe, trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from safetensors.torch import load_model as load_weights
from transformers import TrainerState, set_seed

from textvae.inference.mode import evaluating
from textvae.models.base import VAEModel
from textvae.models.checkpoint import load_run
from textvae.models.refinement import Refinement, refined_reading
from textvae.support.errors import UserError
from textvae.text.fields import Fields
from textvae.training.clock import Clock
from textvae.training.curves import Curves
from textvae.training.prior import start_prior
from textvae.training.progress import Progress
from textvae.training.recipe import Recipe
from textvae.training.trainer import TextVAETrainer, TextVAETrainingArguments

Tokens: TypeAlias = DatasetDict | IterableDatasetDict
"""A corpus whose splits are prepared by the model's fields."""

BUFFER = 10_000
"""Rows of a stream among which the next is drawn."""


@dataclass(frozen=True)
class Start:
    """What the first stage of a run has left.

    Attributes:
        model: the trained model.
        minutes: of its training.
        kl_weight: the KL weight at the end of a target rate; None: there was no target rate.
    """

    model: VAEModel
    minutes: float
    kl_weight: float | None = None


def trained(
    recipe: Recipe,
    fields: Fields,
    tokens: Tokens,
    checkpoint: Path | None = None,
    start: Start | None = None,
    quiet: bool = False,
) -> TextVAETrainer:
    """The trainer of a new model of ``recipe``, after training.

    Args:
        recipe: of the stage.
        fields: what the model reads.
        tokens: the prepared corpus.
        checkpoint: where training goes on; None: it begins.
        start: what the stage before has left, if there was one.
        quiet: whether to show no progress bar.
    """
    arguments = arguments_of(recipe)
    # A resumed run needs this too: for the weights of a module without a checkpoint, and the draws before the first.
    set_seed(arguments.seed)
    model = build_model(recipe, fields)
    _check_refinement(model, recipe, fields, tokens["train"])
    if checkpoint is None and not recipe.model.start_from:
        model.start(tokens["train"], arguments.seed)
    if start:
        _take_over(model, start.model, recipe, fields, tokens["train"])
    trainer = TextVAETrainer(
        model,
        arguments,
        recipe.objective,
        fields,
        train_dataset=_shuffled(tokens["train"], arguments.seed),
        eval_dataset=tokens["validation"],
        callbacks=[Progress(quiet), Clock(start.minutes if start else 0.0)],
    )
    trainer.add_callback(Curves(trainer.callback_handler.callbacks))
    if start and recipe.keep_decoder and start.kl_weight is not None:
        trainer.start_multiplier(start.kl_weight)
    if checkpoint is None or not _take_result(trainer, checkpoint):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.check_weights()
    return trainer


def build_model(recipe: Recipe, fields: Fields) -> VAEModel:
    """A new model of the recipe for the sizes of its fields, started from a trained one if the recipe names one."""
    options = recipe.model
    config: Any = options.kind.config_class
    model: Any = options.kind(config(**options.options, **fields.sizes()))
    if options.start_from:
        model.start_from(_model_of(options.start_from, options.kind, fields))
    if options.encoder_from:
        model.initialize_encoder(_model_of(options.encoder_from, options.kind, fields))
    return model


def arguments_of(recipe: Recipe) -> TextVAETrainingArguments:
    """The recipe's section for the trainer, which also checks how its values go together.

    Raises:
        UserError: if they do not.
    """
    try:
        return TextVAETrainingArguments(**recipe.training | {"output_dir": str(recipe.folder)})
    except ValueError as error:
        raise UserError(f"training: {error}") from error


def clock_of(trainer: TextVAETrainer) -> Clock:
    """The clock that has run; a resumed trainer has another than the one that was added."""
    return next(found for found in trainer.callback_handler.callbacks if isinstance(found, Clock))


def _check_refinement(
    model: VAEModel, recipe: Recipe, fields: Fields, rows: Dataset | IterableDataset
) -> None:
    """Refine two posteriors if the recipe asks for it, as a model that cannot would say so only when it is measured.

    Raises:
        UserError: if the model's posteriors cannot be refined.
    """
    asked = recipe.evaluation.refinement is not None or recipe.training.get("refinement") is not None
    if asked and model.has_latent:
        with evaluating(model):
            reading = model.read(**fields.collate(list(rows.take(2))))
            refined_reading(model, reading, Refinement(steps=1), generator=torch.Generator())


def _model_of(run: str, kind: type[VAEModel], fields: Fields) -> VAEModel:
    """The model of a run, whose fields have learnt the same as those of the new model."""
    model, found = load_run(run, kind, "cpu")
    spoken = {type(field): field for field in found}
    if not all(field.agrees(spoken[type(field)]) for field in fields if type(field) in spoken):
        raise UserError(
            f"expected {run} to have the tokens of this run, got others: train both on the same corpus with "
            "the same section tokenizer"
        )
    return model


def _take_over(
    model: Any, source: VAEModel, recipe: Recipe, fields: Fields, rows: Dataset | IterableDataset
) -> None:
    """Start ``model`` from what the first stage has learnt."""
    if recipe.keep_decoder:
        model.keep_all_but_prior(source)
    else:
        model.keep_inference_network(source)
    if hasattr(getattr(model, "prior", None), "start_from"):
        arguments = arguments_of(recipe)
        start_prior(model, rows, fields, batch_size=arguments.per_device_eval_batch_size, seed=arguments.seed)


def _take_result(trainer: TextVAETrainer, checkpoint: Path) -> bool:
    """Give the trainer the result of a run that had ended by the checkpoint; False if there is more to train.

    Resumed there, `transformers` would take one more step.
    """
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    arguments, callbacks = trainer.args, state.stateful_callbacks
    asked_for_more = (
        arguments.max_steps > state.global_step
        if arguments.max_steps > 0
        else arguments.num_train_epochs > round(state.epoch or 0, 6)
    )
    stopped = callbacks["TrainerControl"]["args"]["should_training_stop"]
    if not stopped or (state.global_step >= state.max_steps and asked_for_more):
        return False
    best = arguments.load_best_model_at_end and state.best_global_step
    folder = checkpoint.with_name(f"checkpoint-{best}") if best else checkpoint
    load_weights(trainer.vae, folder / "model.safetensors")
    clock_of(trainer).before = callbacks["Clock"]["args"]["before"]
    if "RateMultiplier" in callbacks:
        trainer.start_multiplier(callbacks["RateMultiplier"]["attributes"]["value"])
    return True


def _shuffled(rows: Dataset | IterableDataset, seed: int) -> Dataset | IterableDataset:
    """A stream, shuffled as it is read; the trainer shuffles other data."""
    return rows.shuffle(seed, buffer_size=BUFFER) if isinstance(rows, IterableDataset) else rows
