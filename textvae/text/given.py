"""Reads the texts that a user passes, in any common form, as strings, or says in one line what is wrong."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from textvae.support.errors import UserError

TEXT_NAMES = ("text", "sentence", "document", "content", "review", "caption", "utterance")
"""Names of a column of text, the likeliest first."""


def as_list(given: Any) -> list[str]:
    """The texts in ``given``, checked, in their order.

    Args:
        given: a string; an iterable of strings, such as a list, an array, a Series or a generator; a table with a
            column of text: a dict of columns, a DataFrame, a `datasets.Dataset` or an Arrow table; or an iterable of
            rows or of such tables. The column of text is the one with the first name of `TEXT_NAMES` that occurs;
            if none does, it is the only column.

    Raises:
        UserError: if a text is not a string, the texts have no order, or a table has no column of text.

    Example:
        >>> as_list("one"), as_list({"text": ["one", "two"], "label": [1, 0]})
        (['one'], ['one', 'two'])
        >>> as_list([{"text": "one"}, {"text": "two"}])
        ['one', 'two']
    """
    return list(each_text(given))


def each_text(given: Any) -> Iterator[str]:
    """Yields the texts of `as_list` one at a time, if they are too many for a list."""
    if isinstance(given, str):
        _check_unicode(given, "")
        yield given
        return
    for place, text in enumerate(_cells(given)):
        if not isinstance(text, str):
            raise _no_string(text, f" at place {place}")
        _check_unicode(text, f" at place {place}")
        yield text


def columns_of(given: Any) -> list[str] | None:
    """The names of a table's columns; None if ``given`` is not a table, or is a stream that does not know them."""
    if isinstance(given, Mapping):
        return list(given)
    names = getattr(given, "column_names", None)  # of `datasets` and of Arrow
    if names is None:
        names = getattr(given, "columns", None)  # of pandas and of polars
    if names is None:
        names = getattr(getattr(given, "dtype", None), "names", None)  # of NumPy's structured arrays
    return None if names is None else list(names)


def text_column(names: Sequence[str]) -> str | None:
    """The column of text among columns with these names; None if it is not clear which it is."""
    named = [name for name in TEXT_NAMES if name in names]
    return named[0] if named else names[0] if len(names) == 1 else None


def _cells(given: Any) -> Iterator[Any]:
    """Yields the cells that should be texts, in their order."""
    names = columns_of(given)
    if names is not None:
        column = given[_column(given, names)]
        # If ``given`` is a single row, its column is a single cell.
        is_cell = isinstance(column, str | bytes) or not hasattr(column, "__iter__")
        yield from [column] if is_cell else _cells(column)
        return
    for item in _items(given):
        if columns_of(item) is None:
            yield item
        else:
            yield from _cells(item)


def _items(given: Any) -> Iterable[Any]:
    """The items of ``given``."""
    if isinstance(given, bytes | bytearray | memoryview):
        raise _no_string(given, "")
    if isinstance(given, set | frozenset):
        raise UserError("expected texts in an order, got a set, which has none: give a list")
    if isinstance(given, os.PathLike):
        raise UserError(f"expected texts, got the path {given}: read the file, e.g. with load_corpus")
    if isinstance(given, io.TextIOBase):
        return (line.rstrip("\r\n") for line in given)
    if hasattr(given, "to_pylist"):  # an Arrow array: its items are scalar objects
        return given.to_pylist()
    try:
        return iter(given)
    except TypeError:
        raise _no_string(given, "") from None


def _column(given: Any, names: Sequence[str]) -> str:
    """The name of a table's column of text."""
    name = text_column(names)
    if name is None:
        columns = ", ".join(map(str, names[:20])) or "no columns"
        like = f"take one of them, e.g. given[{names[0]!r}]" if names else "give one with texts"
        raise UserError(
            f"expected texts, or a table with a column text, got a {type(given).__name__} with {columns}: {like}"
        )
    return name


def _no_string(found: Any, place: str) -> UserError:
    if isinstance(found, bytes | bytearray | memoryview):
        return UserError(f"expected strings, got bytes{place}: decode them, e.g. with .decode('utf-8')")
    shown = " ".join(repr(found).split())
    return UserError(
        f"expected strings, got {shown:.80} ({type(found).__name__}){place}: leave it out, or make it a string"
    )


def _check_unicode(text: str, place: str) -> None:
    """Refuse half a surrogate pair, which no tokenizer can read. Python may also store undecodable bytes like this."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        found = (
            f"the byte 0x{code - 0xDC00:02x}, which is not UTF-8,"
            if 0xDC80 <= code <= 0xDCFF
            else f"half of a surrogate pair, U+{code:04X},"
        )
        raise UserError(f"expected Unicode, got {found} in {text!a:.80}{place}: fix its encoding") from None
