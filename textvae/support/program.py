"""How a program prints and ends: without a traceback, except for a bug of this package."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from textvae.support.display import visible
from textvae.support.errors import reported_to_user

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that ask a program to stop: Ctrl-C, ``kill`` or a batch system, a closed terminal."""

FIXES = {
    errno.ENOSPC: ("room for {}", "make room, or write elsewhere"),
    errno.EDQUOT: ("room for {}", "make room, or write elsewhere"),
    errno.EIO: ("room for {} on a disk that works", "make room, or write elsewhere"),
    errno.EROFS: ("a disk that allows writing to {}", "write elsewhere"),
    errno.EACCES: ("permission to open {}", "ask for it, or choose another"),
}
"""System errors that the user can fix: what was expected, and the fix."""

AGAIN = "run the same command again"

_advice = [AGAIN]


@contextmanager
def program(advice: str = AGAIN) -> Iterator[None]:
    """The context that a whole program runs in.

    Characters that an output cannot encode are printed as escapes. The program ends with one line and exit code 2 after
    a `UserError`, or if the disk is full or cannot be written to; with one line on how to continue and exit code 128 +
    number after a signal of `SIGNALS`; and silently with exit code 1 if the reader of its output is gone.

    Args:
        advice: how to continue after a signal; `advise` changes it.
    """
    advise(advice)
    _prepare_outputs()
    with _noticed_signals() as received:
        try:
            with reported_to_user():
                try:
                    yield
                finally:
                    sys.stdout.flush()
        except BaseException as error:
            _end(error, received)
            raise


def advise(advice: str) -> None:
    """Set the advice on how to continue if a signal stops the program from now on."""
    _advice[0] = advice


def _prepare_outputs() -> None:
    """Make printing work with any encoding and width, and print nothing to a closed output."""
    if os.environ.get("COLUMNS") == "0":
        # Rich would print empty lines.
        del os.environ["COLUMNS"]
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _noticed_signals() -> Iterator[list[int]]:
    """The signals received in the block. Each raises KeyboardInterrupt once; a second one ends the process."""
    received: list[int] = []
    own = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() == own:
            signal.signal(number, signal.SIG_DFL)
            received.append(number)
            raise KeyboardInterrupt
        # A forked process handles the signal as before.
        signal.signal(number, before[number])
        signal.raise_signal(number)

    before: dict[int, Any] = {}
    # Only the main thread may set handlers; ignored signals, as with nohup, stay ignored.
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}
        before = {
            number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)
        }
    try:
        for number in before:
            signal.signal(number, stop)
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(error: BaseException, received: list[int]) -> None:
    """End the program as `program` says; return if the error is a bug or a normal exit."""
    if received or isinstance(error, KeyboardInterrupt):
        number = received[0] if received else int(signal.SIGINT)
        _say(f"stopped by {signal.Signals(number).name}: {_advice[0]}")
        raise SystemExit(128 + number) from None
    if isinstance(error, BrokenPipeError):
        _discard()
        raise SystemExit(1) from None
    fault = _number_of(error)
    if fault in FIXES:
        expected, fix = FIXES[fault]
        place = visible(str(getattr(error, "filename", None) or "the output"))
        _say(f"error: expected {expected.format(place)}, got: {os.strerror(fault)}: {fix}")
        _discard()
        raise SystemExit(2) from None


def _number_of(error: BaseException) -> int:
    """The errno of a system error, otherwise 0.

    Safetensors reports a full disk only in the message. `torch.save` says only that a write failed, and another error
    may follow from that.
    """
    if isinstance(error, OSError):
        return error.errno or 0
    if os.strerror(errno.ENOSPC) in str(error):
        return errno.ENOSPC
    return errno.EIO if any("iostream error" in str(each) for each in (error, error.__context__)) else 0


def _say(line: str) -> None:
    """In the first process, print a line to standard error; on a terminal, below any progress bar."""
    if os.environ.get("RANK", "0") == "0":
        with suppress(OSError):
            print(f"\n{line}" if sys.stderr.isatty() else line, file=sys.stderr, flush=True)


def _discard() -> None:
    """Discard what is left in the buffers; otherwise the interpreter complains when it exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())
