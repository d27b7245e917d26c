"""`textvae encode`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from textvae.commands.arguments import BatchSize, Run, hide_bars, lines_of, load

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".gz")
"""What is not read line by line."""


def encode(
    context: typer.Context,
    run: Run,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Text, one sentence a line, - for standard input; or a table: CSV, TSV, JSON lines, Parquet.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file to write, .npy or, with the texts, .parquet.")
    ],
    column: Annotated[
        str | None, typer.Option(help="Column of a table with the text: its name, or its number from 0.")
    ] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Scale the vectors to length 1.")] = False,
    deviations: Annotated[
        bool, typer.Option("--deviations", help="Write the posteriors' standard deviations too.")
    ] = False,
    batch_size: BatchSize = None,
) -> None:
    """Write the posterior means as a float32 array (n, Z), or as a table with the texts.

    Row i belongs to line i, blank lines counted; rows of a table whose text is blank are left out. A call that was
    killed goes on where it was when it is repeated. Under torchrun, processes share the rows of a file.
    """
    from textvae.processes import join, leave
    from textvae.vectors import check_target, write_vectors

    check_target(output)
    join()
    hide_bars(context)
    texts = _rows_of(file, column) if _is_table(file, column) else lines_of(file)
    write_vectors(
        load(run),
        texts,
        output,
        batch_size=batch_size,
        normalize=normalize,
        deviations=deviations,
        **context.obj,
    )
    leave()


def _is_table(file: str, column: str | None) -> bool:
    return column is not None or file.lower().endswith(TABLES)


def _rows_of(file: str, column: str | None) -> Iterable[Any]:
    """All rows of a table that have text, as they are read."""
    from textvae.text.corpus import load_corpus

    columns: dict[str, str | int] | None = None
    if column is not None:
        columns = {"text": int(column) if column.isdecimal() else column}
    # Given thrice, nothing of it is held out.
    return load_corpus(file, file, file, columns=columns, streaming=True)["train"]
