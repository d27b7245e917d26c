"""`textvae evaluate`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textvae.commands.arguments import Json, Run, hide_bars, is_conditional, load, recipe_of
from textvae.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

    from textvae.evaluation.evaluate import Evaluation
    from textvae.training.recipe import Recipe

EMBEDDED = 2_000
"""Sentences of the embedded corpus's test split, as many as `load_corpus` makes."""


def evaluate(
    context: typer.Context,
    run: Run,
    file: Annotated[
        str | None,
        typer.Argument(
            help="What to measure on: a file, - for standard input, a folder, a data set on the Hub, or grammar, the "
            "embedded corpus. "
            "Left out: the run's own test split."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="K of the importance-weighted bound.")] = 500,
    batch_size: Annotated[int, typer.Option(min=1, help="Sentences at once.")] = 32,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    refinement_steps: Annotated[
        int,
        typer.Option(
            min=0, help="Gradient steps that improve each sentence's posterior first (Kim et al. 2018)."
        ),
    ] = 0,
    bf16: Annotated[
        bool,
        typer.Option(
            "--bf16",
            help="Products of matrices in bf16: faster on GPUs, and CPUs with AMX; a little less exact.",
        ),
    ] = False,
    column: Annotated[
        str | None, typer.Option(help="Column of FILE with the text: its name, or its number from 0.")
    ] = None,
    references: Annotated[
        str | None,
        typer.Option(
            help="Of a translation run: a translation of each line of FILE, a text file of sources."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure likelihood, perplexity and how far the latent is used; of a translation run, BLEU too.

    Sentences are cut, and translated, as the run's recipe says. Under torchrun, processes share the sentences.
    """
    from textvae.processes import is_first, join, leave

    join()
    from textvae.evaluation.diagnosis import described
    from textvae.evaluation.report import report

    hide_bars(context)
    how: dict[str, Any] = {"batch_size": batch_size, "samples": samples, "seed": seed, "bf16": bf16}
    if is_conditional(run):
        refused = {"--column": column is not None, "--refinement-steps": refinement_steps > 0}
        if given := [name for name, is_given in refused.items() if is_given]:
            raise UserError(f"expected no {' and '.join(given)} for a translation run: leave it out")
        result = _of_pairs(run, file, references, **how, **context.obj)
    elif references is not None:
        raise UserError(f"expected a translation run for --references, got {run}, of sentences: leave it out")
    else:
        result = _of_sentences(run, file, column, refinement_steps, **how, **context.obj)
    if is_first():
        print(json.dumps(described(result)) if as_json else report(result))
    leave()


def _of_sentences(
    run: str, file: str | None, column: str | None, refinement_steps: int, **how: Any
) -> Evaluation:
    vae = load(run)
    from textvae.evaluation.evaluate import evaluate_rows
    from textvae.models.refinement import Refinement

    recipe = recipe_of(run)
    return evaluate_rows(
        vae.model,
        vae.tokenizer,
        _own_test_split(run, recipe) if file is None else _test_split(file, column),
        maximum_length=recipe.tokenizer.maximum_length if recipe else None,
        refinement=Refinement(steps=refinement_steps) if refinement_steps else None,
        **how,
    )


def _of_pairs(run: str, file: str | None, references: str | None, **how: Any) -> Evaluation:
    from textvae.text.corpus import load_corpus
    from textvae.translation import Translator

    if (file is None) != (references is None):
        raise UserError(
            "expected a file of sources and --references, their translations, or neither, got one: textvae evaluate "
            "RUN FILE --references FILE"
        )
    translator = Translator.from_pretrained(run)
    recipe = recipe_of(run, conditional=True)
    pairs = {"source": file, "target": references}
    rows = _own_test_split(run, recipe) if file is None else load_corpus(pairs, pairs, pairs)["test"]
    if recipe:
        how |= asdict(recipe.evaluation.translation)
        how["maximum_length"] = recipe.tokenizer.maximum_length
    return translator.evaluate(rows, **how)


def _own_test_split(run: str, recipe: Recipe | None) -> Dataset | IterableDataset:
    from textvae.text.corpus import load_corpus

    if recipe is None:
        raise UserError(
            f"expected a file to evaluate on, as {run} has no recipe.yaml that names one: textvae evaluate RUN FILE"
        )
    return load_corpus(**recipe.corpus)["test"]


def _test_split(file: str, column: str | None) -> Dataset | IterableDataset:
    """The test split of a data set that has one, otherwise all of its rows."""
    from textvae.text.corpus import load_corpus

    if file == "grammar":
        # Each split is drawn by itself, so that this is the test split of the default sizes.
        return load_corpus("grammar", sizes=(1, 1, EMBEDDED))["test"]
    columns: dict[str, str | int] | None = None
    if column is not None:
        columns = {"text": int(column) if column.isdecimal() else column}
    return load_corpus(file, file, file, columns=columns)["test"]
