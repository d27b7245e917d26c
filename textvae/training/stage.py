"""One stage of a run: build the model of a recipe and train it."""

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
from textvae.training.arguments import TextVAETrainingArguments
from textvae.training.clock import Clock
from textvae.training.curves import Curves
from textvae.training.prior import start_prior
from textvae.training.progress import Progress
from textvae.training.recipe import Recipe
from textvae.training.trainer import TextVAETrainer

Tokens: TypeAlias = DatasetDict | IterableDatasetDict
"""A corpus whose splits the model's fields have prepared."""

BUFFER = 10_000
"""Number of rows in the buffer that shuffles a stream."""


@dataclass(frozen=True)
class Start:
    """The result of the first stage of a run.

    Attributes:
        model: the trained model.
        minutes: minutes of its training.
        kl_weight: the final KL weight if the stage had a target rate, otherwise None.
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
    """Build the model of a recipe and train it; returns the trainer.

    Args:
        recipe: the recipe of the stage.
        fields: the fields of the model.
        tokens: the prepared corpus.
        checkpoint: the checkpoint to resume from; None: start from the beginning.
        start: the result of the previous stage, if there is one.
        quiet: whether to hide the progress bar.
    """
    arguments = arguments_of(recipe)
    # Seed a resumed run too: if it has no checkpoint yet, it begins with the same weights and random numbers as before.
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
    """A new model of the recipe, initialised with the weights of a trained run if the recipe names one."""
    options = recipe.model
    config: Any = options.kind.config_class
    model: Any = options.kind(config(**options.options, **fields.sizes()))
    if options.start_from:
        model.start_from(_model_of(options.start_from, options.kind, fields))
    if options.encoder_from:
        model.initialize_encoder(_model_of(options.encoder_from, options.kind, fields))
    return model


def arguments_of(recipe: Recipe) -> TextVAETrainingArguments:
    """The training arguments of the recipe; building them also checks that the values fit together.

    Raises:
        UserError: if the values do not fit together.
    """
    try:
        return TextVAETrainingArguments(**recipe.training | {"output_dir": str(recipe.folder)})
    except ValueError as error:
        raise UserError(f"training: {error}") from error


def clock_of(trainer: TextVAETrainer) -> Clock:
    """The clock of the trainer. Resuming replaces the callback that was added, so look it up here."""
    return next(found for found in trainer.callback_handler.callbacks if isinstance(found, Clock))


def _check_refinement(
    model: VAEModel, recipe: Recipe, fields: Fields, rows: Dataset | IterableDataset
) -> None:
    """If the recipe asks for refinement, try it on two sentences, so that an unsupported model fails before training.

    Raises:
        UserError: if the model's posteriors cannot be refined.
    """
    asked = recipe.evaluation.refinement is not None or recipe.training.get("refinement") is not None
    if asked and model.has_latent:
        with evaluating(model):
            reading = model.read(**fields.collate(list(rows.take(2))))
            refined_reading(model, reading, Refinement(steps=1), generator=torch.Generator())


def _model_of(run: str, kind: type[VAEModel], fields: Fields) -> VAEModel:
    """The model of a trained run, after a check that its fields agree with those of the new model."""
    model, found = load_run(run, kind, "cpu")
    spoken = {type(field): field for field in found}
    if not all(field.agrees(spoken[type(field)]) for field in fields if type(field) in spoken):
        raise UserError(
            f"expected {run} to have the same tokens as this run, got different ones: train both on the same corpus "
            "with the same tokenizer section"
        )
    return model


def _take_over(
    model: Any, source: VAEModel, recipe: Recipe, fields: Fields, rows: Dataset | IterableDataset
) -> None:
    """Initialise ``model`` with the weights of the first stage, and its mixture prior with clusters if it has one."""
    if recipe.keep_decoder:
        model.keep_all_but_prior(source)
    else:
        model.keep_inference_network(source)
    if hasattr(getattr(model, "prior", None), "start_from"):
        arguments = arguments_of(recipe)
        start_prior(model, rows, fields, batch_size=arguments.per_device_eval_batch_size, seed=arguments.seed)


def _take_result(trainer: TextVAETrainer, checkpoint: Path) -> bool:
    """Load the result of a run that had finished at the checkpoint; False if the run has steps left.

    This is needed because `transformers` would train one more step if it resumed a finished run.
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
    """The rows; a stream is shuffled as it is read, while the trainer shuffles other data."""
    return rows.shuffle(seed, buffer_size=BUFFER) if isinstance(rows, IterableDataset) else rows
