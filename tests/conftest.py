import os

# Set before any library reads it: no test may use the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import datasets
import pytest
import torch
from matplotlib.figure import Figure
from scripts import run_script

from textvae.cli import main

# With more threads, products this small are slower.
torch.set_num_threads(1)
# Warnings are errors here. By default torch gives many of its warnings only once in a process, so that the order of
# the tests would decide which one fails.
torch.set_warn_always(True)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def blank_curves():
    """Runs of tiny models draw no curves, which would take most of the time; tests of curves override this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textvae.training.curves.draw_curves", lambda logs: Figure((1, 1)))
        yield


@pytest.fixture(autouse=True)
def bars():
    """Restores the progress bars of `datasets`, which commands hide for the rest of the process."""
    hidden = datasets.are_progress_bars_disabled()
    yield
    (datasets.disable_progress_bars if hidden else datasets.enable_progress_bars)()


@pytest.fixture
def apart(tmp_path, monkeypatch):
    """Gives the test its own cache and working directory."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def textvae(capfd):
    """Runs the command line: exit code, standard output, standard error."""

    def command(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        return (end.value.code or 0, *capfd.readouterr())

    return command


@pytest.fixture
def example(monkeypatch, capsys):
    """Runs a script of examples/."""
    return lambda name, *arguments: run_script(f"examples/{name}", arguments, monkeypatch, capsys)
