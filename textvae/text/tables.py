"""Reads rows from CSV, TSV and JSON; errors name the line.

`datasets` can read these files, too, but infers the columns from the first block of a file. Therefore it shifts all
columns of a CSV file whose rows have one field more than its header. It fails if a column of JSON lines has its first
value after the first block, or changes its type, even if that column is not used. In a stream, it finds an error only
when it reads that row.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Features, Value

from textvae.support.errors import UserError
from textvae.text.given import TEXT_NAMES
from textvae.text.lines import whole_lines

Row = dict[str, Any]

ROWS = 1_000
"""Number of rows whose types are inferred together."""

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a surrogate pair as JSON writes it."""

SEPARATORS = {"csv": (",", ";", "\t"), "tsv": ("\t",)}
"""Possible separators of the fields, by file extension; the first that occurs in the header is used."""

NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}


def features_of(files: Sequence[str], numbered: bool) -> Features:
    """The columns of the files and their types. All rows are read, so that all errors are found.

    Cells of CSV and TSV are strings. A JSON column with values of several types has the type string; if some of them
    are lists or objects, it is binary, and can be neither text nor label.

    Args:
        files: paths of files that are all CSV or TSV, or all JSON.
        numbered: whether the columns of CSV and TSV are named by their numbers, because there is no header.

    Raises:
        UserError: if a file is damaged, its rows have different numbers of fields, or its JSON is not a table.
    """
    if is_json(files[0]):
        return Features.from_arrow_schema(pa.schema(list(_types(files).items())))
    names: dict[str, None] = {}
    for file in files:
        for row in csv_rows(file, numbered):
            if not names.keys() >= row.keys():
                names |= dict.fromkeys(row)
    return Features({name: Value("string") for name in names})


def rows(files: Sequence[str], features: Features, numbered: bool, **_: Any) -> Iterator[Row]:
    """The rows of the files, with the columns of ``features``. If a file lacks a column, its cells are None.

    Args:
        files: see `features_of`.
        features: the result of `features_of`.
        numbered: see `features_of`.
        **_: values that distinguish caches of `datasets`.
    """
    for file in files:
        if is_json(file):
            strings = [name for name in features if features[name] == Value("string")]
            binaries = [name for name in features if features[name] == Value("binary")]
            for row in json_rows(file):
                yield _fitted({name: row.get(name) for name in features}, strings, binaries)
        else:
            yield from ({name: row.get(name) for name in features} for row in csv_rows(file, numbered))


def is_json(file: str) -> bool:
    """Whether a file with this name is JSON, not CSV or TSV."""
    return Path(file.lower().removesuffix(".gz")).suffix in (".json", ".jsonl", ".ndjson")


# ---- CSV and TSV


def csv_rows(file: str, numbered: bool) -> Iterator[Row]:
    """The rows of a CSV or TSV file as dicts, whose keys are the names in the header, or numbers from 0.

    Every row must have as many fields as the first. TSV has no quotes: most tables with tabs are written without them,
    and a single quote character would swallow many lines. Blank lines are skipped.

    Raises:
        UserError: at the first row with more or fewer fields, or with a quote that is never closed.
    """
    separator = _separator(file, numbered)
    names: list[str] = []
    header = 0
    for number, fields in _records(file, separator):
        if not names:
            header, names = number, _names(fields, f"line {number} of {file}", numbered)
            if not numbered:
                continue
        if len(fields) != len(names):
            raise _ragged(file, separator, (header, len(names)), (number, len(fields)))
        yield dict(zip(names, fields, strict=True))


def _records(file: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The fields of each record that is not blank, and the number of its first line."""
    lines = _Lines(file)
    quoting: Any = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    reader = csv.reader(lines, delimiter=separator, quoting=quoting)
    while True:
        first = reader.line_num + 1
        try:
            with _cells_of_any_length():
                fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(f"expected a table in {file}, got in line {first}: {error}") from error
        if lines.ended:
            raise UserError(
                f"expected the quote in line {first} of {file} to be closed, found the end of the file: write a quote "
                'inside a field twice ("")'
            )
        if len(fields) > 1 or "".join(fields).strip():
            yield first, fields


class _Lines:
    """The lines of a file; ``ended`` tells whether the reader has asked for a line after the last one."""

    def __init__(self, file: str) -> None:
        self.lines, self.ended = whole_lines(file, newline=""), False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            return next(self.lines)
        except StopIteration:
            self.ended = True
            raise


@contextmanager
def _cells_of_any_length() -> Iterator[None]:
    """Let `csv` read cells of more than 131,072 characters inside the block."""
    limit = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _separator(file: str, numbered: bool) -> str:
    """The separator of the fields; without a header it follows from the file extension."""
    is_csv = Path(file.lower().removesuffix(".gz")).suffix == ".csv"
    known = SEPARATORS["csv" if is_csv else "tsv"]
    if numbered:
        return known[0]
    header = next((line for line in whole_lines(file) if line.strip()), "")
    found = next((mark for mark in known if mark in header), known[0])
    if not is_csv and found not in header and "," in header:
        raise UserError(
            f"expected fields separated by tabs in {file}, got the header {header.strip()!r:.80}: name the file "
            ".csv, or write tabs"
        )
    return found


def _names(fields: list[str], where: str, numbered: bool) -> list[str]:
    if numbered:
        return [str(number) for number in range(len(fields))]
    names = [name or f"Unnamed: {number}" for number, name in enumerate(fields)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"expected columns of different names, got {twice!r} twice in {where}: rename one")
    return names


def _ragged(file: str, separator: str, header: tuple[int, int], row: tuple[int, int]) -> UserError:
    marks = NAMES[separator]
    fix = (
        f"take tabs and line breaks out of the texts of {Path(file).name}"
        if separator == "\t"
        else f'put a text with {marks} or line breaks in quotes ("...")'
    )
    fields = f"{header[1]} field{'s' * (header[1] > 1)}"
    return UserError(
        f"expected {fields} separated by {marks}, as in line {header[0]} of {file}, got {row[1]} in line {row[0]}: "
        f"{fix}"
    )


# ---- JSON


def json_rows(file: str) -> Iterator[Row]:
    """The rows of JSON: one object per line, or a list of objects or of strings.

    Raises:
        UserError: at the first line that is not an object.
    """
    lines = ((number, line) for number, line in enumerate(whole_lines(file), 1) if line.strip())
    number, first = next(lines, (0, ""))
    if not number:
        return
    if isinstance(_parsed(first), dict):
        for place, line in chain([(number, first)], lines):
            yield _object(_parsed(line), f"line {place} of {file}", _has_halves(line))
        return
    content = first + "".join(line for _, line in lines)
    whole, doubtful = _parsed(content), _has_halves(content)
    if isinstance(whole, list):
        texts = ({"text": item} if isinstance(item, str) else item for item in whole)
        yield from (_object(row, f"row {place} of {file}", doubtful) for place, row in enumerate(texts, 1))
    elif isinstance(whole, dict):  # an object that spans several lines
        yield _object(whole, str(file), doubtful)
    else:
        raise _no_object(_parsed(first), f"line {number} of {file}")


def _parsed(text: str) -> Any:
    """The value of a JSON text; the error if it is not valid JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return error


def _has_halves(text: str) -> bool:
    """Whether a JSON text has escapes of surrogates, whole pairs or halves."""
    return SURROGATE.search(text) is not None


def _object(found: Any, where: str, doubtful: bool) -> Row:
    """``found``, checked to be an object and, if it is ``doubtful``, to contain no half of a surrogate pair."""
    if not isinstance(found, dict):
        raise _no_object(found, where)
    if doubtful:
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"expected whole characters in {where}, got half of a surrogate pair: write both halves"
            ) from error
    return found


def _no_object(found: Any, where: str) -> UserError:
    """The error if a value is not a JSON object, or a text is not valid JSON."""
    kinds = {str: "a string", list: "a list", type(None): "null", bool: "true or false"}
    what = kinds.get(type(found), "a number")
    if isinstance(found, Exception):
        what = f"broken JSON ({getattr(found, 'msg', None) or found})"
    return UserError(
        f'expected a JSON object such as {{"text": "..."}} in {where}, got {what}: it may be cut short, or not a table'
    )


def _types(files: Iterable[str]) -> dict[str, pa.DataType]:
    """The type of each column, inferred from all rows."""
    types: dict[str, pa.DataType] = {}
    for file in files:
        waiting, count = json_rows(file), 0
        while part := list(islice(waiting, ROWS)):
            count += len(part)
            for name in dict.fromkeys(name for row in part for name in row):
                found = _type([row.get(name) for row in part])
                types[name] = _common(types[name], found) if name in types else found
        if count == 1:
            _check_is_row(next(json_rows(file)), file)
    return types


def _check_is_row(row: Mapping[str, Any], file: str) -> None:
    """Refuse a single object that contains a table, unless it is a row itself."""
    if row.keys() & {*TEXT_NAMES, "source", "target", "dialogue"}:
        return
    for name, value in row.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            raise UserError(
                f"expected one object per line, or a list of them, in {file}, got one object with rows in {name!r}: "
                f"extract these, e.g. jq -c '.{name}[]' {Path(file).name} > rows.jsonl"
            )


def _type(values: list[Any]) -> pa.DataType:
    """The type of the cells; if they have several types, string, or binary if some are lists or objects."""
    try:
        return pa.array(values).type
    except (pa.ArrowException, OverflowError):
        nested = any(isinstance(value, list | dict) for value in values)
        return pa.binary() if nested else pa.string()


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type of a column whose parts have these two types."""
    if pa.binary() in (one, other):
        return pa.binary()
    schemas = [pa.schema([("", kind)]) for kind in (one, other)]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        nested = any(pa.types.is_nested(kind) for kind in (one, other))
        return pa.binary() if nested else pa.string()


def _fitted(row: Row, strings: Iterable[str], binaries: Iterable[str]) -> Row:
    """The row, with each cell converted to the type of its column."""
    for name in strings:
        if row[name] is not None and not isinstance(row[name], str):
            row[name] = json.dumps(row[name], ensure_ascii=False)
    for name in binaries:
        row[name] = json.dumps(row[name]).encode()
    return row
