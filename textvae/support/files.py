"""Writes that are whole or not there at all, also after a crash, and what can be known of them before the work."""

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
"""The name of a folder that `replacing_files_in` fills; a killed process leaves it behind."""

PROBE = 2**16
"""Bytes that are written, and gone again, to see whether there is room for more."""

LONGEST = 100
"""Characters of a name that becomes one of a file; with an ending they have to be 255 bytes at most."""


def check_writable(path: str | Path, example: str = "output") -> None:
    """Refuse a place that no file can be written to. Called before the work of which the file is the result.

    Nothing is left there, not even the folders that are still to be made.

    Args:
        path: of the file: a new one, one to be replaced, a link, a device or a pipe.
        example: the name of such a file, for the message about a folder.

    Raises:
        UserError: if it is a folder, a socket or a disk, if the user may not write there, or if the disk is full.
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
    """Refuse a folder that no files can be written to; one that is not there yet is made later.

    Raises:
        UserError: if it is a file or in one, if the user may not write there, or if the disk is full.
    """
    folder = Path(folder).expanduser()
    try:
        _try_folder(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error


def check_name(name: str, what: str) -> None:
    """Refuse a name that cannot be one of a file, or that would lead out of its folder.

    Args:
        name: of letters, digits, and ``_``, ``-``, ``.``, ``+`` and blanks behind the first of them.
        what: it is the name of, for the message.

    Raises:
        UserError: if it has other characters, such as a slash, or more than `LONGEST`.

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
    """The file that a path leads to, behind all links."""
    return Path(os.path.realpath(path))


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write a file to, which takes the place of ``path`` when the block ends without an error.

    If ``path`` is a link, the file behind it is replaced; a device or a pipe gets what the file holds when the block
    ends. A new file has the mode that the umask gives, one that is replaced keeps its own.

    Raises:
        UserError: if it is a socket or a disk.
    """
    path = Path(path).expanduser()
    if _is_stream(path):
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / path.name
            move(Path(folder) / path.name, path)
        return
    target = target_of(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays, because some writers add their own where it is missing; the writer makes the file.
    partial = target.with_name(f".{uuid4().hex}{path.suffix}")
    try:
        yield partial
        move(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def move(file: Path, path: Path) -> None:
    """Put a whole file in the place of ``path``, as `replacing` does at its end.

    Args:
        file: on the same disk as the target of ``path``; gone afterwards, unless ``path`` is a device or a pipe.
        path: a file, new or not, a link, a device or a pipe.
    """
    if _is_stream(path):
        with file.open("rb") as source, _opened(path) as stream:
            shutil.copyfileobj(source, stream)
        return
    target = target_of(path)
    mode = _mode_of(target)
    if file.stat().st_mode & 0o777 != mode:
        # A disk may have no modes.
        with suppress(PermissionError):
            file.chmod(mode)
    _to_disk(file)
    try:
        os.replace(file, target)
        _to_disk(target.parent)
    except OSError as error:
        # A file that is mounted by itself, as containers do, has no other in its place.
        if error.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        shutil.copyfile(file, target)
        file.unlink()


def _mode_of(target: Path) -> int:
    """The mode of a file or, if there is none, the one that it would be made with."""
    with suppress(FileNotFoundError):
        return target.stat().st_mode & 0o777
    probe = target.with_name(f".{uuid4().hex}")
    probe.touch()
    try:
        return probe.stat().st_mode & 0o777
    finally:
        probe.unlink()


def _is_stream(path: Path) -> bool:
    """Whether it takes what is written and is not to be replaced: a device, a pipe, or what is open as /dev/stdout.

    Raises:
        UserError: if it is a socket or a disk, which are neither written to nor replaced.
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
    """The number of the open file that a path such as /dev/stdout or /dev/fd/63 stands for."""
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
    """A stream to write bytes to."""
    number = _descriptor(path)
    if number is None:
        with path.open("wb") as stream:
            yield stream
        return
    # What was printed stands before it, and what will be printed behind it.
    for printed in (sys.stdout, sys.stderr):
        printed.flush()
    with os.fdopen(os.dup(number), "wb") as stream:
        yield stream


def _try_file(path: Path) -> None:
    """Raise an `OSError` or a `UserError` if no file can be written to the path."""
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
    """Raise an `OSError` if no file can be made in the folder, or in the one where it would be made."""
    place = target_of(folder)
    while not os.path.lexists(place):
        place = place.parent
    with tempfile.TemporaryFile(dir=place) as probe:
        probe.write(bytes(PROBE))
        probe.flush()


def _unwritable(path: Path, error: OSError) -> UserError:
    """What is wrong with a place to write to."""
    return UserError(f"expected a place to write to, got {path} ({error.strerror}): choose another")


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
