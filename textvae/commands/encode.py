"""`textvae encode`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textvae.commands.arguments import (
    BatchSize,
    Column,
    Run,
    hide_bars,
    lines_of,
    load_encoder,
    output_option,
)
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
            help="Text, one sentence per line (- reads standard input); or a table: CSV, TSV, JSON lines, Parquet.",
        ),
    ],
    output: Annotated[
        Path | None,
        output_option(
            "-o",
            "--output",
            what="The file to write: .npy, or .parquet with the texts. Default: standard output.",
        ),
    ] = None,
    column: Column = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Scale the vectors to length 1.")] = False,
    deviations: Annotated[
        bool, typer.Option("--deviations", help="Write the posterior standard deviations, too.")
    ] = False,
    batch_size: BatchSize = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line, with the text.")
    ] = False,
) -> None:
    """Write the posterior means: as a float32 array (n, Z), as a table with the texts, or as lines.

    Row i belongs to line i, including blank lines; in a table, rows with blank text are left out. A printed line has
    the numbers of a vector separated by tabs; --deviations adds Z more. If a call is killed while it writes a file,
    repeat it to continue. Under torchrun, the processes share the rows of a file.
    """
    from textvae.interfaces.vectors import check_target, tables_of, write_vectors
    from textvae.support.processes import join, leave

    if output:
        check_target(output, deviations)
        if as_json:
            raise UserError("expected --json only for standard output, got a file, too: leave one out")
    join()
    hide_bars(context)
    texts = _rows_of(file, column) if _is_table(file, column) else lines_of(file)
    options: dict[str, Any] = {"batch_size": batch_size, "normalize": normalize, "deviations": deviations}
    if output:
        advise("run the same command again to continue after the finished texts")
        write_vectors(load_encoder(run), texts, output, **options, **context.obj)
    else:
        for table in tables_of(load_encoder(run), texts, **options):
            _print(table, as_json)
    leave()


def _print(table: Table, as_json: bool) -> None:
    """Print the rows of a table, in the first process."""
    from textvae.support.processes import is_first

    if not is_first():
        return
    for row in table.to_pylist():
        # Single precision has seven digits; Python's floats would print seventeen.
        row = {name: value if name == "text" else _short(value) for name, value in row.items()}
        if as_json:
            print_json(row)
        else:
            print(_tabbed(row))


def _short(vector: list[float]) -> list[float]:
    """The numbers with the fewest digits that distinguish them in single precision."""
    import numpy as np

    return [float(str(number)) for number in np.array(vector, np.float32)]


def _tabbed(row: dict[str, Any]) -> str:
    return "\t".join(str(number) for name, vector in row.items() if name != "text" for number in vector)


def _is_table(file: str, column: str | None) -> bool:
    from textvae.text.reader import is_table

    return column is not None or is_table(file)


def _rows_of(file: str, column: str | None) -> Iterable[Any]:
    """All rows of a table that have text, streamed."""
    from textvae.text.corpus import load_corpus

    columns: dict[str, str | int] | None = None
    if column is not None:
        columns = {"text": int(column) if column.isdecimal() else column}
    # With all three splits given, no rows are held out.
    return load_corpus(file, file, file, columns=columns, streaming=True)["train"]
