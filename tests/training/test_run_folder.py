"""A run folder loses no files, has one training at a time, and never silently becomes another run."""

import hashlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from copy import deepcopy
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from pathlib import Path

import datasets
import pytest
import tiny
import yaml
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value, concatenate_datasets
from safetensors.torch import load_file, save_file

from textvae.interfaces.text_vae import TextVAE
from textvae.interfaces.translator import Translator
from textvae.models.checkpoint import last_whole_checkpoint
from textvae.support.errors import UserError
from textvae.training import run_folder
from textvae.training.arguments import TextVAETrainingArguments
from textvae.training.recipe import read_recipe
from textvae.training.record import MAY_CHANGE, ROWS, Record, differences, digest
from textvae.training.run import run
from textvae.training.run_folder import RunFolder

STEP = 8
CORPUS = DatasetDict({split: Dataset.from_dict({"text": ["a b", "c"]}) for split in ("train", "validation")})
TOKENIZER = ["tokenizer.json", "tokenizer_config.json"]
STATE = ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin"]
CHECKPOINT = [*TOKENIZER, *STATE, "config.json", "model.safetensors"]
STAGE = [
    "config.json",
    "model.safetensors",
    "curves.png",
    *(f"checkpoint-4/{name}" for name in CHECKPOINT),
    *(f"checkpoint-12/{name}" for name in [*CHECKPOINT, "scaler.pt", "rng_state_0.pth", "rng_state_1.pth"]),
    f".{'0' * 31}a.partial/model.safetensors",
    "runs/Jan01_00-00-00_host/events.out.tfevents.17.host.1.0",
]
RUN = [
    "recipe.yaml",
    "run.json",
    "evaluation.json",
    "priors/mixture.safetensors",
    *TOKENIZER,
    *STAGE,
    *(f"source/{name}" for name in [*TOKENIZER, f".{'0' * 31}b.partial/tokenizer.json"]),
    *(f"pretraining/{name}" for name in [*STAGE, "pretraining.json"]),
]
OF_OTHERS = [
    "thesis.tex",
    "map.png",
    ".git/config",
    "corpus.txt",
    "config.json.bak",
    "model.safetensors.index",
    "curves.png/figure.pdf",  # a folder with the name of a run's file
    "checkpoint-4/notes.txt",
    "checkpoint-4-best/model.safetensors",
    "checkpoint-best/model.safetensors",
    "source/main.py",
    "runs/a/model.safetensors",
    "runs/b/evaluation.json",
    "pretraining/thesis.tex",
    "pretraining/tokenizer.json",
    "priors/raw.csv",
    "sample_quality/500-0/data/model.safetensors",
]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(run_folder, "PATIENCE", 0.0)


def recipe_of(folder, **sections):
    return {
        "corpus": {"train": "a.txt"},
        "model": {"latent_size": 2},
        "training": {"output_dir": str(folder)},
    } | sections


def fill(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def begun(folder, names=(), **sections):
    """A folder in which a run has begun, with more files added."""
    place = RunFolder(folder, recipe_of(folder, **sections), STEP)
    folder.mkdir(exist_ok=True)
    place.begin(CORPUS, resume=False)
    fill(folder, names)
    return place


def listing(folder):
    """All files, links and empty folders."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir() or not any(path.iterdir())
    )


# ---- what is deleted


def test_all_that_a_run_writes_is_deleted_and_nothing_else(tmp_path):
    others = [name for name in OF_OTHERS if not name.startswith("curves.png")]
    place = begun(tmp_path, [name for name in [*RUN, *others] if name not in ("recipe.yaml", "run.json")])
    place.check(resume=False, overwrite=True)
    assert listing(tmp_path) == sorted({*RUN, *others})
    place.begin(CORPUS, resume=False)
    assert listing(tmp_path) == sorted(["recipe.yaml", "run.json", *others])
    assert all((tmp_path / name).read_text() == name for name in others)


@pytest.mark.parametrize("name", OF_OTHERS)
def test_what_is_of_others_stays(tmp_path, name):
    begun(tmp_path, [name]).begin(CORPUS, resume=False)
    assert listing(tmp_path) == sorted(["recipe.yaml", "run.json", name])


@pytest.mark.parametrize("name", [name for name in RUN if name not in ("recipe.yaml", "run.json")])
def test_each_thing_that_a_run_writes_is_deleted(tmp_path, name):
    begun(tmp_path, [name]).begin(CORPUS, resume=False)
    assert listing(tmp_path) == ["recipe.yaml", "run.json"]


def test_a_link_is_deleted_and_what_it_leads_to_stays(tmp_path):
    elsewhere = fill(tmp_path / "disk", ["checkpoint/config.json", "weights"])
    place = begun(tmp_path / "run")
    (place.path / "checkpoint-4").symlink_to(elsewhere / "checkpoint")
    (place.path / "model.safetensors").symlink_to(elsewhere / "weights")
    place.begin(CORPUS, resume=False)
    assert listing(place.path) == ["recipe.yaml", "run.json"]
    assert listing(elsewhere) == ["checkpoint/config.json", "weights"]


class Killed(BaseException):
    """Simulates a signal that ends the process."""


@pytest.mark.parametrize("deletions", [0, 1, 5, 20])
def test_a_run_whose_deletion_was_interrupted_is_still_one(tmp_path, monkeypatch, deletions):
    place = begun(tmp_path, [*STAGE, *TOKENIZER, "thesis.tex"])
    (tmp_path / "run.json").unlink()  # as in a run of an earlier version
    unlink, done = type(tmp_path).unlink, []

    def fatal(path, **options):
        # Do not count hidden files, which are temporary files of replaced ones.
        if not path.name.startswith("."):
            if len(done) == deletions:
                raise Killed
            done.append(path)
        unlink(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "unlink", fatal)
        with pytest.raises(Killed):
            place.begin(CORPUS, resume=False)
    assert place.is_run
    assert (tmp_path / "thesis.tex").exists()
    place.check(resume=False, overwrite=True)
    place.begin(CORPUS, resume=False)
    assert listing(tmp_path) == ["recipe.yaml", "run.json", "thesis.tex"]


def test_what_a_killed_save_has_left_behind_goes(tmp_path):
    left = [name for name in RUN if ".partial/" in name]
    others = [name for name in RUN if name not in left] + [".partial/model.safetensors"]
    place = begun(tmp_path, [name for name in [*left, *others] if name not in ("recipe.yaml", "run.json")])
    place.begin(CORPUS, resume=True)
    assert listing(tmp_path) == sorted(others)
    assert len(left) == 3


# ---- what is refused

NOTHING, RESUME, OVERWRITE = (
    {"resume": False, "overwrite": False},
    {"resume": True, "overwrite": False},
    {"resume": False, "overwrite": True},
)
SOMETHING_ELSE = r"expected an empty folder or one that holds a run, got .* with other files \("
HOLDS_A_RUN = r"expected a new run folder, got .*, which holds a run: pass --resume"
NO_CHECKPOINT = "expected a complete checkpoint in .* to resume from, got "


@pytest.mark.parametrize("how", [NOTHING, RESUME, OVERWRITE], ids=["new", "resume", "overwrite"])
@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["thesis.tex"], "thesis.tex"),
        (["a/model.safetensors", "b/recipe.yaml"], "a, b"),
        (["1", "2", "3", "4"], r"1, 2, 3, \.\.\."),
        (["config.json", "model.safetensors", *TOKENIZER], "config.json, model.safetensors"),  # another model
        (["checkpoint-4/model.safetensors"], "checkpoint-4"),
        (["recipe.yaml"], "recipe.yaml"),  # a recipe of somebody else
        (["source/main.py"], "source"),
        (["runs/a/config.json"], "runs"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_folder_with_something_else_is_refused_whatever_is_said(tmp_path, how, names, named):
    fill(tmp_path, names)
    with pytest.raises(UserError, match=f"{SOMETHING_ELSE}{named}"):
        RunFolder(tmp_path, recipe_of(tmp_path), STEP).check(**how)
    assert listing(tmp_path) == sorted(names)
    assert all((tmp_path / name).read_text() == name for name in names)


@pytest.mark.parametrize(
    ("names", "how", "message"),
    [
        ([], NOTHING, None),
        ([".git/config", ".DS_Store"], NOTHING, None),
        (TOKENIZER, RESUME, None),  # the run uses this tokenizer
        (TOKENIZER, NOTHING, SOMETHING_ELSE),
        (TOKENIZER, OVERWRITE, SOMETHING_ELSE),
    ],
)
def test_a_folder_without_a_run(tmp_path, names, how, message):
    fill(tmp_path, names)
    place = RunFolder(tmp_path, recipe_of(tmp_path), STEP)
    if message is None:
        place.check(**how)
    else:
        with pytest.raises(UserError, match=message):
            place.check(**how)


def test_the_recipe_itself_may_lie_in_the_folder_and_stays_as_it_is(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(f"# mine\n{yaml.safe_dump(recipe_of(tmp_path))}")
    before = file.read_text()
    place = RunFolder(tmp_path, recipe_of(tmp_path), STEP)
    place.check(**NOTHING)
    place.begin(CORPUS, resume=False)
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("names", "how", "message"),
    [
        ([], NOTHING, None),
        (TOKENIZER, NOTHING, None),  # killed before it had results
        (["checkpoint-4/config.json"], NOTHING, HOLDS_A_RUN),
        (["model.safetensors"], NOTHING, HOLDS_A_RUN),
        (["evaluation.json"], NOTHING, HOLDS_A_RUN),
        (["pretraining/checkpoint-4/config.json"], NOTHING, HOLDS_A_RUN),
        (["pretraining/config.json"], NOTHING, HOLDS_A_RUN),
        ([*RUN, "thesis.tex"], OVERWRITE, None),
        ([], RESUME, None),
        (["checkpoint-4/model.safetensors"], RESUME, None),  # killed while it wrote its first checkpoint
        (["checkpoint-4/trainer_state.json"], RESUME, f"{NO_CHECKPOINT}only parts of checkpoint-4: copy"),
        (["model.safetensors"], RESUME, None),
        (
            ["model.safetensors", "evaluation.json"],
            RESUME,
            f"{NO_CHECKPOINT}a finished run without one: copy",
        ),
    ],
)
def test_a_folder_with_a_run(tmp_path, names, how, message):
    place = begun(tmp_path, [name for name in names if name not in ("recipe.yaml", "run.json")])
    before = listing(tmp_path)
    if message is None:
        place.check(**how)
    else:
        with pytest.raises(UserError, match=message):
            place.check(**how)
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("section", "key", "value", "refused"),
    [
        ("model", "start_from", "{run}", True),
        ("model", "start_from", "{run}/checkpoint-4", True),
        ("model", "encoder", {"start_from": "{run}/pretraining/"}, True),
        ("corpus", "train", {"source": "{run}/evaluation.json", "target": "b"}, True),
        ("corpus", "train", ["a.txt", "{run}/../run/evaluation.json"], True),
        ("corpus", "train", "{run}/corpus.txt", False),
        ("model", "start_from", "{run}-2", False),
        ("model", "start_from", "~nobody/\0", False),
        ("model", "start_from", "{run}/sample_quality", False),
    ],
)
def test_what_the_recipe_reads_is_not_deleted(tmp_path, section, key, value, refused):
    def placed(value):
        if isinstance(value, dict):
            return {name: placed(inner) for name, inner in value.items()}
        return (
            [placed(inner) for inner in value]
            if isinstance(value, list)
            else value.format(run=tmp_path / "run")
        )

    place = begun(tmp_path / "run", [*RUN[2:], "corpus.txt", "sample_quality/config.json"])
    recipe = deepcopy(place.recipe)
    recipe[section][key] = placed(value)
    again = RunFolder(place.path, recipe, STEP)
    if not refused:
        again.check(**OVERWRITE)
        return
    with pytest.raises(
        UserError, match=rf"expected {section}\.{key}.* outside of the run that is overwritten"
    ):
        again.check(**OVERWRITE)


# ---- one training at a time

HOLDER = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_one_training_at_a_time_and_a_killed_one_does_not_count(tmp_path):
    place = RunFolder(tmp_path / "run", recipe_of(tmp_path), STEP)
    place.path.mkdir()
    command = [sys.executable, "-c", HOLDER, str(place.path / run_folder.LOCK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        with (
            pytest.raises(
                UserError, match=r"expected one training at a time in .*, got another that is still running"
            ),
            place.locked(),
        ):
            pass
        holder.kill()
    assert holder.returncode == -signal.SIGKILL
    assert listing(place.path) == [".lock"]
    with place.locked():
        assert listing(place.path) == [".lock"]
    assert listing(place.path) == []


def test_two_trainings_of_one_process_are_two(tmp_path):
    first, second = (RunFolder(tmp_path, recipe_of(tmp_path), STEP) for _ in range(2))
    with first.locked(), pytest.raises(UserError, match="one training at a time"), second.locked():
        pass


@pytest.mark.parametrize("there", [0, 1, 2], ids=["new", "new in a folder", "old"])
def test_a_folder_to_which_nothing_was_written_goes_again(tmp_path, there):
    path = tmp_path / "runs" / "a"
    before = (tmp_path, path.parent, path)[there]
    before.mkdir(exist_ok=True, parents=True)
    with pytest.raises(KeyError), RunFolder(path, recipe_of(path), STEP).locked():
        raise KeyError
    assert before.exists()
    assert listing(tmp_path) == [str(before.relative_to(tmp_path))] * (there > 0)
    with RunFolder(path, recipe_of(path), STEP).locked():
        fill(path, ["kept"])
    assert listing(path) == ["kept"]


@pytest.mark.parametrize("path", ["file", "file/run", "link", "loop"])
def test_an_output_place_that_is_none_is_named(tmp_path, path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = listing(tmp_path)
    place = RunFolder(tmp_path / path, recipe_of(tmp_path), STEP)
    with (
        pytest.raises(UserError, match=r"expected a folder that can be written to, got .* \(.*\): set"),
        place.locked(),
    ):
        pass
    assert listing(tmp_path) == before


# ---- resuming

STORED = {
    "corpus": {"train": "a.txt", "seed": 1},
    "tokenizer": {"vocabulary_size": 100},
    "model": {"latent_size": 2, "encoder": {"kind": "lstm"}, "dilations": [1, 2]},
    "objective": {"target_rate": 4},
    "training": {"output_dir": "runs/a", "learning_rate": 0.001, "max_steps": 3, "seed": 7},
    "evaluation": {"samples": 3},
    "pretraining": {"training": {"max_steps": 2}},
}
ROWS_OF = {"train": "1", "validation": "2"}
STREAM = {"train": None, "validation": None}
HIDDEN = "not given"


def changed(**values):
    """`STORED` with these values; __ in a key stands for a dot, and the value `HIDDEN` removes the key."""
    recipe = deepcopy(STORED)
    for key, value in values.items():
        *parents, name = key.split("__")
        place = recipe
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is HIDDEN:
            del place[name]
        else:
            place[name] = value
    return recipe


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({}, []),
        ({"training__max_steps": 9}, []),
        ({"training__num_train_epochs": 9}, []),
        ({"training__output_dir": "moved"}, []),
        ({"training__eval_steps": 1, "training__save_steps": 1, "training__logging_steps": 1}, []),
        ({"training__eval_strategy": "steps", "training__save_strategy": "steps"}, []),
        ({"training__save_total_limit": 1, "training__early_stopping_patience": 4}, []),
        ({"evaluation__samples": 9, "evaluation__translation": {"num_beams": 2}}, []),
        ({"evaluation": HIDDEN}, []),
        ({"evaluation": None}, []),
        ({"training__report_to": "tensorboard", "training__run_name": "one"}, []),
        ({"corpus__train": "b.txt", "corpus__seed": 3, "corpus__streaming": False}, []),  # the same rows
        ({"corpus__test": "c.txt"}, []),
        ({"training__learning_rate": "1e-3"}, []),
        ({"training__gradient_accumulation_steps": 2}, []),  # the same number of sentences per step
        ({"training__learning_rate": 0.1}, ["training.learning_rate 0.001, now 0.1"]),
        ({"training__seed": 8}, ["training.seed 7, now 8"]),
        ({"training__seed": HIDDEN}, ["training.seed 7, now not given"]),
        ({"training__optim": "sgd"}, ["training.optim not given, now sgd"]),
        (
            {"training__load_best_model_at_end": False},
            ["training.load_best_model_at_end not given, now False"],
        ),
        (
            {"training__per_device_train_batch_size": 4},
            ["training.per_device_train_batch_size not given, now 4"],
        ),
        ({"objective__target_rate": 8}, ["objective.target_rate 4, now 8"]),
        ({"tokenizer__vocabulary_size": None}, ["tokenizer.vocabulary_size 100, now None"]),
        ({"model__encoder__kind": "convolution"}, ["model.encoder.kind lstm, now convolution"]),
        (
            {"model__encoder": "convolution"},
            ["model.encoder.kind lstm, now not given", "model.encoder not given, now convolution"],
        ),
        ({"model__dilations": [1, 4]}, ["model.dilations [1, 2], now [1, 4]"]),
        ({"pretraining__training__max_steps": 3}, ["pretraining.training.max_steps 2, now 3"]),
        ({"pretraining": HIDDEN}, ["pretraining.training.max_steps 2, now not given"]),
        (
            {"model__latent_size": 3, "training__max_steps": 9, "training__seed": 0},
            ["model.latent_size 2, now 3", "training.seed 7, now 0"],
        ),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_what_may_change_is_named_and_all_else_is_refused(values, found):
    record, recipe = Record(None, ROWS_OF, STEP), changed(**values)
    present = replace(record, test=recipe["corpus"].get("test"))
    assert differences(record, present, STORED, recipe) == found


@pytest.mark.parametrize(
    ("record", "present", "values", "found"),
    [
        ({}, {"rows": {"train": "3", "validation": "2"}}, {}, ["different rows in train"]),
        ({}, {"rows": {"train": "1", "validation": "3"}}, {}, ["different rows in validation"]),
        ({}, {"step": 16}, {}, ["sentences in a step 8, now 16"]),
        (
            {"step": None},
            {},
            {"training__gradient_accumulation_steps": 2},
            ["training.gradient_accumulation_steps not given, now 2"],
        ),
        ({}, {"rows": STREAM}, {}, ["different rows in train", "different rows in validation"]),
        (
            {},
            {"rows": {"train": "3", "validation": "2"}},
            {"corpus__train": "b.txt"},
            ["different rows in train", "corpus.train a.txt, now b.txt"],
        ),
        # If the rows are unknown, the keys of the corpus are compared.
        ({"rows": STREAM}, {"rows": STREAM}, {}, []),
        ({"rows": STREAM}, {"rows": STREAM}, {"corpus__train": "b.txt"}, ["corpus.train a.txt, now b.txt"]),
        ({"rows": {}}, {}, {"corpus__seed": 2}, ["corpus.seed 1, now 2"]),
        ({"rows": STREAM}, {"rows": STREAM, "test": "c.txt"}, {"corpus__test": "c.txt"}, []),
    ],
)
def test_what_a_run_began_with_beside_its_recipe(record, present, values, found):
    known = Record(None, ROWS_OF, STEP)
    assert (
        differences(replace(known, **record), replace(known, **present), STORED, changed(**values)) == found
    )


def test_a_test_split_is_not_taken_from_what_a_stream_was_trained_on():
    record = Record("c.txt", STREAM, STEP)
    found = differences(record, replace(record, test=None), changed(corpus__test="c.txt"), STORED)
    assert found == ["corpus.test c.txt, now not given"]


def test_each_key_that_may_change_exists():
    keys = {f"training.{field.name}" for field in fields(TextVAETrainingArguments)} | {
        "evaluation",
        "evaluation.samples",
    }
    assert not [pattern for pattern in MAY_CHANGE if not any(fnmatchcase(key, pattern) for key in keys)]


LABELS = ["x", "y"]
TEXT = Features({"text": Value("string")})


def rows(*texts, **columns):
    return Dataset.from_dict({"text": list(texts), **columns})


def labelled(*labels, names=LABELS):
    kinds = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    return Dataset.from_dict({"text": ["a"] * len(labels), "label": list(labels)}, kinds)


def dialogues(*said):
    return Dataset.from_dict({"dialogue": list(said)}, Features({"dialogue": List(Value("string"))}))


MANY = [f"sentence {number}" for number in range(2 * ROWS + 5)]


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (rows("a", "b"), rows("a", "b"), True),
        (rows("a", "b", "c").select([0, 1]), rows("a", "b"), True),
        (rows("b", "a").select([1, 0]), rows("a", "b"), True),
        (concatenate_datasets([rows("a"), rows("b")]), rows("a", "b"), True),
        (rows("ä", "😀"), rows("ä", "😀"), True),
        (rows("a", "b"), rows("b", "a"), False),
        (rows("a", "b"), rows("a"), False),
        (rows("a", "b"), rows("a", "b", "b"), False),
        (rows("ab", "c"), rows("a", "bc"), False),
        (rows("a", ""), rows("", "a"), False),
        (rows("a", None), rows("a", ""), False),
        (rows(*MANY), rows(*MANY), True),
        (rows(*MANY), rows(*MANY[:-1], "another"), False),
        (rows(*MANY), rows("another", *MANY[1:]), False),
        (rows("a", target=["b"]), rows("a", target=["c"]), False),
        (rows("a", target=["b"]), rows("a", source=["b"]), False),
        (rows("a", number=[1.5]), rows("a", number=[1.25]), False),
        (labelled(0, 1), labelled(0, 1), True),
        (labelled(0, 1), labelled(1, 1), False),
        (labelled(0, None), labelled(0, 0), False),
        (labelled(0, 1), labelled(0, 1, names=["y", "x"]), False),
        (dialogues(["a", "b"], ["c"]), dialogues(["a", "b"], ["c"]), True),
        (dialogues(["a", "b"], ["c"]), dialogues(["a"], ["b", "c"]), False),
        (Dataset.from_dict({"text": []}, TEXT), Dataset.from_dict({"text": []}, TEXT), True),
        (Dataset.from_dict({"text": []}, TEXT), rows(""), False),
    ],
)
def test_a_digest_is_of_the_rows_alone(one, other, equal):
    assert (digest(one) == digest(other)) is equal


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_a_digest_of_drawn_rows_is_that_of_the_rows(monkeypatch, at_once):
    """For rows at any distance and in any order."""
    monkeypatch.setattr("textvae.training.record.ROWS", at_once)
    pieces = [rows(*MANY[start : start + 100]) for start in range(0, 500, 100)]
    drawn = concatenate_datasets(pieces).shuffle(seed=0).select(range(0, 400, 3))
    for order in (drawn, drawn.select(range(133, -1, -1)), drawn.select([5, 5, 130])):
        assert digest(order) == digest(rows(*order["text"]))


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """A folder with two corpora, of 40 and of 9 sentences."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for name, count in (("train", 40), ("other", 9)):
        (tmp_path / f"{name}.txt").write_text("".join(f"{name} {number}\n" for number in range(count)))
    return tmp_path


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_that_were_held_out_stay_so_when_another_test_split_comes(texts, streaming):
    corpus = {"train": str(texts / "train.txt"), "validation_size": 4, "test_size": 6, "streaming": streaming}
    place = RunFolder(texts / "run", recipe_of(texts / "run", corpus=corpus), STEP)
    place.path.mkdir()
    before = place.read_corpus(corpus, resume=False)
    place.begin(before, resume=False)
    more = {**corpus, "test": str(texts / "other.txt")}
    for _ in range(2):
        again = RunFolder(place.path, recipe_of(place.path, corpus=more), STEP)
        found = again.read_corpus(more, resume=True)
        for split in ("train", "validation"):
            assert [row["text"] for row in found[split]] == [row["text"] for row in before[split]]
        assert [row["text"] for row in found["test"]] == [f"other {number}" for number in range(9)]
        again.compare(found)
        again.begin(found, resume=True)
        assert yaml.safe_load((place.path / "recipe.yaml").read_text())["corpus"] == more
    assert len(list(again.read_corpus(more, resume=False)["train"])) == 36, "which is another run"
    place.compare(place.read_corpus(corpus, resume=True))


def test_rows_that_were_trained_on_are_not_drawn_for_a_test(texts):
    corpus = {"train": str(texts / "train.txt"), "test": str(texts / "other.txt"), "validation_size": 4}
    place = RunFolder(texts / "run", recipe_of(texts / "run", corpus=corpus), STEP)
    place.path.mkdir()
    place.begin(place.read_corpus(corpus, resume=False), resume=False)
    drawn = {name: value for name, value in corpus.items() if name != "test"} | {"test_size": 6}
    again = RunFolder(place.path, recipe_of(place.path, corpus=drawn), STEP)
    with pytest.raises(
        UserError, match=r"got different rows in train; .*corpus\.test .*other\.txt, now not given"
    ):
        again.compare(again.read_corpus(drawn, resume=True))


def test_the_same_rows_from_another_file_are_the_same_corpus_and_a_changed_file_is_another(texts):
    corpus = {"train": str(texts / "train.txt"), "validation_size": 4, "test_size": 6}
    place = RunFolder(texts / "run", recipe_of(texts / "run", corpus=corpus), STEP)
    place.path.mkdir()
    place.begin(place.read_corpus(corpus, resume=False), resume=False)
    moved = (texts / "train.txt").rename(texts / "moved.txt")
    corpus = corpus | {"train": str(moved)}
    again = RunFolder(place.path, recipe_of(place.path, corpus=corpus), STEP)
    again.compare(again.read_corpus(corpus, resume=True))
    moved.write_text(moved.read_text().replace("train 7", "train seven"))
    with pytest.raises(
        UserError,
        match=r"began with, got different rows in (train|validation|train; different rows in .*); corp",
    ):
        again.compare(again.read_corpus(corpus, resume=True))


@pytest.mark.parametrize("name", ["recipe.yaml", "run.json"])
@pytest.mark.parametrize("content", ["{", "[1]", "3"])
def test_a_damaged_record_is_named(tmp_path, name, content):
    place = begun(tmp_path, ["checkpoint-4/config.json"])
    (tmp_path / name).write_text(content)
    with pytest.raises(
        UserError, match=rf"expected {name} in .* as training wrote it, got no file or a damaged one"
    ):
        place.compare(CORPUS)
    place.check(**OVERWRITE)


def test_a_run_of_an_earlier_version_goes_on_and_is_recorded(tmp_path):
    place = begun(tmp_path, ["tokenizer.json", "checkpoint-4/config.json"])
    (tmp_path / "run.json").unlink()
    place.compare(CORPUS)
    with pytest.raises(UserError, match=r"got model\.latent_size 2, now 3: undo"):
        RunFolder(tmp_path, recipe_of(tmp_path, model={"latent_size": 3}), STEP).compare(CORPUS)
    place.begin(CORPUS, resume=True)
    assert json.loads((tmp_path / "run.json").read_text())["rows"]["train"] == digest(CORPUS["train"])
    with pytest.raises(UserError, match="got sentences in a step 8, now 9"):
        RunFolder(tmp_path, recipe_of(tmp_path), 9).compare(CORPUS)


# ---- whole runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a recipe and its finished run in run/."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "text.txt").write_text("".join(f"a{number % 7} b{number % 5}\n" for number in range(60)))
    recipe = {
        "corpus": {"train": str(folder / "text.txt"), "validation_size": 8, "test_size": 8},
        "tokenizer": {"kind": "words"},
        "model": {"latent_size": 2, "embedding_size": 4, "hidden_size": 4},
        "objective": {"target_rate": 1.0},
        "training": {
            "output_dir": str(folder / "run"),
            "max_steps": 2,
            "per_device_train_batch_size": 8,
            "eval_strategy": "steps",
            "eval_steps": 1,
            "save_strategy": "steps",
            "save_steps": 1,
            "use_cpu": True,
        },
        "evaluation": {"samples": 1},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        run(read_recipe(folder / "recipe.yaml"), quiet=True)
        yield folder


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the run that the test may change, and the contents of its files."""
    folder = shutil.copytree(finished / "run", tmp_path / "run")
    (folder / "notes.txt").write_text("mine")
    return folder


def read(finished, folder, *overrides):
    return read_recipe(finished / "recipe.yaml", [f"training.output_dir={folder}", *overrides])


def contents(folder):
    return {name: (folder / name).read_bytes() for name in listing(folder)}


def test_a_finished_run_holds_what_a_run_writes(finished):
    assert listing(finished / "run") == sorted(
        [
            *(f"checkpoint-{step}/{name}" for step in (1, 2) for name in CHECKPOINT),
            *TOKENIZER,
            *("recipe.yaml", "run.json", "config.json", "model.safetensors", "curves.png", "evaluation.json"),
        ]
    )


FAULTS = {
    "corpus": ["corpus.train=missing.txt"],
    "columns": ["corpus.columns={text: nothing}"],
    "sizes": ["corpus.test_size=100"],
    "start": ["model.start_from=./nowhere"],
    "classes": ["model.posterior={kind: classes}", "model.prior={kind: classes}"],
    "precision": ["training.fp16=true", "training.bf16=true"],
    "its own weights": ["model.start_from={run}/checkpoint-2"],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_deleted_for_a_run_that_cannot_begin(finished, copy, fault):
    before = contents(copy)
    with pytest.raises(UserError, match=r"^(expected|training|.*recipe.yaml: 1 to mend: training)"):
        run(
            read(finished, copy, *(value.replace("{run}", str(copy)) for value in FAULTS[fault])),
            overwrite=True,
            quiet=True,
        )
    assert contents(copy) == before


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "its own weights"])
def test_nothing_is_written_for_a_run_that_cannot_begin(finished, tmp_path, fault):
    with pytest.raises(UserError, match=r"^(expected|training|.*recipe.yaml: 1 to mend: training)"):
        run(read(finished, tmp_path / "runs" / "a", *FAULTS[fault]), quiet=True)
    assert listing(tmp_path) == []


def test_a_run_is_overwritten_and_other_files_stay(finished, copy):
    before = contents(copy)
    (copy / "checkpoint-99").mkdir()
    run(read(finished, copy, "training.max_steps=1"), overwrite=True, quiet=True)
    after = contents(copy)
    assert after.keys() == {name for name in before if not name.startswith("checkpoint-2/")}
    assert after["notes.txt"] == b"mine"


def test_a_run_is_not_resumed_and_overwritten(finished, copy):
    before = contents(copy)
    with pytest.raises(UserError, match="expected resume or overwrite, got both: leave one out"):
        run(read(finished, copy), resume=True, overwrite=True)
    assert contents(copy) == before


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["model.hidden_size=5"], "model.hidden_size 4, now 5"),
        (["model.encoder.kind=bag_of_words"], "model.encoder.kind not given, now bag_of_words"),
        (["objective.target_rate=2"], "objective.target_rate 1.0, now 2"),
        (["training.learning_rate=1"], "training.learning_rate not given, now 1"),
        (["training.seed=1"], "training.seed not given, now 1"),
        (["tokenizer.minimum_count=2"], "tokenizer.minimum_count not given, now 2"),
        (
            ["corpus.seed=1"],
            "different rows in train; different rows in validation; corpus.seed not given, now 1",
        ),
        (["training.per_device_train_batch_size=4"], "sentences in a step 8, now 4"),
        (["training.gradient_accumulation_steps=2"], "sentences in a step 8, now 16"),
    ],
)
def test_a_run_does_not_go_on_as_another(finished, copy, overrides, named):
    before = contents(copy)
    with pytest.raises(UserError, match=f"recipe and the corpus that the run in .* began with, got {named}"):
        run(read(finished, copy, "training.max_steps=4", *overrides), resume=True, quiet=True)
    assert contents(copy) == before


def test_the_recipe_of_a_run_that_goes_on_is_that_of_its_last_call(finished, copy):
    (finished / "other.txt").write_text("a1 b1\na2 b2\n")
    more = ["training.max_steps=3", "evaluation.samples=2", f"corpus.test={finished / 'other.txt'}"]
    result = run(read(finished, copy, *more), resume=True, quiet=True)
    assert last_whole_checkpoint(copy).name == "checkpoint-3"
    stored = read_recipe(copy / "recipe.yaml")
    assert stored == read(finished, copy, *more)
    assert (result.sentences, result.iw_samples) == (2, 2)


def test_a_training_keeps_others_out_of_its_folder(finished, copy):
    before = contents(copy)
    with RunFolder(copy, {}, 1).locked():
        for how in (RESUME, OVERWRITE):
            with pytest.raises(UserError, match="expected one training at a time"):
                run(read(finished, copy), **how)
    assert contents(copy) == before


# ---- what counts as complete

TEXT_VAE = ["config.json", "model.safetensors", *TOKENIZER]


def complaint(load, folder):
    with pytest.raises(UserError) as caught:
        load(folder)
    return str(caught.value)


@pytest.mark.parametrize("checkpoints", [True, False])
@pytest.mark.parametrize("name", TEXT_VAE)
def test_half_a_run_names_what_is_missing_in_one_line(copy, name, checkpoints):
    for checkpoint in [] if checkpoints else copy.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    (copy / name).unlink()
    assert re.fullmatch(
        rf"expected .*\b{re.escape(name)}\b.*: copy .*", complaint(TextVAE.from_pretrained, copy)
    )


@pytest.mark.parametrize("name", [*TEXT_VAE, *(f"source/{name}" for name in TOKENIZER)])
def test_half_a_translation_run_names_what_is_missing_in_one_line(tmp_path, name):
    model = tiny.seq2seq(source_vocab_size=tiny.VOCABULARY)
    Translator(model, tiny.tokenizer(), tiny.tokenizer()).save_pretrained(tmp_path)
    (tmp_path / name).unlink()
    said = complaint(Translator.from_pretrained, tmp_path)
    assert re.fullmatch(rf"expected .*\b{re.escape(Path(name).name)}\b.*: copy .*", said)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_refused(copy, value):
    weights = load_file(copy / "model.safetensors")
    weights["posterior.mean.weight"][0, 0] = value
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        UserError, match=r"expected finite weights in .*, got NaN or infinity in posterior\.mean\.weight"
    ):
        TextVAE.from_pretrained(copy)


@pytest.mark.parametrize(
    ("missing", "renamed", "whole"),
    [
        (None, {}, True),
        ("model.safetensors", {}, False),
        ("optimizer.pt", {}, False),
        ("scheduler.pt", {}, False),
        ("rng_state.pth", {}, False),
        ("trainer_state.json", {}, False),
        ("training_args.bin", {}, True),  # no code reads this file
        (None, {"rng_state.pth": ["rng_state_0.pth", "rng_state_1.pth"]}, True),
        (None, {"rng_state.pth": ["rng_state_0.pth", "rng_state_1.pth", "rng_state_2.pth"]}, True),
        (None, {"rng_state.pth": ["rng_state_0.pth"]}, False),
        (None, {"rng_state.pth": ["rng_state_1.pth"]}, False),
        (None, {"rng_state.pth": ["rng_state_0.pth", "rng_state_2.pth"]}, False),
    ],
)
def test_a_checkpoint_without_all_of_its_state_is_not_whole(copy, missing, renamed, whole):
    checkpoint = copy / "checkpoint-2"
    if missing:
        (checkpoint / missing).unlink()
    for name, others in renamed.items():
        content = (checkpoint / name).read_bytes()
        (checkpoint / name).unlink()
        for other in others:
            (checkpoint / other).write_bytes(content)
    assert last_whole_checkpoint(copy).name == ("checkpoint-2" if whole else "checkpoint-1")


@pytest.mark.slow
@pytest.mark.parametrize("old", [False, True], ids=["new", "overwritten"])
def test_a_run_that_is_killed_in_any_write_comes_to_the_same_weights(finished, copy, tmp_path, old):
    """The run is resumed. Only a run that was being overwritten may have to be overwritten again."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(read(finished, tmp_path / "killed").source))
    script = Path(__file__).with_name("killed_writes.py")
    command = [sys.executable, str(script), str(recipe), "7" if old else "4", *([str(copy)] if old else [])]
    environment = {
        "HF_DATASETS_CACHE": str(finished / "cache"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    ended = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    expected = hashlib.sha256((finished / "run" / "model.safetensors").read_bytes()).hexdigest()
    lines = [line.split("\t") for line in ended.stdout.splitlines()]
    assert len(lines) > 3
    for number, weights, notes, how in lines:
        assert (weights, notes) == (expected, str(old)), number
        assert how == "resumed" or (old and how.startswith("expected a complete checkpoint")), number


@pytest.mark.slow
def test_the_processes_of_one_training_share_its_folder(finished, tmp_path):
    """Another number of processes can resume the run, if a step has the same number of sentences."""
    script = Path(__file__).parents[2] / "recipes" / "language_model" / "train.py"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    options = [f"training.output_dir={tmp_path / 'run'}", "training.per_device_train_batch_size=4", "--quiet"]
    environment = {
        "HF_DATASETS_CACHE": str(finished / "cache"),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }

    def train(*more):
        command = [*torchrun, str(script), str(finished / "recipe.yaml"), *options, *more]
        return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)

    for more in ((), ("--resume", "training.max_steps=3")):
        ended = train(*more)
        assert ended.returncode == 0, ended.stderr
    assert last_whole_checkpoint(tmp_path / "run").name == "checkpoint-3"
    refused = train("--resume", "training.gradient_accumulation_steps=2")
    assert refused.returncode != 0
    assert "got sentences in a step 8, now 16" in refused.stderr
    alone = [f"training.output_dir={tmp_path / 'run'}", "training.per_device_train_batch_size=4"]
    alone += ["training.gradient_accumulation_steps=2", "training.max_steps=4"]
    run(read_recipe(finished / "recipe.yaml", alone), resume=True, quiet=True)
    assert last_whole_checkpoint(tmp_path / "run").name == "checkpoint-4"
