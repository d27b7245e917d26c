"""Work shared by several processes has the same results as in one."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from string import ascii_lowercase, ascii_uppercase

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset
from pyarrow import parquet

from textvae.evaluation.meters.translation import Translation
from textvae.evaluation.quantities import Setting
from textvae.interfaces.text_vae import TextVAE
from textvae.support import processes
from textvae.support.processes import hidden_bar, shared
from textvae.text.fields import Fields, SourceField, TargetField
from textvae.text.tokenizer import train_tokenizer


def take_part(monkeypatch, rank, count, others=()):
    """Make this process one of several; ``others`` holds the results of those before and after it, turn by turn."""
    monkeypatch.setattr(processes, "_place", lambda: (rank, count))
    turns = iter(others)
    monkeypatch.setattr(processes, "_gathered", lambda own: next(turns)(own))


def test_one_process_does_all():
    done = []
    results = shared("abc", lambda item: done.append(item) or item.upper())
    assert next(results) == "A"
    assert done == ["a"], "nothing is done before it is asked for"
    assert list(results) == ["B", "C"]


def test_each_item_is_for_one_process(monkeypatch):
    done = []
    turns = [lambda own: ["A", *own, "C"], lambda own: ["D", *own]]
    take_part(monkeypatch, 1, 3, turns)
    assert list(shared("abcde", lambda item: done.append(item) or item.upper())) == list("ABCDE")
    assert done == ["b", "e"]


def test_a_process_without_an_item_waits_for_the_others(monkeypatch):
    done = []
    take_part(monkeypatch, 2, 3, [lambda own: ["A", "B", *own]])
    assert list(shared("ab", done.append)) == ["A", "B"]
    assert not done


def test_only_the_first_shows_a_bar(monkeypatch):
    assert [hidden_bar(show) for show in (True, False, None)] == [False, True, None]
    take_part(monkeypatch, 1, 2)
    assert [hidden_bar(show) for show in (True, False, None)] == [True, True, True]


def results_of_threads(monkeypatch, count, work) -> list:
    """The result of ``work`` in each of this many threads, which act as processes."""
    ranks = {}
    found = [[]] * count
    barrier = threading.Barrier(count, timeout=60)

    def gathered(own):
        found[ranks[threading.get_ident()]] = own
        barrier.wait()
        result = [item for part in found for item in part]
        barrier.wait()
        return result

    def take_part(rank):
        ranks[threading.get_ident()] = rank
        return work()

    monkeypatch.setattr(processes, "_place", lambda: (ranks[threading.get_ident()], count))
    monkeypatch.setattr(processes, "_gathered", gathered)
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(take_part, range(count)))


class Capitals:
    """A stand-in for a model: translates into capitals, or into nothing if z is 0, and records its arguments."""

    device, has_latent = torch.device("cpu"), True

    def __init__(self):
        self.asked = []

    def translate(self, source, source_mask, latent, **options):
        self.asked.append(len(source))
        return source[:, -1:] if latent == "zero" else source


@pytest.mark.parametrize("count", [1, 2, 3])
def test_translations_meet_their_references(monkeypatch, count):
    sources = [" ".join("abcdefghi"[: 4 + i % 5]) for i in range(7)]
    rows = Dataset.from_dict({"source": sources, "target": [text.upper() for text in sources]})
    small, large = (
        train_tokenizer([" ".join(letters)], "words") for letters in (ascii_lowercase, ascii_uppercase)
    )
    model, fields = Capitals(), Fields([TargetField(large), SourceField(small)])
    options = {"translation": {"num_beams": 1}}
    setting = Setting(model, fields, batch_size=2, rows=rows, options=options, show_progress_bar=False)
    found = results_of_threads(monkeypatch, count, lambda: Translation.of(setting).quantities())
    assert len(found) == count
    for quantities in found:
        scores = {quantity.name: quantity.value for quantity in quantities}
        assert scores["bleu"] == pytest.approx(100)
        assert scores["bleu_zero_z"] == 0
    ways = len([name for name in scores if name.startswith("bleu") and name != "bleu_signature"])
    assert ways == 3
    assert sum(model.asked) == ways * len(sources), "each is translated once"


def launched(count, *arguments) -> str:
    """The output of this many processes of ``textvae``, each with one thread."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    ended = subprocess.run(
        [*torchrun, "-m", "textvae", *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    TextVAE(tiny.model(initial_range=1.0), tiny.tokenizer()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """More than two parts of vectors; the last part is shorter."""
    path = tmp_path_factory.mktemp("file") / "text.txt"
    path.write_text("".join(f"{'abcde'[i % 5]} {'fgh'[i % 3]}{' i j' * (i % 7)}\n" for i in range(9_000)))
    return path


@pytest.mark.slow
def test_an_evaluation_is_that_of_one_process(run, tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("".join(f"a{' b' * (i % 9)} c\n" for i in range(101)))
    options = ("evaluate", run, file, "--samples", 7, "--batch-size", 8, "--json")
    first, *others = (json.loads(launched(count, *options)) for count in (1, 2, 3))
    assert first["sentences"] == 101
    for other in others:
        assert other.keys() == first.keys()
        for name, value in first.items():
            assert other[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-6)), name


@pytest.mark.slow
def test_vectors_are_those_of_one_process(run, file, tmp_path):
    for count in (1, 2, 3):
        for name in ("z.npy", "z.parquet"):
            launched(count, "encode", run, file, "-o", tmp_path / str(count) / name)
    expected = np.load(tmp_path / "1" / "z.npy")
    assert expected.shape == (9_000, 3)
    for count in ("2", "3"):
        np.testing.assert_array_equal(np.load(tmp_path / count / "z.npy"), expected)
        assert parquet.read_table(tmp_path / count / "z.parquet").equals(
            parquet.read_table(tmp_path / "1" / "z.parquet")
        )
        assert {path.name for path in (tmp_path / count).iterdir()} == {"z.npy", "z.parquet"}
