"""Commands that are killed at random moments and run again: nothing is lost, and the results are equal."""

import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from string import ascii_lowercase

import pytest
import tiny
import torch
import yaml
from kills import Commands

from textvae.interfaces.text_vae import TextVAE

pytestmark = pytest.mark.slow

RECIPE = {
    "corpus": {"train": "lines.txt", "validation_size": 10, "test_size": 10},
    "tokenizer": {"kind": "words"},
    "model": {"latent_size": 3, "embedding_size": 4, "hidden_size": 6, "dropout": 0.2, "word_dropout": 0.2},
    "objective": {"target_rate": 1.0},
    "training": {
        "output_dir": "run",
        "max_steps": 16,
        "per_device_train_batch_size": 8,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "save_strategy": "steps",
        "save_steps": 4,
        "use_cpu": True,
    },
}
RESULTS = ("model.safetensors", "config.json", "tokenizer.json")


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """Runs commands in a folder with a trained model, 400 lines and a recipe."""
    folder = tmp_path_factory.mktemp("kills")
    torch.manual_seed(1)
    TextVAE(tiny.model(initial_range=1.0), tiny.tokenizer()).save_pretrained(folder / "trained")
    words = random.Random(0)
    lines = [" ".join(words.choices(ascii_lowercase, k=words.randint(1, 6))) for _ in range(400)]
    (folder / "lines.txt").write_text("\n".join(lines) + "\n")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    with pytest.MonkeyPatch.context() as patch:  # the server finds this folder's modules
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        run = Commands(folder)
        assert run("--help").code == 0
        yield run


def kept(folder, names):
    """The content of those files that exist."""
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


TRAIN = ("train", "recipe.yaml", "--quiet")


@pytest.fixture(scope="module")
def whole(commands):
    """A training that nothing interrupts: how it ended, and its results."""
    ended = commands(*TRAIN, "-o", "whole")
    assert ended.code == 0, ended.printed
    results = kept(commands.folder / "whole", RESULTS)
    assert len(results) == len(RESULTS)
    return ended, results


def test_training_that_is_killed_twenty_times_comes_to_the_same_weights(commands, whole):
    """Each run is killed up to four times, in its first call or while it is resumed, and then left to end."""
    moments, folder = random.Random(0), commands.folder
    whole, expected = whole
    kills, seconds, resumed_from = 0, whole.seconds, set()
    while kills < 20:
        more = []
        for limit in (*(moments.uniform(0, seconds) for _ in range(4)), None):
            ended = commands(*TRAIN, "-o", "run", *more, killed_after=limit)
            if not ended.was_killed:
                break
            kills, more = kills + 1, ["--resume"]
            resumed_from |= {path.name for path in (folder / "run").glob("checkpoint-*")}
        assert ended.code == 0, ended.printed
        if not more:
            seconds = min(seconds, ended.seconds)
        assert kept(folder / "run", RESULTS) == expected
        evaluations = [json.loads((folder / run / "evaluation.json").read_text()) for run in ("run", "whole")]
        assert evaluations[0] | {"minutes": 0} == evaluations[1] | {"minutes": 0}
        shutil.rmtree(folder / "run")
    assert len(resumed_from) > 2, "or the kills came too early to prove anything"


@pytest.mark.parametrize(
    ("arguments", "outputs", "number"),
    [
        (["encode", "trained", "lines.txt", "--deviations", "-o"], ["z.npy", "z.deviations.npy"], 5),
        (["encode", "trained", "lines.txt", "-o"], ["z.parquet"], 5),
        (["cluster", "trained", "lines.txt", "--clusters", 3, "--draws", 1, "-o"], ["z.tsv"], 3),
        (["map", "trained", "lines.txt", "--method", "pca", "-o"], ["z.png", "z.html"], 3),
    ],
    ids=["encode arrays", "encode a table", "cluster", "map"],
)
def test_a_command_that_is_killed_and_run_again_writes_the_same(commands, arguments, outputs, number):
    """Until its end, each output is the old one or the new one, never a part of it."""
    moments, folder = random.Random(1), commands.folder
    whole = commands(*arguments, outputs[0])
    assert whole.code == 0, whole.printed
    new = kept(folder, outputs)
    assert len(new) == len(outputs)
    kills, seconds = 0, whole.seconds
    while kills < number:
        for name in outputs:
            (folder / name).write_text("old")
        ended = commands(*arguments, outputs[0], killed_after=moments.uniform(0, seconds))
        assert ended.was_killed or ended.code == 0, ended.printed
        kills += ended.was_killed
        assert all((folder / name).read_bytes() in (b"old", new[name]) for name in outputs)
        again = commands(*arguments, outputs[0])
        assert (again.code, again.printed) == (0, whole.printed)
        seconds = min(seconds, again.seconds)
        assert kept(folder, outputs) == new
        assert not (folder / f"{outputs[0]}.parts").exists()


@pytest.fixture
def small_disk(commands):
    """A disk of 1 MiB in the folder of the commands; skips the test if none can be mounted."""
    place = commands.folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        place.rmdir()
        pytest.skip("needs the right to mount a disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)
    place.rmdir()


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["encode", "trained", "lines.txt", "-o"], "z.npy"),
        (["cluster", "trained", "lines.txt", "--clusters", 3, "--draws", 1, "-o"], "z.tsv"),
        (["map", "trained", "lines.txt", "--method", "pca", "-o"], "z.png"),
    ],
    ids=["encode", "cluster", "map"],
)
def test_a_full_disk_costs_nothing_that_was_there(commands, small_disk, arguments, output):
    target = small_disk / output
    target.write_text("old")
    ballast = filled(small_disk, 8)
    assert_no_room(commands(*arguments, target))
    assert target.read_text() == "old"
    ballast.unlink()
    again = commands(*arguments, target)
    assert again.code == 0, again.printed
    assert target.stat().st_size > 3


@pytest.mark.parametrize("kibibytes", [100, 140], ids="{} KiB free".format)
def test_a_training_whose_disk_is_full_is_resumed_when_there_is_room(commands, whole, small_disk, kibibytes):
    """The disk is not full when the training begins, but when it saves."""
    ballast = filled(small_disk, kibibytes)
    assert_no_room(commands(*TRAIN, "-o", small_disk / "run"))
    ballast.unlink()
    again = commands(*TRAIN, "-o", small_disk / "run", "--resume")
    assert again.code == 0, again.printed
    assert kept(small_disk / "run", RESULTS[:3]) == {name: whole[1][name] for name in RESULTS[:3]}


def filled(disk, kibibytes):
    """Fill the disk but for so much; returns the file that does."""
    state = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(state.f_bavail * state.f_frsize - 1024 * kibibytes))
    return ballast


def assert_no_room(ended):
    errors = [line for line in ended.printed.splitlines() if line.startswith("error: ")]
    assert (ended.code, len(errors)) == (2, 1), ended.printed
    assert "No space left on device" in errors[0] or "Input/output error" in errors[0]
