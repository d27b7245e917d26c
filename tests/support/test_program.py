"""How a program prints and ends."""

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from textvae.support.errors import UserError
from textvae.support.program import AGAIN, SIGNALS, advise, program


def ended(capfd, fault, advice=AGAIN):
    """Exit code, standard output and standard error of a program that fails."""
    with pytest.raises(SystemExit) as end, program(advice):
        print("before")
        fault()
    return (end.value.code, *capfd.readouterr())


def raising(error):
    def fault():
        raise error

    return fault


def following(error, first):
    """An error that was raised while another was handled."""
    error.__context__ = first
    return error


DISK = "error: expected room for the output on a disk that works, got: Input/output error: "
TORCH = f"{DISK}make room, or write elsewhere"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("expected a, got b: c"), 2, "error: expected a, got b: c"),
        (UserError("got \x1b[2J"), 2, r"error: got \x1b[2J"),
        (
            OSError(errno.ENOSPC, "No space left on device", "x.npy"),
            2,
            "error: expected room for x.npy, got: No space left on device: make room, or write elsewhere",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "x\x1b.npy"),
            2,
            r"error: expected a disk that allows writing to x\x1b.npy, got: Read-only file system: write elsewhere",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "x.txt"),
            2,
            "error: expected permission to open x.txt, got: Permission denied: ask for it, or choose another",
        ),
        (
            RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
            2,
            "error: expected room for the output, got: No space left on device: make room, or write elsewhere",
        ),
        (RuntimeError("basic_ios::clear: iostream error"), 2, TORCH),
        (following(RuntimeError("unexpected pos 64 vs 0"), RuntimeError("iostream error")), 2, TORCH),
        (KeyboardInterrupt(), 130, f"stopped by SIGINT: {AGAIN}"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, ""),
        (SystemExit(7), 7, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_fault_of_others_is_one_line(capfd, error, code, line):
    assert ended(capfd, raising(error)) == (code, "before\n", line and f"{line}\n")


@pytest.mark.parametrize("error", [KeyError("x"), OSError(errno.ENOENT, "No such file"), OSError("x")])
def test_a_fault_of_ours_keeps_its_traceback(error):
    with pytest.raises(type(error)), program():
        raise error


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_one_line_that_says_how_to_go_on(capfd, number):
    before = [signal.getsignal(each) for each in SIGNALS]

    def fault():
        advise("pass --resume")
        signal.raise_signal(number)

    line = f"stopped by {signal.Signals(number).name}: pass --resume\n"
    assert ended(capfd, fault) == (128 + number, "before\n", line)
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_a_signal_counts_whatever_a_library_makes_of_it(capfd):
    def fault():
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise ValueError("worker died") from None

    assert ended(capfd, fault) == (143, "before\n", f"stopped by SIGTERM: {AGAIN}\n")


def test_advice_ends_with_its_program(capfd):
    with program("other advice"):
        advise("and other")
    assert ended(capfd, raising(KeyboardInterrupt()))[2] == f"stopped by SIGINT: {AGAIN}\n"


def test_only_the_first_of_several_processes_speaks(capfd, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert ended(capfd, lambda: signal.raise_signal(signal.SIGTERM)) == (143, "before\n", "")


def test_a_signal_that_is_ignored_stays_so(capfd):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with program():
            signal.raise_signal(signal.SIGHUP)
            print("goes on")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert capfd.readouterr() == ("goes on\n", "")


def test_other_threads_have_programs_too(capfd):
    codes = []

    def run():
        try:
            with program():
                raise UserError("expected a, got b")
        except SystemExit as end:
            codes.append(end.code)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert (codes, capfd.readouterr().err) == ([2], "error: expected a, got b\n")


# ---- in a separate process


def run(body, prelude="", **options):
    """A process that runs a program without torch, as `textvae` does when it starts."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    source = f"""
import os, signal, sys, time
sys.argv = ["textvae"]
{prelude}
from textvae.support.program import program
with program():
{lines}
"""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([sys.executable, "-c", source], text=True, timeout=120, **options)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", r"na\xefve \u65e5 \ud800"),
        ("latin-1", r"naïve \u65e5 \ud800"),
        ("utf-8", r"naïve 日 \ud800"),
    ],
)
def test_what_cannot_be_encoded_is_an_escape(encoding, shown):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    result = run(r'print("na\xefve \u65e5 \ud800")', env=environment, encoding=encoding)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{shown}\n", "")


@pytest.mark.parametrize("lines", [1, 100_000])
@pytest.mark.parametrize("both", [False, True])
def test_a_reader_that_goes_away_is_no_error(lines, both):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        stderr = closed if both else subprocess.PIPE
        result = run(f"print('words ' * {lines})", stdout=closed, stderr=stderr)
    assert (result.returncode, result.stderr or "") == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_an_output_without_room_is_one_line():
    with open("/dev/full", "wb") as device:
        result = run("print('words')", stdout=device)
    line = (
        "error: expected room for the output, got: No space left on device: make room, or write elsewhere\n"
    )
    assert (result.returncode, result.stderr) == (2, line)


def test_a_terminal_without_columns_shows_messages_too():
    result = run(
        "from rich import print; print('words')", env=os.environ | {"COLUMNS": "0"}, stderr=subprocess.STDOUT
    )
    assert result.stdout == "words\n"


def test_closed_outputs_are_no_fault():
    closed = "sys.stdout = sys.stderr = None"
    result = run(
        "print('words'); print('words', file=sys.stderr); sys.stdout.flush(); sys.stderr.isatty()", closed
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_second_signal_ends_the_process_at_once():
    body = """
try:
    signal.raise_signal(signal.SIGTERM)
finally:
    signal.raise_signal(signal.SIGTERM)
    print("never")
"""
    result = run(body)
    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGTERM, "", "")


def test_a_child_that_is_ended_does_not_speak_for_its_parent():
    body = """
reading, writing = os.pipe()
child = os.fork()
if not child:
    os.write(writing, b"here")
    time.sleep(60)
    os._exit(0)
os.read(reading, 4)
os.kill(child, signal.SIGTERM)
print(os.waitpid(child, 0)[1] == signal.SIGTERM, flush=True)
"""
    result = run(body)
    assert (result.returncode, result.stdout, result.stderr) == (0, "True\n", "")
