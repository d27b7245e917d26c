"""`textvae evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from textvae.commands.arguments import Column, Json, Run, hide_bars, recipe_of, seed_option
from textvae.commands.printing import print_json
from textvae.support.display import visible
from textvae.support.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

    from textvae.training.recipe import Recipe

EMBEDDED = 2_000
"""Sentences of the embedded corpus's test split, the default of `load_corpus`."""

Data = Annotated[
    str | None,
    typer.Argument(
        help="What to measure on: a file, - for standard input, a folder, a data set on the Hub, or grammar, the "
        "embedded corpus. Default: the run's own test split."
    ),
]
Samples = Annotated[int, typer.Option(min=1, help="K of the importance-weighted bound.")]
Sentences = Annotated[int, typer.Option(min=1, help="Sentences per batch.")]
RefinementSteps = Annotated[
    int,
    typer.Option(min=0, help="Gradient steps that first refine each sentence's posterior (Kim et al. 2018)."),
]
BF16 = Annotated[
    bool,
    typer.Option(
        "--bf16",
        help="Compute matrix products in bf16: faster on GPUs and CPUs with AMX, slightly less exact.",
    ),
]
References = Annotated[
    str | None,
    typer.Option(help="For a translation run: a text file with a translation of each line of FILE."),
]


def evaluate(
    context: typer.Context,
    run: Run,
    file: Data = None,
    samples: Samples = 500,
    batch_size: Sentences = 32,
    seed: Annotated[int, seed_option("Seeds all draws.")] = 0,
    refinement_steps: RefinementSteps = 0,
    bf16: BF16 = False,
    column: Column = None,
    references: References = None,
    as_json: Json = False,
) -> None:
    """Measure the likelihood, the perplexity and the use of the latent; for a translation run, BLEU, too.

    Sentences are cut, and translated, as the run's recipe says. Under torchrun, the processes share the sentences.
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
    """The rows to measure, with the columns that the model reads."""
    from textvae.text.corpus import load_corpus

    pairs = {"source", "target"} <= {*columns}
    if references is not None and not pairs:
        raise UserError(
            f"expected a translation run for --references, got {run}, which does not translate: leave it out"
        )
    if pairs and column is not None:
        raise UserError("expected no --column for a translation run: leave it out")
    if pairs and (file is None) != (references is None):
        raise UserError(
            "expected a file of sources and --references, their translations, or neither, got only one: use textvae "
            "evaluate RUN FILE --references FILE"
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
            f"expected a file to evaluate on, got none, and {run} has no recipe.yaml: use textvae evaluate RUN FILE"
        )
    return load_corpus(**recipe.corpus)["test"]


def _test_split(file: str, column: str | None) -> Dataset | IterableDataset:
    """The test split of a data set if it has one, otherwise all rows."""
    from textvae.text.corpus import load_corpus

    if file == "grammar":
        # Each split is drawn on its own, so this equals the test split of the default sizes.
        return load_corpus("grammar", sizes=(1, 1, EMBEDDED))["test"]
    columns: dict[str, str | int] | None = None
    if column is not None:
        columns = {"text": int(column) if column.isdecimal() else column}
    return load_corpus(file, file, file, columns=columns)["test"]
