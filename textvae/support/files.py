"""Atomic writes, which leave a complete file or none even after a crash; and checks of outputs before the work."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from textvae.support.errors import UserError

PARTIAL_FOLDER = re.compile(r"\.[0-9a-f]{32}\.partial")
"""The name of a folder that `replacing_files_in` writes to; a killed process leaves it behind."""

PROBE = 2**16
"""Bytes of a temporary file that tests whether the disk has room."""

LONGEST = 100
"""The most characters of a name that is used as a file name; with an ending it may have 255 bytes."""


def check_writable(path: str | Path, example: str = "output") -> None:
    """Refuse a path that no file can be written to. Call it before the work that makes the file.

    It creates nothing, not even missing folders.

    Args:
        path: a new file, a file to replace, a link, a device or a pipe.
        example: a file name, for the message about a folder.

    Raises:
        UserError: if it is a folder, a socket or a disk, the user may not write there, or the disk is full.
    """
    path = Path(path).expanduser()
    try:
        if path.is_dir():
            raise UserError(
                f"expected a file to write to, got the folder {path}: add a name, such as {path / example}"
            )
        _try_file(path)
    except OSError as error:
        raise _unwritable(path, error) from error


def check_folder(folder: str | Path) -> None:
    """Refuse a folder that no files can be written to. It need not exist yet.

    Raises:
        UserError: if it or a parent is a file, the user may not write there, or the disk is full.
    """
    folder = Path(folder).expanduser()
    try:
        _try_folder(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error


def check_name(name: str, what: str) -> None:
    """Refuse a name that cannot be a file name, or that would lead out of its folder.

    Args:
        name: letters, digits and ``_``; after the first character also ``-``, ``.``, ``+`` and blanks.
        what: the thing that it names, for the message.

    Raises:
        UserError: if it has other characters, such as a slash, or more than `LONGEST` characters.

    Example:
        >>> check_name("../x", "a prior")
        Traceback (most recent call last):
        textvae.support.errors.UserError: expected letters and digits as the name of a prior, got '../x': choose another
    """
    if not re.fullmatch(r"\w[\w.+ -]*", name) or len(name) > LONGEST or len(os.fsencode(name)) > 2 * LONGEST:
        raise UserError(
            f"expected letters and digits as the name of {what}, got {name!r:.120}: choose another"
        )


def target_of(path: str | Path) -> Path:
    """The file that a path leads to, after all links."""
    return Path(os.path.realpath(path))


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write a file to; the file replaces ``path`` when the block ends without an error.

    If ``path`` is a link, its target is replaced. A device or a pipe gets the content of the file when the block ends.
    A new file has the mode that the umask gives; a replaced file keeps its mode.

    Raises:
        UserError: if ``path`` is a socket or a disk.
    """
    path = Path(path).expanduser()
    if _is_stream(path):
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / path.name
            move(Path(folder) / path.name, path)
        return
    target = target_of(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Keep the ending, because some writers add their own if it is missing. The writer creates the file.
    partial = target.with_name(f".{uuid4().hex}{path.suffix}")
    try:
        yield partial
        move(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def move(file: Path, path: Path) -> None:
    """Replace ``path`` by a complete file, as `replacing` does at its end.

    Args:
        file: a file on the same disk as the target of ``path``; it is moved, or copied to a device or a pipe.
        path: a new or existing file, a link, a device or a pipe.
    """
    if _is_stream(path):
        with file.open("rb") as source, _opened(path) as stream:
            shutil.copyfileobj(source, stream)
        return
    target = target_of(path)
    mode = _mode_of(target)
    if file.stat().st_mode & 0o777 != mode:
        # Some file systems have no modes.
        with suppress(PermissionError):
            file.chmod(mode)
    _to_disk(file)
    try:
        os.replace(file, target)
        _to_disk(target.parent)
    except OSError as error:
        # A file that is itself a mount point, as in containers, cannot be replaced.
        if error.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        shutil.copyfile(file, target)
        file.unlink()


def _mode_of(target: Path) -> int:
    """The mode of a file, or the mode that a new file would get."""
    with suppress(FileNotFoundError):
        return target.stat().st_mode & 0o777
    probe = target.with_name(f".{uuid4().hex}")
    probe.touch()
    try:
        return probe.stat().st_mode & 0o777
    finally:
        probe.unlink()


def _is_stream(path: Path) -> bool:
    """Whether the path is written to instead of replaced: a device, a pipe, or an open file such as /dev/stdout.

    Raises:
        UserError: if it is a socket or a disk, which can neither be written to nor replaced.
    """
    if _descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if stat.S_ISSOCK(mode) or stat.S_ISBLK(mode):
        kind = "socket" if stat.S_ISSOCK(mode) else "disk"
        raise UserError(f"expected a file to write to, got the {kind} {path}: choose another name")
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def _descriptor(path: Path) -> int | None:
    """The file descriptor that a path such as /dev/stdout or /dev/fd/63 stands for; None for other paths."""
    place = os.path.abspath(path)
    for _ in range(40):
        own = re.fullmatch(r"/(?:dev/fd|proc/(?:self|thread-self|(\d+))/fd)/(\d+)", place)
        if own and own[1] in (None, str(os.getpid())):
            return int(own[2])
        if not os.path.islink(place):
            return None
        place = os.path.normpath(os.path.join(os.path.dirname(place), os.readlink(place)))
    return None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A binary stream that writes to the path."""
    number = _descriptor(path)
    if number is None:
        with path.open("wb") as stream:
            yield stream
        return
    # Text printed so far must come before the bytes, later text after them.
    for printed in (sys.stdout, sys.stderr):
        printed.flush()
    with os.fdopen(os.dup(number), "wb") as stream:
        yield stream


def _try_file(path: Path) -> None:
    """Raise an `OSError` or a `UserError` if the path cannot be written to."""
    number = _descriptor(path)
    if number is not None:
        os.fstat(number)
        return
    is_stream = _is_stream(path)
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    if not is_stream:
        _try_folder(target_of(path).parent)


def _try_folder(folder: Path) -> None:
    """Raise an `OSError` if no file can be created in the folder or, if it is missing, in its nearest parent."""
    place = target_of(folder)
    while not os.path.lexists(place):
        place = place.parent
    with tempfile.TemporaryFile(dir=place) as probe:
        probe.write(bytes(PROBE))
        probe.flush()


def _unwritable(path: Path, error: OSError) -> UserError:
    """The error for a path that cannot be written to."""
    return UserError(f"expected a place to write to, got {path} ({error.strerror}): choose another")


@contextmanager
def replacing_files_in(folder: str | Path, last: str) -> Iterator[Path]:
    """A folder to write files to; they move into ``folder`` together when the block ends without an error.

    No file system moves several files at once. Therefore readers require the file ``last``: it is removed before the
    first move and moved after all others, so whoever finds it finds all files of one call. If the process is killed
    between the moves, the remaining files stay in a hidden subfolder.

    Args:
        folder: created if it is missing; its other files stay.
        last: name of one of the files.
    """
    folder = Path(folder).expanduser()
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
    """Move the files, ``last`` at the end; each step is on the disk before a step that relies on it."""
    (folder / last).unlink(missing_ok=True)
    _to_disk(folder)
    for file in files:
        if file.name == last:
            _to_disk(folder)
        os.replace(file, folder / file.name)
    _to_disk(folder)


def _to_disk(path: Path) -> None:
    """Wait until the content of a file, or the entries of a folder, would survive a power failure."""
    if path.is_dir():
        # Some systems cannot open a folder, and some file systems cannot synchronise it.
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
