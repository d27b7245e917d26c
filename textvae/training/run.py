"""Run a recipe: train and evaluate a model, and write a run folder from which the model can be used."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tqdm import tqdm

from textvae.evaluation.diagnosis import described
from textvae.evaluation.evaluate import evaluate_rows
from textvae.evaluation.quantities import Evaluation
from textvae.models.checkpoint import last_whole_checkpoint, load_model
from textvae.support.errors import UserError
from textvae.support.files import replacing, replacing_files_in
from textvae.support.held import undisturbed
from textvae.support.quiet import without_bars
from textvae.text.fields import Fields
from textvae.training.recipe import Recipe, read_recipe
from textvae.training.record import size_of_step
from textvae.training.run_folder import RunFolder
from textvae.training.stage import Start, Tokens, arguments_of, build_model, clock_of, trained
from textvae.training.trainer import history_of


def run(
    recipe: Recipe,
    *,
    fields: Fields | None = None,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> Evaluation:
    """Train, save and evaluate a model; returns the evaluation on the test split.

    The run folder then holds the model, its tokenizers, the recipe (recipe.yaml), the record that a resumed run is
    checked against (run.json), the evaluation (evaluation.json) and the last checkpoints.

    Args:
        recipe: the recipe.
        fields: the fields of the model, with trained tokenizers; None: train tokenizers on the corpus.
        resume: continue from the last complete checkpoint in the folder, to the same weights as without interruption.
        overwrite: delete a run that is in the folder, just before training begins; other files are kept.
        quiet: whether to hide progress bars.

    Raises:
        UserError: if both ``resume`` and ``overwrite`` are set; if the folder holds a run and neither is set; if the
            folder holds something else; if another process trains in the folder; or if a run is resumed with a
            different recipe or corpus. The corpus, the tokenizer, the model and the trainer raise it too.
    """
    if resume and overwrite:
        raise UserError("expected resume or overwrite, got both: leave one out")
    arguments = arguments_of(recipe)
    folder = RunFolder(recipe.folder, recipe.source, size_of_step(arguments))
    with (
        without_bars(of_datasets=quiet or not sys.stderr.isatty()),
        undisturbed(),
        # Only the first process of a training writes to the folder.
        folder.locked() if arguments.process_index == 0 else nullcontext(),
    ):
        return _run(recipe, folder, fields, resume, overwrite, quiet)


def run_once(recipe: Recipe, *, resume: bool = False, overwrite: bool = False, quiet: bool = False) -> None:
    """Run a recipe, unless its folder already holds its finished run.

    Args:
        recipe: the recipe.
        resume: continue an unfinished run from the last complete checkpoint in the folder.
        overwrite: train again even if the run is finished.
        quiet: whether to hide progress bars.

    Raises:
        UserError: if the folder holds the finished run of a different recipe; see also `run`.
    """
    if overwrite or not (recipe.folder / "evaluation.json").exists():
        run(recipe, resume=resume, overwrite=overwrite, quiet=quiet)
    elif read_recipe(recipe.folder / "recipe.yaml").source != recipe.source:
        raise UserError(
            f"expected a run of this recipe in {recipe.folder}, got a run of a different recipe: set "
            "training.output_dir, or pass --overwrite to delete it"
        )


def _run(
    recipe: Recipe, folder: RunFolder, given: Fields | None, resume: bool, overwrite: bool, quiet: bool
) -> Evaluation:
    """Run the recipe in the locked folder."""
    arguments = arguments_of(recipe)
    # The first process prepares the folder, the corpus files and the tokenizers before the others look for them.
    with arguments.main_process_first(local=False):
        first = arguments.process_index == 0
        again = resume or not first
        if first:
            folder.check(resume=resume, overwrite=overwrite)
        corpus = folder.read_corpus(recipe.corpus, resume=again)
        if first and resume:
            folder.compare(corpus)
        checkpoint = last_whole_checkpoint(recipe.folder) if again else None
        fields = _fields(recipe, given, corpus["train"], again)
        tokens = fields.prepare(corpus)
        if first and not quiet:
            for loss in fields.losses(tokens["train"]):
                tqdm.write(loss, file=sys.stderr)
        if first:
            if not resume:
                # Build the model to find its faults before anything in the folder is deleted.
                build_model(recipe, fields)
            folder.begin(corpus, resume=resume)
            if not (recipe.folder / "tokenizer.json").exists():
                fields.save_pretrained(recipe.folder)
    start = None
    if recipe.pretraining and not checkpoint:
        start = _first_stage(recipe.pretraining, fields, tokens, resume, quiet)
    trainer = trained(recipe, fields, tokens, checkpoint, start, quiet)
    result = evaluate_rows(
        trainer.vae,
        fields,
        corpus["test"],
        **measuring(recipe),
        seed=arguments.seed,
        show_progress_bar=False if quiet else None,
    )
    result.training = history_of(trainer, pretraining=recipe.pretraining is not None)
    if trainer.is_world_process_zero():
        with replacing_files_in(recipe.folder, "config.json") as partial:
            trainer.vae.save_pretrained(partial)
        minutes = {"minutes": clock_of(trainer).minutes}
        _write_json(recipe.folder / "evaluation.json", described(result) | minutes)
    return result


def measuring(recipe: Recipe) -> dict[str, Any]:
    """The arguments of `evaluate_rows` that the recipe sets."""
    options = recipe.evaluation
    names = ("batch_size", "samples", "refinement", "bf16")
    return {name: getattr(options, name) for name in names} | {"options": options.meters}


def _first_stage(recipe: Recipe, fields: Fields, tokens: Tokens, resume: bool, quiet: bool) -> Start:
    """The result of the first stage, which is trained now unless a resumed run has finished it."""
    done = recipe.folder / "pretraining.json"
    if resume and done.exists():
        # The tokenizers are in the folder of the whole run, so load only the model here.
        return Start(load_model(str(recipe.folder)), **json.loads(done.read_text()))
    checkpoint = last_whole_checkpoint(recipe.folder) if resume else None
    trainer = trained(recipe, fields, tokens, checkpoint, quiet=quiet)
    weight = None if recipe.objective.target_rate is None else float(trainer.kl_weight)
    start = Start(trainer.vae, clock_of(trainer).minutes, weight)
    if trainer.is_world_process_zero():
        with replacing_files_in(recipe.folder, "config.json") as partial:
            trainer.vae.save_pretrained(partial)
        _write_json(done, {"minutes": start.minutes, "kl_weight": start.kl_weight})
    return start


def _fields(recipe: Recipe, given: Fields | None, rows: Any, resume: bool) -> Fields:
    """The fields of the model: the given ones, those of the resumed run in the folder, or new ones."""
    folder, model = recipe.folder, recipe.model
    if given is not None:
        return given
    if resume and (folder / "tokenizer.json").exists():
        return model.kind.load_fields(str(folder), model.settings)
    return model.kind.learn_fields(model.settings, rows, recipe.tokenizer)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
