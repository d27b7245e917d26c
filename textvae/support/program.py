"""How a program prints and how it ends: without a traceback, unless the fault is ours."""

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
"""What asks a program to stop: Ctrl-C, ``kill`` and the batch system, a terminal that is closed."""

FIXES = {
    errno.ENOSPC: ("room for {}", "make room, or write elsewhere"),
    errno.EDQUOT: ("room for {}", "make room, or write elsewhere"),
    errno.EROFS: ("to write to {}", "write elsewhere"),
    errno.EACCES: ("to be allowed to open {}", "ask for the right to, or choose another"),
}
"""Errors of the system that the user can mend: what was expected, and how."""

AGAIN = "run the same command again"

_advice = [AGAIN]


@contextmanager
def program(advice: str = AGAIN) -> Iterator[None]:
    """All that a program does between its first line and its last.

    What an output cannot encode is printed as an escape. A `UserError`, and a disk that is full or must not be written
    to, end the program with one line and exit code 2; a signal of `SIGNALS` with one line that says how to go on and
    128 more than its number; a reader that went away silently with exit code 1.

    Args:
        advice: how to go on after a signal; `advise` changes it.
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
    """Say how to go on if the program is stopped by a signal from now on."""
    _advice[0] = advice


def _prepare_outputs() -> None:
    """Let everything be printed, whatever the encoding and the width, and nothing where an output is closed."""
    if os.environ.get("COLUMNS") == "0":
        # Rich would write lines of no letters.
        del os.environ["COLUMNS"]
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _noticed_signals() -> Iterator[list[int]]:
    """The signals that came in meanwhile; each raises KeyboardInterrupt once, and a second one ends the process."""
    received: list[int] = []
    own = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() == own:
            signal.signal(number, signal.SIG_DFL)
            received.append(number)
            raise KeyboardInterrupt
        # A process that was forked off does as it would do without us.
        signal.signal(number, before[number])
        signal.raise_signal(number)

    before: dict[int, Any] = {}
    # Others may not set handlers; what is ignored, as by nohup, stays so.
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
    """End the program as `program` says, or return if the error is a fault of ours or an end like any other."""
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
        place = visible(str(getattr(error, "filename", None) or "what is written"))
        _say(f"error: expected {expected.format(place)}, got: {os.strerror(fault)}: {fix}")
        _discard()
        raise SystemExit(2) from None


def _number_of(error: BaseException) -> int:
    """The number of an error of the system, 0 if it is none; safetensors tells of a full disk in words alone."""
    if isinstance(error, OSError):
        return error.errno or 0
    return errno.ENOSPC if os.strerror(errno.ENOSPC) in str(error) else 0


def _say(line: str) -> None:
    """Write a line on standard error, for the first of several processes; below a bar, if it is a terminal."""
    if os.environ.get("RANK", "0") == "0":
        with suppress(OSError):
            print(f"\n{line}" if sys.stderr.isatty() else line, file=sys.stderr, flush=True)


def _discard() -> None:
    """Send what is left in the buffers nowhere, or the interpreter complains when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())
