"""Reads lines from a file, a pipe or standard input, plain or gzipped, or says in one line what is wrong with it."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from textvae.support.errors import UserError

STANDARD_INPUT = "-"

GZIP = b"\x1f\x8b"
"""The first bytes of gzipped content. The name is not used, because pipes have no extension."""

UNREADABLE = (OSError, EOFError, zlib.error)
"""The errors of unreadable files, including damaged gzip."""


def is_readable(file: str | Path) -> bool:
    """Whether ``file`` exists and is a file, a pipe or a device, not a folder."""
    path = Path(file).expanduser()
    return path.exists() and not path.is_dir()


def lines_of(file: str | Path) -> Iterator[str]:
    """The lines of a text, without white space at their ends. Blank lines are kept.

    Args:
        file: a plain or gzipped file, a pipe such as ``/dev/fd/63``, or "-", standard input.

    Raises:
        UserError: if the file does not exist (at once), or a line is not text (when this line is read).
    """
    if str(file) != STANDARD_INPUT and not is_readable(file):
        path = Path(file).expanduser()
        what = "a folder" if path.is_dir() else "nothing"
        raise UserError(
            f"expected a text file, found {what} at {path}: check the path, or give - for standard input"
        )
    return (line.strip() for line in whole_lines(file))


def whole_lines(file: str | Path, newline: str | None = "\n") -> Iterator[str]:
    """The lines of a text with their ends, without a byte order mark.

    Args:
        file: see `lines_of`.
        newline: the end of a line, see `open`.

    Raises:
        UserError: if the file cannot be read, or is not text.
    """
    name = "standard input" if str(file) == STANDARD_INPUT else str(file)
    try:
        with opened(file) as content:
            check_is_text(content, name)
            # Bytes that are not UTF-8 become surrogates, so that their line can be named.
            wrapper = io.TextIOWrapper(content, "utf-8-sig", errors="surrogateescape", newline=newline)
            try:
                for number, line in enumerate(wrapper, 1):
                    _check_line(line, number, name)
                    yield line
            finally:
                wrapper.detach()  # otherwise standard input would be closed with it
    except UNREADABLE as error:
        raise damaged(name, error) from error


@contextmanager
def opened(file: str | Path) -> Iterator[IO[bytes]]:
    """The content of a file, unzipped. A pipe can be read only once."""
    if str(file) == STANDARD_INPUT:
        if sys.stdin is None:
            raise UserError("expected text on standard input, found it closed: give a file")
        yield _unzipped(sys.stdin.buffer)
        return
    with Path(file).expanduser().open("rb") as raw:
        yield _unzipped(raw)


def check_is_text(content: IO[bytes], name: str) -> None:
    """Raise a `UserError` if the beginning of the content is binary."""
    if b"\0" in content.peek(4096)[:4096]:  # type: ignore[attr-defined]
        raise UserError(f"expected text, plain or .gz, got {name}, binary or UTF-16: convert it to UTF-8")


def damaged(name: str | Path, error: BaseException) -> UserError:
    """The error of a file that cannot be read."""
    if isinstance(error, OSError) and error.strerror:
        return UserError(f"expected a readable file, got {name}: {error.strerror}")
    what = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UserError(
        f"expected a readable file, got {name}: {what}; it may be cut short or not what its name says"
    )


def _unzipped(raw: IO[bytes]) -> IO[bytes]:
    content = raw if hasattr(raw, "peek") else io.BufferedReader(raw)  # type: ignore[type-var]
    if content.peek(2)[:2] == GZIP:
        return gzip.GzipFile(fileobj=content)  # type: ignore[return-value]
    return content


def _check_line(line: str, number: int, name: str) -> None:
    if line.isascii():
        return
    try:
        line.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"expected UTF-8, got byte 0x{ord(line[error.start]) - 0xDC00:02x} in line {number} of {name}: "
            "convert it, e.g. iconv -f latin1 -t utf-8"
        ) from error
