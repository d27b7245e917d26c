"""Vectors on Ray: each text is encoded once, for all sizes of pieces and after the death of any process."""

import gzip
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pyarrow as pa
import pytest
import tiny
import torch
from pyarrow import fs, parquet

import textvae.interfaces.ray as on_ray
from textvae.interfaces.text_vae import TextVAE
from textvae.support.errors import UserError

TEXTS = ["a b c", "d e f g h", "i", "", "q r s t", "z y x w v u", "b", "c c c", "d"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("run")
    TextVAE(tiny.model(initial_range=1.0).float(), tiny.tokenizer()).save_pretrained(folder)
    return str(folder)


def lines_of(path, size, monkeypatch):
    """The lines of a file in each piece of ``size`` bytes."""
    monkeypatch.setattr(on_ray, "TEXT_BYTES", size)
    local = fs.LocalFileSystem()
    return [
        list(on_ray._lines(local, str(path), piece.start, piece.stop))
        for piece in on_ray._pieces(str(path), "text")
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 16, 100])
@pytest.mark.parametrize("end", ["\n", ""], ids=["ended", "open"])
def test_every_line_is_in_one_piece(tmp_path, monkeypatch, size, end):
    texts = ["ä b", "", "c", "日本", "d" * 12, "", "e"]
    path = tmp_path / "a.txt"
    path.write_text("\n".join(texts) + end, encoding="utf-8")
    pieces = lines_of(path, size, monkeypatch)
    assert len(pieces) == -(-path.stat().st_size // size)
    assert [line for piece in pieces for line in piece] == texts


def test_a_gzipped_file_is_one_piece(tmp_path, monkeypatch):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"a\r\nb\n"))
    assert lines_of(path, 1, monkeypatch) == [["a", "b"]]


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    for name in ("b/x.parquet", "a.parquet", "b/.partial.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        parquet.write_table(pa.table({"text": TEXTS}), tmp_path / name, row_group_size=5)
    pieces = list(on_ray._pieces(str(tmp_path), "text"))
    assert [(os.path.basename(piece.uri), piece.start) for piece in pieces] == [
        ("a.parquet", 0),
        ("a.parquet", 1),
        ("x.parquet", 0),
        ("x.parquet", 1),
    ]
    assert [piece.name for piece in pieces] == [f"{part:08d}.parquet" for part in range(4)]


def test_the_encoder_keeps_rows_and_columns(run):
    table = pa.table({"id": range(9), "review": TEXTS})
    found = on_ray.Encoder(run, "review", deviations=True)(table)
    means, scales = TextVAE.from_pretrained(run).encode(TEXTS, return_deviations=True)
    assert found.select(["id", "review"]).equals(table)
    np.testing.assert_array_equal(np.stack(found["vector"].to_pylist()), means)
    np.testing.assert_array_equal(np.stack(found["deviation"].to_pylist()), scales)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none", None, "expected a file or folder in .*none, got none"),
        ("a.csv", b"a\n", "expected Parquet or text files, got .*a.csv"),
        ("a.txt", b"", "expected Parquet or text files in .*a.txt, got none with text in them"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(on_ray._pieces(str(tmp_path / name), "text"))


def test_a_missing_column_is_named(tmp_path):
    parquet.write_table(pa.table({"review": TEXTS}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"expected a column text in .*, got review"):
        list(on_ray._pieces(str(tmp_path / "a.parquet"), "text"))


def test_bytes_that_are_not_utf8_are_named(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_bytes(b"ab\n\xff\n")
    with pytest.raises(
        UserError, match=r"expected UTF-8 in .*, got other bytes in the line that ends at byte 5"
    ):
        lines_of(tmp_path / "a.txt", 100, monkeypatch)


PROGRAM = """
import sys
import ray
import textvae.interfaces.ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=2**27)
textvae.interfaces.ray.TEXT_BYTES = 4096
print(textvae.interfaces.ray.write_vectors(*sys.argv[1:], batch_size=1))
"""
"""A separate program, because Ray leaves processes behind, about which Python warns."""


def started(run, source, folder):
    pytest.importorskip("ray", reason="needs the extra ray")
    command = [sys.executable, "-c", PROGRAM, run, str(source), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def finished(driver):
    """Wait for the program; returns the number of rows that `write_vectors` returned."""
    out = driver.communicate(timeout=300)[0]
    assert driver.returncode == 0
    # Ray writes to standard output too.
    (rows,) = filter(str.isdigit, out.splitlines())
    return int(rows)


def files_in(folder, driver, least):
    """Wait until the folder has this many files of vectors; returns the files."""
    while len(found := sorted(folder.glob("0*.parquet"))) < least:
        assert driver.poll() is None, "ended too early to show anything"
        time.sleep(0.05)
    return found


def kill(*processes):
    for process in processes:
        process.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_kills_lose_and_double_nothing(run, tmp_path):
    """A worker is killed, later the whole call; a second call encodes only what is missing."""
    draw = np.random.default_rng(0).choice
    texts = [" ".join(draw(list("abcdefgh"), 12)) for _ in range(6000)]  # about forty pieces
    source, folder = tmp_path / "texts.txt", tmp_path / "vectors"
    source.write_text("\n".join(texts), encoding="utf-8")
    driver = started(run, source, folder)
    files_in(folder, driver, 1)
    processes = psutil.Process(driver.pid).children(recursive=True)
    workers = [process for process in processes if "MapWorker" in " ".join(process.cmdline())]
    kill(workers[0])
    kept = files_in(folder, driver, len(files_in(folder, driver, 1)) + 5)
    written = [path.stat().st_mtime_ns for path in kept]
    everything = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
    kill(*everything)
    driver.communicate()
    psutil.wait_procs(everything)

    assert finished(started(run, source, folder)) == len(texts)
    assert [path.stat().st_mtime_ns for path in kept] == written
    table = parquet.read_table(folder)
    assert table["text"].to_pylist() == texts
    expected = TextVAE.from_pretrained(run).encode(texts)
    np.testing.assert_allclose(np.stack(table["vector"].to_pylist()), expected, atol=1e-6)


def test_vectors_of_another_call_are_refused(tmp_path):
    settings = {"source": "a.txt", "deviations": True}
    local = fs.LocalFileSystem()
    on_ray._claim(local, str(tmp_path), settings)
    on_ray._claim(local, str(tmp_path), settings)
    with pytest.raises(UserError, match=r"got different values of deviations: repeat the first call"):
        on_ray._claim(local, str(tmp_path), settings | {"deviations": False})


def test_a_piece_without_a_line_has_a_file_without_rows(run, tmp_path):
    """Otherwise each repeated call would find the piece missing and encode it again."""
    (tmp_path / "a.txt").write_text("a b c\n")
    writer = on_ray._PieceWriter(str(tmp_path / "z"), model=run, column="text")
    (tmp_path / "z").mkdir()
    batch = {"name": ["0.parquet"], "uri": [(tmp_path / "a.txt").as_uri()], "start": [2], "stop": [4]}
    assert writer({name: np.array(values) for name, values in batch.items()})["rows"].tolist() == [0]
    found = parquet.read_table(tmp_path / "z" / "0.parquet")
    assert (found.num_rows, found.column_names) == (0, ["text", "vector"])
