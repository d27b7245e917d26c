"""From a checked recipe to a run folder that holds everything needed to use the model elsewhere."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from datasets import ClassLabel, Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from transformers import PreTrainedTokenizerBase, set_seed

from textvae.errors import UserError
from textvae.evaluation.diagnosis import described
from textvae.evaluation.evaluate import Evaluation, evaluate_rows
from textvae.files import replacing, replacing_files_in
from textvae.models.checkpoint import last_whole_checkpoint, load_model, without_bars
from textvae.models.language import TextVAEConfig, TextVAEModel
from textvae.text.batches import Collator, tokenize
from textvae.text.corpus import load_corpus
from textvae.text.tokenizer import load_tokenizer, train_tokenizer
from textvae.training.clock import Clock
from textvae.training.curves import Curves
from textvae.training.prior import start_prior
from textvae.training.progress import Progress
from textvae.training.recipe import Recipe
from textvae.training.trainer import TextVAETrainer, TextVAETrainingArguments


def run(recipe: Recipe, *, resume: bool = False, overwrite: bool = False, quiet: bool = False) -> Evaluation:
    """Train, save and measure; returns the quantities on the test split, which the run holds as evaluation.json.

    The run folder ends with the model, the tokenizer, the recipe as it was run (recipe.yaml), the evaluation and
    the last checkpoints.

    Args:
        recipe: what to do.
        resume: go on from the folder's last whole checkpoint, to the weights of an uninterrupted run.
        overwrite: delete a run that is in the folder.
        quiet: no progress bars.

    Raises:
        UserError: if the folder holds a run and neither ``resume`` nor ``overwrite`` is given, or as the corpus,
            the tokenizer, the model or the trainer say.
    """
    with without_bars(of_datasets=quiet or not sys.stderr.isatty()):
        return _run(recipe, resume, overwrite, quiet)


def _run(recipe: Recipe, resume: bool, overwrite: bool, quiet: bool) -> Evaluation:
    """What `run` does, step by step."""
    folder = recipe.folder
    arguments = TextVAETrainingArguments(**recipe.training)
    # Of several processes the first makes way, the corpus's files and the tokenizer; the others then find them.
    with arguments.main_process_first(local=False):
        first = arguments.process_index == 0
        checkpoint = _prepare(folder, resume or not first, overwrite)
        corpus = load_corpus(**recipe.corpus)
        tokenizer = _tokenizer(recipe, corpus, resume or not first)
        tokens = tokenize(corpus, tokenizer, maximum_length=recipe.tokenizer.maximum_length)
    start = None
    if recipe.pretraining and not checkpoint:
        start = _pretrained(recipe.pretraining, tokenizer, tokens, resume, quiet)
    trainer = _trained(recipe, tokenizer, tokens, checkpoint, quiet, start)
    model = trainer.vae
    result = evaluate_rows(
        model,
        tokenizer,
        corpus["test"],
        maximum_length=recipe.tokenizer.maximum_length,
        batch_size=recipe.evaluation.batch_size,
        samples=recipe.evaluation.samples,
        seed=arguments.seed,
        refinement=recipe.evaluation.refinement,
        show_progress_bar=False if quiet else None,
    )
    if trainer.is_world_process_zero():
        with replacing_files_in(folder) as partial:
            model.save_pretrained(partial)
        _write_json(folder / "evaluation.json", described(result) | {"minutes": _minutes(trainer)})
    return result


@dataclass(frozen=True)
class _Start:
    """Where a run starts that has had a first stage: its model, and the minutes that it took."""

    model: TextVAEModel
    minutes: float


def _trained(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    tokens: DatasetDict | IterableDatasetDict,
    checkpoint: Path | None,
    quiet: bool,
    start: _Start | None = None,
) -> TextVAETrainer:
    """The trainer of a new model of ``recipe``, after training."""
    arguments = TextVAETrainingArguments(**recipe.training)
    # Also what a resumed run needs: the weights of a module without a checkpoint, and the draws before the first.
    set_seed(arguments.seed)
    model = build_model(recipe, tokenizer, _classes(tokens["train"]) if recipe.classes else None)
    if start:
        _take_over(model, start.model, recipe, tokenizer, tokens["train"])
    trainer = TextVAETrainer(
        model,
        arguments,
        recipe.objective,
        tokenizer,
        train_dataset=_shuffled(tokens["train"], arguments.seed),
        eval_dataset=tokens["validation"],
        callbacks=[Progress(quiet), Clock(start.minutes if start else 0.0)],
    )
    trainer.add_callback(Curves(trainer.callback_handler.callbacks))
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return trainer


def _pretrained(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    tokens: DatasetDict | IterableDatasetDict,
    resume: bool,
    quiet: bool,
) -> _Start:
    """The model of the first stage, trained now or, by the run that is resumed, before."""
    done = recipe.folder / "pretraining.json"
    if resume and done.exists():
        return _Start(load_model(str(recipe.folder)), json.loads(done.read_text())["minutes"])
    checkpoint = last_whole_checkpoint(recipe.folder) if resume else None
    trainer = _trained(recipe, tokenizer, tokens, checkpoint, quiet)
    minutes = _minutes(trainer)
    if trainer.is_world_process_zero():
        with replacing_files_in(recipe.folder) as partial:
            trainer.vae.save_pretrained(partial)
        _write_json(done, {"minutes": minutes})
    return _Start(trainer.vae, minutes)


def _take_over(
    model: TextVAEModel,
    source: TextVAEModel,
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    rows: Dataset | IterableDataset,
) -> None:
    """Start ``model`` from what the first stage has learnt."""
    if recipe.keep_decoder:
        model.keep_all_but_prior(source)
    else:
        model.keep_inference_network(source)
    if model.config.prior_components is not None:
        arguments = TextVAETrainingArguments(**recipe.training)
        start_prior(
            model,
            rows,
            Collator.for_tokenizer(tokenizer),
            batch_size=arguments.per_device_eval_batch_size,
            seed=arguments.seed,
        )


def _minutes(trainer: TextVAETrainer) -> float:
    """How long training took; a resumed trainer has another clock than the one that was added."""
    return next(found for found in trainer.callback_handler.callbacks if isinstance(found, Clock)).minutes


def _classes(rows: Dataset | IterableDataset) -> list[str]:
    """The names of the corpus's labels."""
    label = (rows.features or {}).get("label")
    if not isinstance(label, ClassLabel):
        raise UserError(
            "expected a stored corpus with labels for model.classes, found none: name their column in corpus.columns"
        )
    return label.names


def build_model(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, classes: list[str] | None = None
) -> TextVAEModel:
    """A new model of the recipe's sizes for the tokenizer's vocabulary, its encoder initialised if so asked.

    Args:
        recipe: with the sizes.
        tokenizer: with the vocabulary.
        classes: names of the classes, for a model that has them.
    """
    config = TextVAEConfig(
        **recipe.model,
        classes=classes,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        unk_token_id=tokenizer.unk_token_id,
    )
    model = TextVAEModel(config)
    if recipe.encoder_from:
        model.initialize_encoder(load_model(recipe.encoder_from))
    return model


def _prepare(folder: Path, resume: bool, overwrite: bool) -> Path | None:
    """Make way in the run folder; returns the checkpoint to go on from, if any."""
    checkpoint = last_whole_checkpoint(folder)
    if resume:
        return checkpoint
    if overwrite:
        shutil.rmtree(folder, ignore_errors=True)
    elif checkpoint or (folder / "model.safetensors").exists() or (folder / "pretraining").exists():
        raise UserError(
            f"expected a new run folder, got {folder}, which holds a run: pass --resume to go on with it, "
            "--overwrite to delete it, or set training.output_dir"
        )
    return None


def _tokenizer(
    recipe: Recipe, corpus: DatasetDict | IterableDatasetDict, resume: bool
) -> PreTrainedTokenizerBase:
    """The run's tokenizer, saved with the recipe before training starts."""
    if resume and (recipe.folder / "tokenizer.json").exists():
        return load_tokenizer(recipe.folder)
    options = recipe.tokenizer
    tokenizer = train_tokenizer(
        _texts(corpus["train"]),
        options.kind,
        vocabulary_size=options.vocabulary_size,
        algorithm=options.algorithm,
        minimum_count=options.minimum_count,
    )
    if options.maximum_length is not None:
        # Goes with the model, so that longer documents can be read in chunks of what it knows.
        tokenizer.model_max_length = options.maximum_length
    with replacing_files_in(recipe.folder) as partial:
        tokenizer.save_pretrained(partial)
        text = yaml.safe_dump(recipe.source, sort_keys=False, allow_unicode=True)
        (partial / "recipe.yaml").write_text(text, encoding="utf-8")
    return tokenizer


def _texts(rows: Dataset | IterableDataset) -> Iterator[str]:
    """The sentences of a split, one at a time; of a stream, which may have no end, the first million."""
    sentences = (row["text"] for row in rows.select_columns(["text"]))
    return islice(sentences, 1_000_000) if isinstance(rows, IterableDataset) else sentences


def _shuffled(rows: Dataset | IterableDataset, seed: int) -> Dataset | IterableDataset:
    """A stream, shuffled as it is read; other data the trainer shuffles."""
    return rows.shuffle(seed, buffer_size=10_000) if isinstance(rows, IterableDataset) else rows


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
