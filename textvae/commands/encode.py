"""`textvae encode`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textvae.commands.arguments import BatchSize, Run, hide_bars, lines_of, load_encoder, output_option
from textvae.commands.printing import print_json
from textvae.support.errors import UserError
from textvae.support.program import advise

if TYPE_CHECKING:
    from pyarrow import Table


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
        Path | None,
        output_option(
            "-o",
            "--output",
            what="The file to write, .npy or, with the texts, .parquet; left out: standard output.",
        ),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Column of a table with the text: its name, or its number from 0.")
    ] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Scale the vectors to length 1.")] = False,
    deviations: Annotated[
        bool, typer.Option("--deviations", help="Write the posteriors' standard deviations too.")
    ] = False,
    batch_size: BatchSize = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="To standard output: a JSON object a line, with the text.")
    ] = False,
) -> None:
    """Write the posterior means: as a float32 array (n, Z), as a table with the texts, or as lines to a pipe.

    Row i belongs to line i, blank lines counted; rows of a table whose text is blank are left out. Lines have the
    numbers of a vector between tabs, with --deviations Z more. A call that was killed while it wrote a file goes on
    where it was when it is repeated. Under torchrun, processes share the rows of a file.
    """
    from textvae.interfaces.vectors import check_target, tables_of, write_vectors
    from textvae.support.processes import join, leave

    if output:
        check_target(output, deviations)
        if as_json:
            raise UserError(
                "expected --json for standard output alone, got a file too: leave out one of them"
            )
    join()
    hide_bars(context)
    texts = _rows_of(file, column) if _is_table(file, column) else lines_of(file)
    options: dict[str, Any] = {"batch_size": batch_size, "normalize": normalize, "deviations": deviations}
    if output:
        advise("run the same command again, which goes on behind the texts that are done")
        write_vectors(load_encoder(run), texts, output, **options, **context.obj)
    else:
        for table in tables_of(load_encoder(run), texts, **options):
            _print(table, as_json)
    leave()


def _print(table: Table, as_json: bool) -> None:
    """Print the rows of a part, on the first process."""
    from textvae.support.processes import is_first

    if not is_first():
        return
    for row in table.to_pylist():
        # Single precision has seven digits; Python's floats would show seventeen.
        row = {name: value if name == "text" else _short(value) for name, value in row.items()}
        if as_json:
            print_json(row)
        else:
            print(_tabbed(row))


def _short(vector: list[float]) -> list[float]:
    """Numbers of single precision with no more digits than tell them apart."""
    import numpy as np

    return [float(str(number)) for number in np.array(vector, np.float32)]


def _tabbed(row: dict[str, Any]) -> str:
    return "\t".join(str(number) for name, vector in row.items() if name != "text" for number in vector)


def _is_table(file: str, column: str | None) -> bool:
    from textvae.text.reader import is_table

    return column is not None or is_table(file)


def _rows_of(file: str, column: str | None) -> Iterable[Any]:
    """All rows of a table that have text, as they are read."""
    from textvae.text.corpus import load_corpus

    columns: dict[str, str | int] | None = None
    if column is not None:
        columns = {"text": int(column) if column.isdecimal() else column}
    # Given thrice, nothing of it is held out.
    return load_corpus(file, file, file, columns=columns, streaming=True)["train"]
