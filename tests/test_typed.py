"""The package is typed: a user's script passes a strict type check, and a wrong one does not."""

import subprocess
import sys
from pathlib import Path

import pytest

USER = Path(__file__).parent / "user" / "strict.py"


def checked(path, folder):
    """The output of mypy --strict; "" if it finds nothing."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file", "", str(path)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600).stdout


@pytest.mark.slow
def test_a_users_script_is_checked_strictly(tmp_path):
    assert checked(USER, tmp_path) == ""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(USER.read_text().replace("vae.sample(8, seed=0)", 'vae.sample("eight", seed=0)'))
    assert 'incompatible type "str"; expected "int"' in checked(wrong, tmp_path)
