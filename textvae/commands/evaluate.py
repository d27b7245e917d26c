"""`textvae evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from textvae.commands.arguments import Json, Run, hide_bars, recipe_of, seed_option
from textvae.commands.printing import print_json
from textvae.support.display import visible
from textvae.support.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

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
    seed: Annotated[int, seed_option("Of all draws.")] = 0,
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
    from textvae.support.processes import is_first, join, leave

    join()
    from textvae.evaluation.diagnosis import described
    from textvae.evaluation.evaluate import evaluate_rows
    from textvae.evaluation.report import report
    from textvae.models.checkpoint import load_run
    from textvae.models.refinement import Refinement

    hide_bars(context)
    model, fields = load_run(run)
    recipe = recipe_of(run)
    rows = _rows(run, recipe, file, column, references, [name for field in fields for name in field.columns])
    result = evaluate_rows(
        model,
        fields,
        rows,
        batch_size=batch_size,
        samples=samples,
        seed=seed,
        bf16=bf16,
        refinement=Refinement(steps=refinement_steps) if refinement_steps else None,
        options=recipe.evaluation.meters if recipe else None,
        **context.obj,
    )
    if is_first():
        if as_json:
            print_json(described(result))
        else:
            print(visible(report(result)))
    leave()


def _rows(
    run: str,
    recipe: Recipe | None,
    file: str | None,
    column: str | None,
    references: str | None,
    columns: list[str],
) -> Dataset | IterableDataset:
    """What is measured, with the columns that the model reads."""
    from textvae.text.corpus import load_corpus

    pairs = {"source", "target"} <= {*columns}
    if references is not None and not pairs:
        raise UserError(f"expected a translation run for --references, got {run}, of sentences: leave it out")
    if pairs and column is not None:
        raise UserError("expected no --column for a translation run: leave it out")
    if pairs and (file is None) != (references is None):
        raise UserError(
            "expected a file of sources and --references, their translations, or neither, got one: textvae evaluate "
            "RUN FILE --references FILE"
        )
    if file is None:
        return _own_test_split(run, recipe)
    if not pairs:
        return _test_split(file, column)
    parallel = {"source": file, "target": references}
    return load_corpus(parallel, parallel, parallel)["test"]


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
