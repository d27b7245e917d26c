"""Corpora with labels, for `textvae map` and `textvae cluster`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from textvae.commands.arguments import lines_of
from textvae.commands.evaluate import EMBEDDED
from textvae.support.errors import UserError
from textvae.text.lines import is_readable

if TYPE_CHECKING:
    from datasets import Dataset

Corpus = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="Text, one sentence per line (- reads standard input); a table, such as CSV; a data set on the Hub; or "
        "grammar, the embedded corpus.",
    ),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        help="Column of FILE that holds the class: its name, or its number from 0. Default, without --column: label, "
        "if there is one."
    ),
]
Labels = Annotated[
    str | None, typer.Option(help="If FILE is text: a file with the class of each line of FILE.")
]


def rows_of(file: str, column: str | None, label_column: str | None, labels: str | None) -> Dataset:
    """The test split of a data set if it has one, otherwise all rows; with a `ClassLabel` if there are labels."""
    from datasets import Dataset

    from textvae.text.corpus import load_corpus

    given = {"text": column, "label": label_column}
    columns = {
        ours: int(name) if name.isdecimal() else name for ours, name in given.items() if name is not None
    }
    if labels is not None and columns:
        raise UserError("expected --labels for text or the columns of a table, got both: leave one out")
    if file == "grammar":
        if labels is not None:
            raise UserError(
                "expected a text file for --labels, got grammar: use --label-column instead, such as topic"
            )
        return load_corpus("grammar", sizes=(1, 1, EMBEDDED), columns=columns or None)["test"]
    source: str | Dataset = file
    if labels is not None:
        texts, kinds = labelled_lines(file, labels)
        source = Dataset.from_dict({"text": texts, "label": kinds})
    elif file == "-":
        source = Dataset.from_dict({"text": list(lines_of(file))})
    # With all three splits given, no rows are held out.
    return load_corpus(source, source, source, columns=columns or None)["test"]


def texts_of(
    file: str, column: str | None, label_column: str | None, labels: str | None
) -> tuple[list[str], list[str | None] | None]:
    """The texts, with every line of a text file, and their labels; None instead of the labels if none is known."""
    from textvae.text.reader import is_table

    is_text = file == "-" or (is_readable(file) and not is_table(file))
    if is_text and column is None and label_column is None:
        texts, kinds = (list(lines_of(file)), []) if labels is None else labelled_lines(file, labels)
    else:
        rows = rows_of(file, column, label_column, labels)
        texts, kinds = rows["text"][:], []
        if "label" in rows.column_names:
            names = dict(enumerate(rows.features["label"].names))
            kinds = [names.get(number) for number in rows["label"][:]]
    return texts, kinds if any(kind is not None for kind in kinds) else None


def labelled_lines(file: str, labels: str) -> tuple[list[str], list[str | None]]:
    """The lines of a text, and the label of each; a blank line means no label."""
    texts, kinds = list(lines_of(file)), [line or None for line in lines_of(labels)]
    if len(texts) != len(kinds):
        counts = f"{len(kinds)} for {len(texts)} lines"
        raise UserError(f"expected a label for each line, got {counts}: compare the ends of both files")
    return texts, kinds
