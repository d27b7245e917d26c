"""Runs a script of the repository in this process, which has already imported everything."""

import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass
class Ended:
    """The exit code of a script, and what it printed."""

    code: int
    out: str
    err: str


def run_script(path, arguments, monkeypatch, capsys) -> Ended:
    """Run a script with these arguments; its path is relative to the root of the repository."""
    path = ROOT / path
    # A script can import the files beside it.
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
    code = 0
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        code = end.code or 0
    return Ended(code, *capsys.readouterr())
