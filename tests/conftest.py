import os

# Before any library reads it: no test may ask the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import datasets
import pytest
import torch
from matplotlib.figure import Figure
from scripts import run_script

from textvae.cli import main

# Products this small lose by being split.
torch.set_num_threads(1)
# Warnings are errors here, and torch gives many of its own only once a process: which test fails must not
# hang on the order.
torch.set_warn_always(True)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def blank_curves():
    """Runs of tiny models draw nothing, which would take most of their time; where curves are tested, they do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textvae.training.curves.draw_curves", lambda logs: Figure((1, 1)))
        yield


@pytest.fixture(autouse=True)
def bars():
    """The bars of `datasets`, which commands hide for the rest of their process, as they were."""
    hidden = datasets.are_progress_bars_disabled()
    yield
    (datasets.disable_progress_bars if hidden else datasets.enable_progress_bars)()


@pytest.fixture
def apart(tmp_path, monkeypatch):
    """A cache and a folder of the test's own."""
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
