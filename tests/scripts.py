"""Running a script of the repository in this process, which has imported everything already."""

import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass
class Ended:
    """What a script left: its exit code, and what it printed."""

    code: int
    out: str
    err: str


def run_script(path, arguments, monkeypatch, capsys) -> Ended:
    """Run the script at a path from the repository's root, with these arguments."""
    path = ROOT / path
    # As where a script is run, the files beside it are found.
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
    code = 0
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        code = end.code or 0
    return Ended(code, *capsys.readouterr())
