"""Files of vectors: rows in order, complete or absent, and the same after any number of interruptions."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset
from pyarrow import parquet

from textvae.interfaces.text_vae import TextVAE
from textvae.interfaces.vectors import write_vectors
from textvae.support.errors import UserError

TEXTS = ["a b c", "d e f g h", "i", "", "q r s t", "z y x w v u", "b", "c c c", "d"]


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(1)
    return TextVAE(tiny.model(initial_range=1.0), tiny.tokenizer())


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr("textvae.interfaces.vectors.ROWS", 2)


class Killed(BaseException):
    """Simulates the end of the process."""


def killed_after(count):
    """The first ``count`` texts, then `Killed` in place of the next."""
    yield from islice(TEXTS, count)
    raise Killed


def interrupted(vae, path, count, **options):
    with pytest.raises(Killed):
        write_vectors(vae, killed_after(count), path, **options)


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_row_i_of_the_array_belongs_to_text_i(vae, tmp_path):
    path = tmp_path / "new" / "z.npy"
    assert write_vectors(vae, iter(TEXTS), path) == 9
    found = np.load(path, mmap_mode="r")
    assert (found.shape, found.dtype) == ((9, 3), np.float32)
    np.testing.assert_allclose(found, vae.encode(TEXTS), rtol=1e-5)
    assert files_in(tmp_path) == ["new/z.npy"]


def test_a_table_has_the_texts_too(vae, tmp_path):
    write_vectors(vae, Dataset.from_dict({"text": TEXTS, "label": TEXTS}), tmp_path / "z.parquet")
    table = parquet.read_table(tmp_path / "z.parquet").to_pydict()
    assert list(table) == ["row", "text", "vector"]
    assert table["row"] == list(range(9))
    assert table["text"] == TEXTS
    np.testing.assert_allclose(table["vector"], vae.encode(TEXTS), rtol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
def test_deviations(vae, tmp_path, normalize):
    means, deviations = vae.encode(TEXTS, normalize_embeddings=normalize, return_deviations=True)
    for name in ("z.npy", "z.parquet"):
        write_vectors(vae, TEXTS, tmp_path / name, normalize=normalize, deviations=True)
    table = parquet.read_table(tmp_path / "z.parquet").to_pydict()
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), means, rtol=1e-5)
    np.testing.assert_allclose(np.load(tmp_path / "z.deviations.npy"), deviations, rtol=1e-5)
    np.testing.assert_allclose(table["deviation"], deviations, rtol=1e-5)
    np.testing.assert_allclose(table["vector"], means, rtol=1e-5)


@pytest.mark.parametrize("name", ["z.npy", "z.parquet"])
def test_no_texts_make_a_file_without_rows(vae, tmp_path, name):
    assert write_vectors(vae, [], tmp_path / name) == 0
    if name == "z.npy":
        assert np.load(tmp_path / name).shape == (0, 3)
    else:
        assert parquet.read_table(tmp_path / name).num_rows == 0
    assert files_in(tmp_path) == [name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["z.npy", "z.parquet"])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 9])
def test_interruptions_change_no_byte(vae, tmp_path, monkeypatch, name, count):
    write_vectors(vae, TEXTS, tmp_path / "whole" / name, deviations=True)
    path = tmp_path / "resumed" / name
    interrupted(vae, path, count, deviations=True)
    encoded = []
    encode = vae.encode
    monkeypatch.setattr(
        vae, "encode", lambda texts, **options: encoded.extend(texts) or encode(texts, **options)
    )
    write_vectors(vae, iter(TEXTS), path, deviations=True)
    assert encoded == TEXTS[count // 2 * 2 :], "what was done is not done again"
    assert files_in(tmp_path / "resumed") == files_in(tmp_path / "whole")
    for file in files_in(tmp_path / "whole"):
        assert (tmp_path / "resumed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


@pytest.mark.parametrize("where", ["part", "manifest", "file"])
def test_a_write_that_is_cut_short_does_no_harm(vae, tmp_path, monkeypatch, where):
    """In each case the file is half written, as after a kill."""
    write_vectors(vae, TEXTS, tmp_path / "whole.npy")
    path = tmp_path / "z.npy"
    path.write_text("old")
    with monkeypatch.context() as patch:
        if where == "part":
            patch.setattr(parquet, "write_table", lambda _, file: file.write_text("PAR") and 1 / 0)
        elif where == "manifest":
            patch.setattr(json, "dumps", lambda value, **options: "[" if options else str(value))
            patch.setattr(
                "textvae.support.files.os.replace", lambda a, b: 1 / 0 if b.suffix == ".json" else a.rename(b)
            )
        else:
            patch.setattr(
                np.lib.format, "write_array_header_1_0", lambda file, _: file.write(b"\x93NUM") and 1 / 0
            )
        with pytest.raises(ZeroDivisionError):
            write_vectors(vae, TEXTS, path)
        assert path.read_text() == "old"
    write_vectors(vae, TEXTS, path)
    assert path.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert files_in(tmp_path) == ["whole.npy", "z.npy"]


def test_parts_of_something_else_are_refused(vae, tmp_path):
    path = tmp_path / "z.npy"
    interrupted(vae, path, 5)
    other = TextVAE(tiny.model(initial_range=1.0), tiny.tokenizer())
    message = r"expected the interrupted call that left .*z\.npy\.parts, got one with {}: repeat that call, or delete"
    with pytest.raises(UserError, match=message.format("a different model")):
        write_vectors(other, TEXTS, path)
    with pytest.raises(UserError, match=message.format("a different batch_size and normalize")):
        write_vectors(vae, TEXTS, path, batch_size=3, normalize=True)
    with pytest.raises(UserError, match=message.format("different texts from row 2 on")):
        write_vectors(vae, [*TEXTS[:3], "other"], path)
    with pytest.raises(UserError, match=message.format("fewer texts")):
        write_vectors(vae, TEXTS[:2], path)
    assert write_vectors(vae, TEXTS, path) == 9


def test_mistakes_leave_nothing_behind(vae, tmp_path):
    with pytest.raises(UserError, match=r"expected a \.npy or \.parquet file, got .*z\.txt: name it z\.npy"):
        write_vectors(vae, TEXTS, tmp_path / "z.txt")
    with pytest.raises(UserError, match="expected a file to write to, got the folder"):
        write_vectors(vae, TEXTS, tmp_path)
    with pytest.raises(UserError, match="expected strings, got 7"):
        write_vectors(vae, [{"text": 7}], tmp_path / "z.npy")
    assert files_in(tmp_path) == []


PROGRAM = """
import sys
import torch
from textvae import TextVAE
from textvae.interfaces.vectors import write_vectors
torch.set_num_threads(1)
texts = (" ".join("abcdefghij"[i % 7 : i % 10 + 1]) for i in range(20_000))
write_vectors(TextVAE.from_pretrained(sys.argv[1], device="cpu"), texts, sys.argv[2], show_progress_bar=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["z.npy", "z.parquet"])
def test_a_real_kill_changes_no_byte(vae, tmp_path, name):
    vae.save_pretrained(tmp_path / "run")

    def start(path):
        return subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path / "run"), str(path)])

    assert start(tmp_path / "whole" / name).wait(timeout=300) == 0
    path = tmp_path / "killed" / name
    for parts in (1, 3):
        process = start(path)
        deadline = time.monotonic() + 300
        while len(_digests(path)) < parts and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was to be killed before it had finished"
        assert not path.exists()
    assert start(path).wait(timeout=300) == 0
    assert path.read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert files_in(tmp_path / "killed") == [name]


def _digests(path: Path) -> list[str]:
    manifest = path.with_name(f"{path.name}.parts") / "manifest.json"
    return json.loads(manifest.read_text())["texts"] if manifest.exists() else []
