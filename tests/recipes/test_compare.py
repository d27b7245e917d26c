"""The comparison: its table is checked by hand, faults are found before any run, and most runs use a substitute."""

import importlib.util
import json
import os
import runpy
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from textvae.support.errors import UserError
from textvae.training.comparison import read_comparison, rows, write_table

FOLDER = Path(__file__).parents[2] / "recipes" / "language_model"
COMPARISONS = sorted((FOLDER / "cures").glob("*.yaml"))

# Does the same to its run folder as train.py, and records that it was called.
STAND_IN = """
import json, os, pathlib, sys, time
import yaml

path, *overrides = [word for word in sys.argv[1:] if not word.startswith("--")]
recipe = yaml.safe_load(pathlib.Path(path).read_text())
for override in overrides:
    name, _, value = override.partition("=")
    *parents, key = name.split(".")
    place = recipe
    for parent in parents:
        place = place.setdefault(parent, {})
    place[key] = yaml.safe_load(value)
folder = pathlib.Path(recipe["training"]["output_dir"])
folder.mkdir(parents=True, exist_ok=True)
(folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
with (folder.parent / "calls.txt").open("a") as calls:
    resume = "--resume" in sys.argv
    print(folder.name, resume, os.environ["OMP_NUM_THREADS"], os.getpid(), file=calls)
if recipe["training"].get("max_steps") == 666:
    time.sleep(300)
if recipe["objective"]["free_bits"] == 13:
    sys.exit("the loss is not finite")
nats = 10.0 * recipe["objective"]["free_bits"] + recipe["training"]["seed"]
(folder / "evaluation.json").write_text(json.dumps({"iw_nll": nats, "kl": 0.5}))
"""
RECIPE = """
corpus: {train: some.txt}
objective: {free_bits: 0}
training: {max_steps: 3}
"""


@pytest.fixture(scope="module")
def compare():
    """The script, as a module."""
    specification = importlib.util.spec_from_file_location("compare", FOLDER / "compare.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def write(tmp_path):
    """Writes a comparison of the recipe above, and returns its path."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)

    def write(**keys):
        configurations = {"none": None, "Free bits!": {"objective.free_bits": 1}}
        given = {"recipe": "recipe.yaml", "output_dir": str(tmp_path / "out"), "seeds": [3, 4]}
        path = tmp_path / "comparison.yaml"
        text = yaml.safe_dump(given | {"configurations": configurations} | keys, sort_keys=False)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def stand_in(compare, tmp_path, monkeypatch):
    """Replaces train.py; returns the calls of a configuration: run, whether it resumes, threads, process."""
    (tmp_path / "train.py").write_text(STAND_IN)
    monkeypatch.setattr(compare, "TRAIN", tmp_path / "train.py")

    def calls(name):
        file = tmp_path / "out" / name / "calls.txt"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    return calls


def finish(run, **evaluation):
    """The files that a finished run leaves."""
    run.folder.mkdir(parents=True)
    (run.folder / "recipe.yaml").write_text(yaml.safe_dump(run.source), encoding="utf-8")
    (run.folder / "evaluation.json").write_text(json.dumps(evaluation), encoding="utf-8")


def test_the_table_by_hand(write):
    names = {"one|two": {}, "some": {"training.max_steps": 1}, "none": {"training.max_steps": 2}}
    comparison = read_comparison(
        write(configurations=names, seeds=[0, 1, 2], columns=["iw_nll", "active_units", "minutes", "ppl"])
    )
    plain = {"kl_per_dimension": [1.0], "verdict": "used", "entropy": 30.5}
    measured = [(40.0, 3, 5.04), (42.0, 4, 5.04), (47.0, 4, 5.04)]
    for run, (nll, units, minutes) in zip(comparison.chosen(["one|two"]), measured, strict=True):
        finish(run, iw_nll=nll, active_units=units, minutes=minutes, **plain)
    finish(comparison.chosen(["some"], [1])[0], iw_nll=41.0, active_units=5, ppl=None)

    assert write_table(comparison).splitlines() == [
        "| configuration       |       iw_nll | active_units |   minutes | ppl |",
        "| ------------------- | -----------: | -----------: | --------: | --: |",
        "| one\\|two            | 43.00 ± 3.61 |    3.7 ± 0.6 | 5.0 ± 0.0 |   — |",
        "| some (1 of 3 seeds) |        41.00 |            5 |         — |   — |",
        "| none                |            — |            — |         — |   — |",
        "",
        "Mean ± sample standard deviation over seeds 0, 1, 2.",
        "Exact entropy of the test sentences: 30.50 nats per sentence.",
    ]
    assert (comparison.folder / "table.md").read_text(encoding="utf-8") == write_table(comparison) + "\n"
    first, second, third = json.loads((comparison.folder / "table.json").read_text())
    assert (first["name"], first["seeds"], len(first["runs"])) == ("one|two", [0, 1, 2], 3)
    assert first["mean"]["iw_nll"] == 43.0
    assert first["deviation"]["iw_nll"] == pytest.approx(13**0.5)
    assert first["runs"][2] == {"iw_nll": 47.0, "active_units": 4, "minutes": 5.04, **plain}
    assert (second["mean"], second["deviation"]) == ({"iw_nll": 41.0, "active_units": 5.0}, {})
    assert third == {"name": "none", "seeds": [], "runs": [], "mean": {}, "deviation": {}}


def test_a_number_that_is_not_finite_has_no_deviation(write):
    comparison = read_comparison(write())
    for run, ppl in zip(comparison.chosen(["none"]), (float("inf"), 9.0), strict=True):
        finish(run, ppl=ppl)
    assert rows(comparison)[0]["mean"] == {"ppl": float("inf")}
    assert rows(comparison)[0]["deviation"] == {}


FAULTS = {
    "an unknown key": ({"recipes": "x.yaml"}, "recipes: no such key; did you mean recipe?"),
    "a column": ({"columns": ["iw_nl"]}, "columns: no quantity iw_nl; did you mean iw_nll?"),
    "a type": ({"seeds": [0, "one"]}, "seeds.1: .*integer.*, got 'one'"),
    "no seed": ({"seeds": []}, "seeds: .*at least 1"),
    "no recipe": ({"recipe": "missing.yaml"}, "expected a recipe in .*missing.yaml"),
    "one folder": ({"configurations": {"a b": {}, "A-b": {}}}, "'a b' and 'A-b' would share the folder a-b"),
    "no name": ({"configurations": {"!": {}}}, "a name with letters or digits, got '!'"),
    "a value": (
        {"configurations": {"fine": {}, "odd": {"objective.free_bits": -1}}},
        "odd: .*free_bits: expected greater than or equal to 0, got -1",
    ),
    "a key of the recipe": (
        {"configurations": {"fine": {}, "odd": {"model.latent_sise": 3}}},
        "odd: .*did you mean latent_size?",
    ),
    "a seed of its own": (
        {"configurations": {"odd": {"training.seed": 3}}},
        "odd: training.seed cannot be set here",
    ),
}


@pytest.mark.parametrize(("keys", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named(write, keys, message):
    with pytest.raises(UserError, match=message) as caught:
        read_comparison(write(**keys))
    assert "fine" not in str(caught.value).split("mend: ")[1]


def test_all_faults_are_named_at_once_and_nothing_runs(compare, write, stand_in, capsys):
    configurations = {"fine": {}, "odd": {"objective.fre_bits": 1}, "strange": {"training.max_steps": "x"}}
    path = write(configurations=configurations, seed=[1])
    with pytest.raises(SystemExit) as end:
        compare.main([str(path)])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for words in ("3 to mend", "seed: no such key; did you mean seeds?", "odd: ", "free_bits", "strange: "):
        assert words in error
    assert stand_in("fine") == []


def test_each_run_is_run_once(compare, write, stand_in, monkeypatch, capsys):
    monkeypatch.setattr(compare.os, "cpu_count", lambda: 8)
    path = str(write())
    assert compare.main([path, "--only", "none", "--seeds", "3", "--processes", "2"]) == 0
    assert "| none (1 of 2 seeds) |" in capsys.readouterr().out
    assert compare.main([path, "--processes", "2"]) == 0
    assert [call[:3] for call in stand_in("none")] == [["seed3", "True", "4"], ["seed4", "True", "4"]]
    assert sorted(call[0] for call in stand_in("free-bits")) == ["seed3", "seed4"]

    capsys.readouterr()
    assert compare.main([path]) == 0
    said = capsys.readouterr().out
    assert "4 of 4 runs are finished" in said
    assert "started" not in said
    assert "| Free bits!    | 13.50 ± 0.71 |" in said
    assert len(stand_in("none")) + len(stand_in("free-bits")) == 4


def test_table_only_runs_nothing(compare, write, stand_in, capsys):
    assert compare.main([str(write()), "--table-only"]) == 0
    assert "| none          |      — |" in capsys.readouterr().out
    assert stand_in("none") == []


def test_an_override_goes_to_all_and_may_stand_anywhere(compare, write, stand_in):
    path = write()
    assert compare.main([str(path), "--only", "none", "--seeds", "5", "training.max_steps=4"]) == 0
    (run,) = read_comparison(path, ["training.max_steps=4"], [5]).chosen(["none"], [5])
    assert run.evaluation() == {"iw_nll": 5, "kl": 0.5}
    assert yaml.safe_load((run.folder / "recipe.yaml").read_text())["training"]["max_steps"] == 4


def test_values_of_every_kind_arrive(write):
    given = {
        "training.learning_rate": 1e-05,
        "model.initial_range": None,
        "corpus.train": "a: b, #c",
        "objective.kl_weight": {"schedule": "linear", "steps": 3},
        "corpus.sizes": [30, 20, 10],
    }
    source = read_comparison(write(configurations={"all": given})).runs[0].source
    assert source["training"]["learning_rate"] == 1e-05
    assert source["model"] == {"initial_range": None}
    assert source["corpus"] == {"train": "a: b, #c", "sizes": [30, 20, 10]}
    assert source["objective"]["kl_weight"] == {"schedule": "linear", "steps": 3}


def test_a_run_that_fails_is_reported_and_the_others_go_on(compare, write, stand_in, capsys):
    names = {"bad": {"objective.free_bits": 13}, "good": {"objective.free_bits": 2}}
    assert compare.main([str(write(configurations=names, seeds=[0]))]) == 1
    said = capsys.readouterr().out
    assert "failed    bad, seed 0" in said
    assert "seed0.log:\n    $ " in said
    assert "\n    the loss is not finite\n" in said
    assert "| good          |  20.00 |" in said
    assert "| bad           |      — |" in said


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_of_another_recipe_is_refused(compare, write, stand_in, capsys, finished):
    path = write()
    run = read_comparison(path).chosen(["none"], [4])[0]
    finish(run, iw_nll=1.0)
    if not finished:
        (run.folder / "evaluation.json").unlink()
    with pytest.raises(SystemExit) as end:
        compare.main([str(path), "training.max_steps=5"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert f"a run in {run.folder}: it has a different recipe (training.max_steps 3, now 5)" in error
    assert "delete it, or change output_dir" in error
    assert stand_in("none") == []


def test_a_recipe_that_changes_meanwhile_is_not_mixed_in(
    compare, write, stand_in, tmp_path, monkeypatch, capsys
):
    start = compare.start

    def change_and_start(*arguments):
        (tmp_path / "recipe.yaml").write_text(RECIPE.replace("max_steps: 3", "max_steps: 9"))
        return start(*arguments)

    monkeypatch.setattr(compare, "start", change_and_start)
    assert compare.main([str(write()), "--only", "none", "--seeds", "3"]) == 1
    said = capsys.readouterr().out
    assert "the recipe was changed during the run (training.max_steps 9, now 3)" in said
    assert "| none          |      — |" in said


def test_an_unknown_name_is_refused_with_the_nearest(compare, write, capsys):
    with pytest.raises(SystemExit):
        compare.main([str(write()), "--only", "non"])
    assert "no configuration non; did you mean none?" in capsys.readouterr().err


def test_a_run_is_trained_by_one_process_at_a_time(compare, write, stand_in, capsys):
    path = write()
    run = read_comparison(path).runs[0]
    run.folder.mkdir(parents=True)
    with compare.log_of(run).open("a") as log:
        compare.fcntl.flock(log, compare.fcntl.LOCK_EX)
        with pytest.raises(SystemExit):
            compare.main([str(path)])
    assert "none, seed 3 is being trained by another process" in capsys.readouterr().err
    assert compare.main([str(path)]) == 0


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_its_end_is_that_of_its_processes_and_it_goes_on(compare, write, stand_in, tmp_path, monkeypatch):
    path = write(configurations={"long": {"training.max_steps": 666}}, seeds=[0])
    script = shutil.copy(FOLDER / "compare.py", tmp_path)
    monkeypatch.setattr(sys, "argv", [script, str(path)])

    def end_when_it_trains():
        until = time.monotonic() + 200
        while not stand_in("long") and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda *_: None)
    threading.Thread(target=end_when_it_trains).start()
    try:
        with pytest.raises(SystemExit) as end:
            runpy.run_path(script, run_name="__main__")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert end.value.code == 128 + signal.SIGTERM
    ((_, resumes, _, number),) = stand_in("long")
    assert resumes == "True"
    assert not alive(int(number))

    # The substitute no longer sleeps, and the run in the folder continues.
    (tmp_path / "train.py").write_text(STAND_IN.replace("== 666", "== 667"))
    assert compare.main([str(path)]) == 0
    assert [call[0] for call in stand_in("long")] == ["seed0", "seed0"]


@pytest.mark.slow
def test_the_real_script_trains_and_goes_on_from_a_checkpoint(compare, tmp_path, capsys):
    sentences = tmp_path / "sentences.txt"
    nouns = ["cat", "dog", "nurse", "singer", "boat"]
    sentences.write_text(
        "\n".join(f"the {a} saw the {b} today" for a in nouns for b in nouns), encoding="utf-8"
    )
    path = tmp_path / "comparison.yaml"
    small = {"model.embedding_size": 8, "model.hidden_size": 12, "tokenizer.vocabulary_size": None}
    text = {
        "recipe": str(FOLDER / "demo.yaml"),
        "output_dir": str(tmp_path / "out"),
        "configurations": {"small": small},
        "columns": ["iw_nll", "ppl", "minutes"],
    }
    path.write_text(yaml.safe_dump(text), encoding="utf-8")
    words = [str(path), *(f"corpus.{split}={sentences}" for split in ("train", "validation", "test"))]
    words += ["training.max_steps=3", "training.warmup_steps=0", "evaluation.samples=3"]
    words += ["training.save_steps=1", "training.eval_steps=1", "training.per_device_train_batch_size=8"]
    assert compare.main(words) == 0, capsys.readouterr().out
    folder = tmp_path / "out" / "small" / "seed0"
    first = json.loads((folder / "evaluation.json").read_text())
    assert f"{first['iw_nll']:.2f}" in (tmp_path / "out" / "table.md").read_text()

    # As if the run had been killed while it wrote the last checkpoint.
    (folder / "evaluation.json").unlink()
    (folder / "model.safetensors").unlink()
    (folder / "checkpoint-3" / "trainer_state.json").unlink()
    assert compare.main(words) == 0, capsys.readouterr().out
    assert "started   small, seed 0  from checkpoint-2" in capsys.readouterr().out
    again = json.loads((folder / "evaluation.json").read_text())
    assert again["iw_nll"] == pytest.approx(first["iw_nll"], rel=1e-4)


@pytest.mark.parametrize("path", COMPARISONS, ids=lambda path: path.stem)
def test_the_comparisons_are_whole(path):
    comparison = read_comparison(path)
    assert len(comparison.runs) == len(comparison.names) * len(comparison.seeds)
    header = path.read_text(encoding="utf-8").split("\nrecipe:")[0]
    assert f"python recipes/language_model/compare.py recipes/language_model/cures/{path.name}" in header
