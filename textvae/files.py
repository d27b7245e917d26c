"""Writes that are either whole or not there at all, also after a crash of the machine."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

PARTIAL_FOLDER = re.compile(r"\.[0-9a-f]{32}\.partial")
"""The name of a folder that `replacing_files_in` fills; a killed process leaves it behind."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write a file to, which takes the place of ``path`` when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The end of the name stays, because some writers add their own suffix where it is missing; the writer makes the
    # file, because `tempfile` would make one that only its owner may read.
    partial = path.with_name(f".{uuid4().hex}-{path.name}")
    try:
        yield partial
        _to_disk(partial)
        os.replace(partial, path)
        _to_disk(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_files_in(folder: str | Path, last: str) -> Iterator[Path]:
    """A folder to write files to, which move into ``folder`` together when the block ends without an error.

    No file system moves several files at once. So the file ``last``, without which a reader takes none of them for
    whole, is removed before the first of them moves and moves after all others: whoever finds it finds all of them,
    and all from one call. If the process is killed between the moves, the files that have not moved stay where they
    are, in a hidden folder beside the others.

    Args:
        folder: made if there is none; its other files stay.
        last: the name of one of the files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{uuid4().hex}.partial"
    partial.mkdir()
    try:
        yield partial
        assert (partial / last).is_file(), f"{last} was not written"
        files = sorted(partial.iterdir(), key=lambda file: (file.name == last, file.name))
        for path in (*files, partial):
            _to_disk(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _move(files, folder, last)
    partial.rmdir()


def _move(files: list[Path], folder: Path, last: str) -> None:
    """Move the files, ``last`` at their end, each step on the disk before the next one that relies on it."""
    (folder / last).unlink(missing_ok=True)
    _to_disk(folder)
    for file in files:
        if file.name == last:
            _to_disk(folder)
        os.replace(file, folder / file.name)
    _to_disk(folder)


def _to_disk(path: Path) -> None:
    """Wait until a file's content, or a folder's names, would outlive a loss of power."""
    if path.is_dir():
        # Not all systems let a folder be opened, nor all file systems let it be synchronised.
        with suppress(OSError):
            _synchronise(path, os.O_RDONLY)
    else:
        _synchronise(path, os.O_RDWR)


def _synchronise(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
