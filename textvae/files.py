"""Writes that are either whole or not there at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write a file to, which takes the place of ``path`` when the block ends without an error."""
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    # The end of the name stays, because some writers add their own suffix where it is missing; the writer makes the
    # file, because `tempfile` would make one that only its owner may read.
    partial = path.with_name(f".{uuid4().hex}-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_files_in(folder: str | Path) -> Iterator[Path]:
    """A folder to write files to, each of which moves into ``folder`` when the block ends without an error."""
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".", dir=folder))
    try:
        yield partial
        for file in partial.iterdir():
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
