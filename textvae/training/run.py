"""From a checked recipe to a run folder that holds everything needed to use the model elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from safetensors.torch import load_model as load_weights
from transformers import PreTrainedTokenizerBase, TrainerState, set_seed

from textvae.errors import UserError
from textvae.evaluation.diagnosis import described
from textvae.evaluation.evaluate import Evaluation, evaluate_rows
from textvae.files import replacing, replacing_files_in
from textvae.models.checkpoint import last_whole_checkpoint, without_bars
from textvae.models.language import TextVAEConfig, TextVAEModel
from textvae.models.seq2seq import Seq2SeqVAEConfig, Seq2SeqVAEModel
from textvae.text.batches import Collator, tokenize
from textvae.text.tokenizer import load_tokenizer, train_tokenizer, train_tokenizers
from textvae.texts import load
from textvae.training.clock import Clock
from textvae.training.curves import Curves
from textvae.training.prior import start_prior
from textvae.training.progress import Progress
from textvae.training.recipe import Recipe
from textvae.training.record import size_of_step
from textvae.training.run_folder import RunFolder
from textvae.training.trainer import TextVAETrainer, TextVAETrainingArguments
from textvae.translation import SOURCE, Translator

MODELS: dict[Any, Any] = {TextVAEConfig: TextVAEModel, Seq2SeqVAEConfig: Seq2SeqVAEModel}
"""The model of each kind of configuration."""


def run(recipe: Recipe, *, resume: bool = False, overwrite: bool = False, quiet: bool = False) -> Evaluation:
    """Train, save and measure; returns the quantities on the test split, which the run holds as evaluation.json.

    The run folder ends with the model, the tokenizer, the recipe as it was run (recipe.yaml), what else a resumed run
    must have in common with it (run.json), the evaluation and the last checkpoints; of a conditional model, whose
    evaluation has BLEU, with the sources' tokenizer in source/.

    Args:
        recipe: what to do.
        resume: go on from the folder's last whole checkpoint, to the weights of an uninterrupted run.
        overwrite: delete a run that is in the folder, as the last thing before training; other files stay.
        quiet: no progress bars.

    Raises:
        UserError: if the folder holds a run and neither ``resume`` nor ``overwrite`` is given, or both are, if it holds
            something else, if another training is at work there, if a run is resumed under another recipe or with
            another corpus, or as the corpus, the tokenizer, the model or the trainer say.
    """
    if resume and overwrite:
        raise UserError("expected resume or overwrite, got both: leave one out")
    arguments = _arguments(recipe)
    folder = RunFolder(recipe.folder, recipe.source, size_of_step(arguments))
    with (
        without_bars(of_datasets=quiet or not sys.stderr.isatty()),
        # The other processes of this training write nothing there.
        folder.locked() if arguments.process_index == 0 else nullcontext(),
    ):
        return _run(recipe, folder, resume, overwrite, quiet)


def _run(recipe: Recipe, run_folder: RunFolder, resume: bool, overwrite: bool, quiet: bool) -> Evaluation:
    """What `run` does, step by step."""
    folder = run_folder.path
    arguments = _arguments(recipe)
    # Of several processes the first makes way, the corpus's files and the tokenizer; the others then find them.
    with arguments.main_process_first(local=False):
        first = arguments.process_index == 0
        goes_on = resume or not first
        if first:
            run_folder.check(resume=resume, overwrite=overwrite)
        corpus = run_folder.read_corpus(recipe.corpus, resume=goes_on)
        _check_columns(corpus["train"], {"source", "target"} if recipe.conditional else {"text"})
        if first and resume:
            run_folder.compare(corpus)
        checkpoint = last_whole_checkpoint(folder) if goes_on else None
        tokenizer, source_tokenizer = _tokenizers(recipe, corpus["train"], goes_on)
        tokens = tokenize(
            corpus,
            tokenizer,
            source_tokenizer=source_tokenizer,
            maximum_length=recipe.tokenizer.maximum_length,
        )
        if first:
            if not resume:
                # Only for its faults, while what is in the folder is still there.
                _new_model(recipe, tokenizer, tokens, source_tokenizer)
            run_folder.begin(corpus, resume=resume)
            _save_tokenizers(folder, tokenizer, source_tokenizer)
    start = None
    if recipe.pretraining and not checkpoint:
        start = _pretrained(recipe.pretraining, tokenizer, tokens, resume, quiet)
    trainer = _trained(recipe, tokenizer, tokens, checkpoint, quiet, start, source_tokenizer)
    model: Any = trainer.vae
    how: dict[str, Any] = {
        "maximum_length": recipe.tokenizer.maximum_length,
        "batch_size": recipe.evaluation.batch_size,
        "samples": recipe.evaluation.samples,
        "seed": arguments.seed,
        "bf16": recipe.evaluation.bf16,
        "show_progress_bar": False if quiet else None,
    }
    if source_tokenizer is None:
        how["refinement"] = recipe.evaluation.refinement
        result = evaluate_rows(model, tokenizer, corpus["test"], **how)
    else:
        translator = Translator(model, tokenizer, source_tokenizer)
        result = translator.evaluate(corpus["test"], **how, **asdict(recipe.evaluation.translation))
    if trainer.is_world_process_zero():
        with replacing_files_in(folder, "config.json") as partial:
            model.save_pretrained(partial)
        _write_json(folder / "evaluation.json", described(result) | {"minutes": _clock(trainer).minutes})
    return result


@dataclass(frozen=True)
class _Start:
    """What the first stage of a run has left: its model, minutes and, of a target rate, the KL weight at its end."""

    model: Any
    minutes: float
    kl_weight: float | None = None


def _trained(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    tokens: DatasetDict | IterableDatasetDict,
    checkpoint: Path | None,
    quiet: bool,
    start: _Start | None = None,
    source_tokenizer: PreTrainedTokenizerBase | None = None,
) -> TextVAETrainer:
    """The trainer of a new model of ``recipe``, after training."""
    arguments = _arguments(recipe)
    # Also what a resumed run needs: the weights of a module without a checkpoint, and the draws before the first.
    set_seed(arguments.seed)
    model = _new_model(recipe, tokenizer, tokens, source_tokenizer)
    if start:
        _take_over(model, start.model, recipe, tokenizer, tokens["train"])
    trainer = TextVAETrainer(
        model,
        arguments,
        recipe.objective,
        tokenizer,
        source_tokenizer=source_tokenizer,
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


def _new_model(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    tokens: DatasetDict | IterableDatasetDict,
    source_tokenizer: PreTrainedTokenizerBase | None,
) -> TextVAEModel | Seq2SeqVAEModel:
    """The model of a recipe, with the classes of its corpus if it has any."""
    classes = _classes(tokens["train"]) if recipe.classes else None
    return build_model(recipe, tokenizer, classes, source_tokenizer)


def _take_result(trainer: TextVAETrainer, checkpoint: Path) -> bool:
    """Give the trainer what a run had come to that had ended by the checkpoint; False if there is more to train.

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
    _clock(trainer).before = callbacks["Clock"]["args"]["before"]
    if "RateMultiplier" in callbacks:
        trainer.start_multiplier(callbacks["RateMultiplier"]["attributes"]["value"])
    return True


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
        model, _ = load(recipe.folder, TextVAEModel, "cpu", "set training.output_dir")
        return _Start(model, **json.loads(done.read_text()))
    checkpoint = last_whole_checkpoint(recipe.folder) if resume else None
    trainer = _trained(recipe, tokenizer, tokens, checkpoint, quiet)
    weight = None if recipe.objective.target_rate is None else float(trainer.kl_weight)
    start = _Start(trainer.vae, _clock(trainer).minutes, weight)
    if trainer.is_world_process_zero():
        with replacing_files_in(recipe.folder, "config.json") as partial:
            trainer.vae.save_pretrained(partial)
        _write_json(done, {"minutes": start.minutes, "kl_weight": start.kl_weight})
    return start


def _take_over(
    model: Any,
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
        arguments = _arguments(recipe)
        start_prior(
            model,
            rows,
            Collator.for_tokenizer(tokenizer),
            batch_size=arguments.per_device_eval_batch_size,
            seed=arguments.seed,
        )


def _arguments(recipe: Recipe) -> TextVAETrainingArguments:
    """The recipe's section for the trainer, which must also like how its values go together."""
    try:
        return TextVAETrainingArguments(**recipe.training)
    except ValueError as error:
        raise UserError(f"training: {error}") from error


def _clock(trainer: TextVAETrainer) -> Clock:
    """The clock that has run; a resumed trainer has another than the one that was added."""
    return next(found for found in trainer.callback_handler.callbacks if isinstance(found, Clock))


def _classes(rows: Dataset | IterableDataset) -> list[str]:
    """The names of the corpus's labels."""
    label = (rows.features or {}).get("label")
    if not isinstance(label, ClassLabel):
        raise UserError(
            "expected a stored corpus with labels for model.classes, found none: name their column in corpus.columns"
        )
    return label.names


def build_model(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    classes: list[str] | None = None,
    source_tokenizer: PreTrainedTokenizerBase | None = None,
) -> TextVAEModel | Seq2SeqVAEModel:
    """A new model of the recipe's sizes for the tokenizer's vocabulary, started from a trained one if so asked.

    Args:
        recipe: with the sizes.
        tokenizer: with the vocabulary.
        classes: names of the classes, for a model that has them.
        source_tokenizer: with the vocabulary of the sources, for a conditional model.
    """
    own: dict[str, Any] = {"classes": classes}
    if source_tokenizer is not None:
        own = {"source_vocab_size": len(source_tokenizer)}
    config = recipe.config(
        **recipe.model,
        **own,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        unk_token_id=tokenizer.unk_token_id,
    )
    model = MODELS[recipe.config](config)
    if recipe.start_from:
        model.start_from(
            _sentence_model(recipe.start_from, tokenizer)
            if source_tokenizer is None
            else _pair_model(recipe.start_from, tokenizer, source_tokenizer)
        )
    if recipe.encoder_from:
        model.initialize_encoder(_sentence_model(recipe.encoder_from, tokenizer))
    return model


def _sentence_model(run: str, tokenizer: PreTrainedTokenizerBase) -> TextVAEModel:
    """The model of a run of sentences, whose tokens are those of ``tokenizer``."""
    model, _ = load(run, TextVAEModel, "cpu", "give a run of recipes/language_model")
    _check_same_tokens(run, load_tokenizer(run), tokenizer)
    return model


def _pair_model(
    run: str, tokenizer: PreTrainedTokenizerBase, source_tokenizer: PreTrainedTokenizerBase
) -> Seq2SeqVAEModel:
    """The model of a run of pairs, whose tokens are those of the tokenizers."""
    translator = Translator.from_pretrained(run, "cpu")
    _check_same_tokens(run, translator.tokenizer, tokenizer)
    _check_same_tokens(run, translator.source_tokenizer, source_tokenizer)
    return translator.model


def _check_same_tokens(run: str, given: PreTrainedTokenizerBase, wanted: PreTrainedTokenizerBase) -> None:
    if given.get_vocab() != wanted.get_vocab():
        raise UserError(
            f"expected {run} to have the tokens of this run, got others: train both on the same corpus with "
            "the same section tokenizer"
        )


def _check_columns(rows: Dataset | IterableDataset, wanted: set[str]) -> None:
    """Refuse a corpus of pairs for a language model, and one of sentences for a conditional model."""
    found = rows.column_names or []
    if not wanted <= set(found):
        raise UserError(
            f"expected a corpus with {' and '.join(sorted(wanted))}, got one with {', '.join(found)}: name the columns "
            "in corpus.columns, or give pairs as {source: a.en, target: a.de}"
        )


def _tokenizers(
    recipe: Recipe, rows: Dataset | IterableDataset, resume: bool
) -> tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase | None]:
    """The run's tokenizer and, of pairs, that of the sources: those in the folder if the run goes on, or new ones."""
    folder = recipe.folder
    if resume and (folder / "tokenizer.json").exists():
        return load_tokenizer(folder), load_tokenizer(folder / SOURCE) if recipe.conditional else None
    options = recipe.tokenizer
    how: dict[str, Any] = {
        "kind": options.kind,
        "vocabulary_size": options.vocabulary_size,
        "algorithm": options.algorithm,
        "minimum_count": options.minimum_count,
        "character_coverage": options.character_coverage,
        "lower": options.lower,
    }
    source = None
    if recipe.conditional:
        sides = (_texts(rows, column) for column in ("source", "target"))
        source, tokenizer = train_tokenizers(*sides, joint=options.joint, **how)
    else:
        tokenizer = train_tokenizer(_texts(rows, "text"), **how)
    if options.maximum_length is not None:
        # Goes with the model, so that longer documents can be read in chunks of what it knows.
        for splitter in (tokenizer, source or tokenizer):
            splitter.model_max_length = options.maximum_length
    return tokenizer, source


def _save_tokenizers(
    folder: Path, tokenizer: PreTrainedTokenizerBase, source: PreTrainedTokenizerBase | None
) -> None:
    """Write the tokenizers that are not in the folder yet."""
    if (folder / "tokenizer.json").exists():
        return
    if source is not None:
        with replacing_files_in(folder / SOURCE, "tokenizer.json") as partial:
            source.save_pretrained(partial)
    # Last, as its tokenizer.json tells a run that is resumed that both are there.
    with replacing_files_in(folder, "tokenizer.json") as partial:
        tokenizer.save_pretrained(partial)


def _texts(rows: Dataset | IterableDataset, column: str) -> Iterator[str]:
    """The sentences of a split, one at a time; of a stream, which may have no end, the first million."""
    sentences = (row[column] for row in rows.select_columns([column]))
    return islice(sentences, 1_000_000) if isinstance(rows, IterableDataset) else sentences


def _shuffled(rows: Dataset | IterableDataset, seed: int) -> Dataset | IterableDataset:
    """A stream, shuffled as it is read; other data the trainer shuffles."""
    return rows.shuffle(seed, buffer_size=10_000) if isinstance(rows, IterableDataset) else rows


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
