"""Training programs: the errors they report before any work, and their exit when they are stopped."""

import signal
import sys

import pytest

from textvae.support.errors import UserError
from textvae.support.seeds import END
from textvae.training import script
from textvae.training.checks import check_run
from textvae.training.recipe import read_recipe

PLAIN = "corpus: {train: grammar}\ntraining: {output_dir: run}\n"
STAGES = PLAIN + "pretraining: {objective: {kl_weight: {end: 0.0}}}\n"


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Write a recipe; returns the name of the file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()

    def write(text=PLAIN):
        (tmp_path / "recipe.yaml").write_text(text)
        return "recipe.yaml"

    return write


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "training.seed=-1",
            "recipe.yaml: . to mend: training.seed: expected greater than or equal to 0, got -1",
        ),
        (
            f"training.data_seed={END}",
            f"recipe.yaml: . to mend: training.data_seed: expected less than {END}, got {END}",
        ),
        ("corpus.seed=1099511627776", "recipe.yaml: 1 to mend: corpus.seed: expected less than 4294967296"),
        ("training.output_dir=", "recipe.yaml: 1 to mend: training.output_dir: missing"),
        (
            "training.output_dir=''",
            "recipe.yaml: . to mend: training.output_dir: .* at least 1 character, got ''",
        ),
        ("training.output_dir=file", r"expected a place to write to, got file \(Not a directory\)"),
        ("training.output_dir=file/run", r"expected a place to write to, got file/run \(Not a directory\)"),
    ],
)
@pytest.mark.parametrize("text", [PLAIN, STAGES])
def test_a_run_that_cannot_be_is_refused(recipe, tmp_path, text, override, message):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=f"^{message}"):
        check_run(read_recipe(recipe(text), [override]))
    assert sorted(set(tmp_path.iterdir()) - {tmp_path / "recipe.yaml"}) == before


def test_a_run_that_can_be_leaves_nothing_yet(recipe, tmp_path):
    check_run(read_recipe(recipe(), [f"training.seed={END - 1}", "training.output_dir=new/run"]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "recipe.yaml"]


def trained(monkeypatch, capfd, *words, run):
    """The exit code and standard error of the training program, with ``run`` in place of the training."""
    monkeypatch.setattr(script, "run", run)
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    with pytest.raises(SystemExit) as end:
        script.train("Train.")
    return end.value.code, capfd.readouterr().err


@pytest.mark.parametrize(
    ("number", "option", "code", "how"),
    [
        (signal.SIGINT, "--quiet", 130, "stopped by SIGINT: run the same command with --resume too"),
        (signal.SIGTERM, "--resume", 143, "stopped by SIGTERM: run the same command with --resume too"),
        (
            signal.SIGTERM,
            "--overwrite",
            143,
            "stopped by SIGTERM: run the same command with --resume in place of",
        ),
    ],
)
def test_training_that_is_stopped_says_how_to_go_on(recipe, monkeypatch, capfd, number, option, code, how):
    ended = trained(monkeypatch, capfd, recipe(), option, run=lambda *_, **__: signal.raise_signal(number))
    assert (ended[0], ended[1].startswith(how), ended[1].count("\n")) == (code, True, 1)


def test_faults_are_named_before_any_work(recipe, monkeypatch, capfd):
    def run(*_, **__):
        pytest.fail("no work yet")

    code, err = trained(monkeypatch, capfd, recipe(), "training.output_dir=file", run=run)
    assert (code, err) == (
        2,
        "error: expected a place to write to, got file (Not a directory): choose another\n",
    )
