"""From a checked recipe to a run folder that holds everything needed to use the model elsewhere."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from textvae.errors import UserError
from textvae.evaluation.diagnosis import described
from textvae.evaluation.evaluate import evaluate_rows
from textvae.evaluation.quantities import Evaluation
from textvae.files import replacing, replacing_files_in
from textvae.models.checkpoint import last_whole_checkpoint, load_run, without_bars
from textvae.support.yaml import to_yaml
from textvae.text.corpus import load_corpus
from textvae.text.fields import Fields
from textvae.training.recipe import Recipe
from textvae.training.stage import Start, Tokens, arguments_of, clock_of, trained


def run(
    recipe: Recipe,
    *,
    fields: Fields | None = None,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> Evaluation:
    """Train, save and measure; returns the quantities on the test split, which the run holds as evaluation.json.

    The run folder ends with the model, what its fields have learnt (tokenizers), the recipe as it was run
    (recipe.yaml), the evaluation and the last checkpoints.

    Args:
        recipe: what to do.
        fields: what the model reads, with tokenizers that are learnt already; None: they are learnt from the corpus.
        resume: go on from the folder's last whole checkpoint, to the weights of an uninterrupted run.
        overwrite: delete a run that is in the folder.
        quiet: show no progress bars.

    Raises:
        UserError: if the folder holds a run and neither ``resume`` nor ``overwrite`` is given, or as the corpus,
            the tokenizer, the model or the trainer say.
    """
    with without_bars(of_datasets=quiet or not sys.stderr.isatty()):
        return _run(recipe, fields, resume, overwrite, quiet)


def _run(recipe: Recipe, given: Fields | None, resume: bool, overwrite: bool, quiet: bool) -> Evaluation:
    """What `run` does, step by step."""
    arguments = arguments_of(recipe)
    # The first of several processes makes way, the corpus's files and the tokenizers; the others then find them.
    with arguments.main_process_first(local=False):
        again = resume or arguments.process_index > 0
        checkpoint = _prepare(recipe.folder, again, overwrite)
        corpus = load_corpus(**recipe.corpus)
        fields = _fields(recipe, given, corpus["train"], again)
        tokens = fields.prepare(corpus)
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
    if trainer.is_world_process_zero():
        with replacing_files_in(recipe.folder) as partial:
            trainer.vae.save_pretrained(partial)
        minutes = {"minutes": clock_of(trainer).minutes}
        _write_json(recipe.folder / "evaluation.json", described(result) | minutes)
    return result


def measuring(recipe: Recipe) -> dict[str, Any]:
    """The arguments of `evaluate_rows` that a recipe sets."""
    options = recipe.evaluation
    names = ("batch_size", "samples", "refinement", "bf16")
    return {name: getattr(options, name) for name in names} | {"options": options.meters}


def _first_stage(recipe: Recipe, fields: Fields, tokens: Tokens, resume: bool, quiet: bool) -> Start:
    """The result of the first stage, trained now or, if the run is resumed, before."""
    done = recipe.folder / "pretraining.json"
    if resume and done.exists():
        model, _ = load_run(recipe.folder, recipe.model.kind, "cpu")
        return Start(model, **json.loads(done.read_text()))
    checkpoint = last_whole_checkpoint(recipe.folder) if resume else None
    trainer = trained(recipe, fields, tokens, checkpoint, quiet=quiet)
    weight = None if recipe.objective.target_rate is None else float(trainer.kl_weight)
    start = Start(trainer.vae, clock_of(trainer).minutes, weight)
    if trainer.is_world_process_zero():
        with replacing_files_in(recipe.folder) as partial:
            trainer.vae.save_pretrained(partial)
        fields.save_pretrained(recipe.folder)
        _write_json(done, {"minutes": start.minutes, "kl_weight": start.kl_weight})
    return start


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


def _fields(recipe: Recipe, given: Fields | None, rows: Any, resume: bool) -> Fields:
    """The model's fields, learnt and saved with the recipe before training starts, or those of a resumed run."""
    folder, model = recipe.folder, recipe.model
    if resume and (folder / "recipe.yaml").exists():
        return model.kind.load_fields(str(folder), model.settings)
    fields = given or model.kind.learn_fields(model.settings, rows, recipe.tokenizer)
    fields.save_pretrained(folder)
    # Last, as recipe.yaml tells a run that is resumed that the files of the fields are there.
    with replacing(folder / "recipe.yaml") as partial:
        partial.write_text(to_yaml(recipe.source), encoding="utf-8")
    return fields


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
