"""From a checked recipe to a run folder that holds everything needed to use the model elsewhere."""

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
from textvae.models.checkpoint import last_whole_checkpoint, load_model, without_bars
from textvae.support.errors import UserError
from textvae.support.files import replacing, replacing_files_in
from textvae.text.fields import Fields
from textvae.training.recipe import Recipe, read_recipe
from textvae.training.record import size_of_step
from textvae.training.run_folder import RunFolder
from textvae.training.stage import Start, Tokens, arguments_of, build_model, clock_of, trained


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
    (recipe.yaml), what else a resumed run must have in common with it (run.json), the evaluation and the last
    checkpoints.

    Args:
        recipe: what to do.
        fields: what the model reads, with tokenizers that are learnt already; None: they are learnt from the corpus.
        resume: go on from the folder's last whole checkpoint, to the weights of an uninterrupted run.
        overwrite: delete a run that is in the folder, as the last thing before training; other files stay.
        quiet: show no progress bars.

    Raises:
        UserError: if the folder holds a run and neither ``resume`` nor ``overwrite`` is given, or both are, if it holds
            something else, if another training is at work there, if a run is resumed under another recipe or with
            another corpus, or as the corpus, the tokenizer, the model or the trainer say.
    """
    if resume and overwrite:
        raise UserError("expected resume or overwrite, got both: leave one out")
    arguments = arguments_of(recipe)
    folder = RunFolder(recipe.folder, recipe.source, size_of_step(arguments))
    with (
        without_bars(of_datasets=quiet or not sys.stderr.isatty()),
        # The other processes of this training write nothing there.
        folder.locked() if arguments.process_index == 0 else nullcontext(),
    ):
        return _run(recipe, folder, fields, resume, overwrite, quiet)


def run_once(recipe: Recipe, *, resume: bool = False, overwrite: bool = False, quiet: bool = False) -> None:
    """Run a recipe, unless its folder holds the finished run of it.

    Args:
        recipe: what to do.
        resume: go on from the folder's last whole checkpoint if the run is unfinished.
        overwrite: train again, whatever is in the folder.
        quiet: show no progress bars.

    Raises:
        UserError: if the folder holds the finished run of another recipe, or as `run` says.
    """
    if overwrite or not (recipe.folder / "evaluation.json").exists():
        run(recipe, resume=resume, overwrite=overwrite, quiet=quiet)
    elif read_recipe(recipe.folder / "recipe.yaml").source != recipe.source:
        raise UserError(
            f"expected a run of this recipe in {recipe.folder}, got one of another: set training.output_dir, or pass "
            "--overwrite to delete it"
        )


def _run(
    recipe: Recipe, folder: RunFolder, given: Fields | None, resume: bool, overwrite: bool, quiet: bool
) -> Evaluation:
    """What `run` does, step by step."""
    arguments = arguments_of(recipe)
    # The first of several processes makes way, the corpus's files and the tokenizers; the others then find them.
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
                # Only for its faults, while what is in the folder is still there.
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
    result.training = trainer.history(pretraining=recipe.pretraining is not None)
    if trainer.is_world_process_zero():
        with replacing_files_in(recipe.folder, "config.json") as partial:
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
        # Its tokenizers stand in the folder of the whole run.
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
    """The model's fields: those that were given, those in the folder if the run goes on, or new ones."""
    folder, model = recipe.folder, recipe.model
    if given is not None:
        return given
    if resume and (folder / "tokenizer.json").exists():
        return model.kind.load_fields(str(folder), model.settings)
    return model.kind.learn_fields(model.settings, rows, recipe.tokenizer)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
