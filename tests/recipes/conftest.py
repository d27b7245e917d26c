import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class Ended:
    """What a script left: its exit code, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def script(monkeypatch, capsys):
    """Runs a script of recipes/ in this process, which has imported everything already."""

    def run_script(path, *arguments):
        path = Path(__file__).parents[2] / "recipes" / path
        # As where a script is run, the files beside it are found.
        monkeypatch.syspath_prepend(path.parent)
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
        return Ended(code, *capsys.readouterr())

    return run_script
