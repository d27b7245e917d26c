"""Commands print and write safe text, and refuse an output that cannot be written before any work."""

import csv
import errno
import io
import json
import os
import stat
import sys
from itertools import product
from pathlib import Path

import pytest
import tiny
import torch

from textvae.commands.printing import print_json
from textvae.interfaces.text_vae import TextVAE

pytestmark = pytest.mark.usefixtures("apart")

ESCAPE = "a \x1b[31mb\x07 c"
SHOWN = r"a \x1b[31mb\x07 c"
LINES = [ESCAPE, "=1+1", "+1", "-1", "@x", '"=1"', "a b c", "z"]


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(1)
    return TextVAE(tiny.model(initial_range=1.0), tiny.tokenizer())


@pytest.fixture(scope="module")
def trained(vae, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    vae.save_pretrained(folder)
    return folder


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(LINES) + "\n")
    return path


# ---- places

OUTPUTS = {
    "encode -o": (["encode", "no-run", "lines.txt", "-o"], "z.npy"),
    "encode -o .parquet": (["encode", "no-run", "lines.txt", "-o"], "z.parquet"),
    "cluster -o": (["cluster", "no-run", "lines.txt", "-o"], "z.tsv"),
    "cluster --confusion": (["cluster", "no-run", "lines.txt", "--confusion"], "z.png"),
    "map -o": (["map", "no-run", "lines.txt", "-o"], "z.svg"),
    "interpolate --strip": (["interpolate", "no-run", "a", "b", "--strip"], "z.pdf"),
}
FAULTS = {
    "in a file": ("file/{}", "got file/{} (Not a directory): choose another"),
    "a folder": ("folder/{}", "got the folder folder/{}: add a name, such as"),
    "a loop of links": ("loop", "got loop (Too many levels of symbolic links): choose another"),
    "a full disk": ("full/{}", "got full/{} (No space left on device): choose another"),
}


@pytest.mark.parametrize(("output", "fault"), list(product(OUTPUTS, FAULTS)))
def test_a_place_that_cannot_be_written_is_refused_before_any_work(textvae, file, monkeypatch, output, fault):
    command, name = OUTPUTS[output]
    place, message = (words.format(name) for words in FAULTS[fault])
    Path("file").touch()
    Path("folder", name).mkdir(parents=True)
    Path("loop").symlink_to("loop")
    Path("full").mkdir()
    if fault == "a full disk":
        monkeypatch.setattr("tempfile.TemporaryFile", full)
    before = sorted(Path(".").rglob("*"))
    code, out, err = textvae(*command, place)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert sorted(Path(".").rglob("*")) == before


def full(**_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("command", "beside"),
    [
        (["cluster", "no-run", "lines.txt", "--confusion", "z.png"], "z.html"),
        (["map", "no-run", "lines.txt", "-o", "z.png"], "z.html"),
        (["interpolate", "no-run", "a", "b", "--strip", "z.png"], "z.html"),
        (["encode", "no-run", "lines.txt", "-o", "z.npy", "--deviations"], "z.deviations.npy"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_what_stands_beside_an_output_is_checked_too(textvae, file, command, beside):
    Path(beside).mkdir()
    code, _, err = textvae(*command)
    assert (code, err.count("\n")) == (2, 1)
    assert f"got the folder {beside}" in err


def test_parts_that_cannot_be_kept_are_refused(textvae, file):
    Path("z.npy.parts").touch()
    assert "got " in (err := textvae("encode", "no-run", "lines.txt", "-o", "z.npy")[2])
    assert "z.npy.parts (Not a directory)" in err


def test_home_is_where_an_output_may_be(textvae, trained, file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert textvae("encode", trained, file, "--output=~/z.npy") == (0, "", "")
    assert os.listdir(tmp_path / "home") == ["z.npy"]


@pytest.mark.parametrize("name", ["z.npy", "z.parquet"])
def test_vectors_go_behind_a_link_and_so_do_their_parts(textvae, trained, file, monkeypatch, name):
    Path("big").mkdir()
    Path(name).symlink_to(f"big/{name}")
    places = []
    encode = TextVAE.encode

    def watched(*arguments, **options):
        places.append(sorted(os.listdir()))
        return encode(*arguments, **options)

    monkeypatch.setattr(TextVAE, "encode", watched)
    assert textvae("encode", trained, file, "-o", name) == (0, "", "")
    assert os.path.islink(name)
    assert os.listdir("big") == [name]
    assert not any(f"{name}.parts" in found for found in places)


def test_a_table_goes_into_what_is_no_file(textvae, trained, file):
    os.mkfifo("pipe")
    reading = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    options = ["--clusters", 2, "--maximum-length", 3, "--json"]
    assert textvae("cluster", trained, file, "-o", "pipe", *options)[::2] == (0, "")
    assert os.read(reading, 100).startswith(b"cluster\tprobability\ttext\n")
    os.close(reading)
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)


# ---- names


@pytest.mark.parametrize("name", ["../x", "../../x", "/tmp/x", "a/b", "..", ".x", "x\n"])
def test_a_prior_stays_in_its_run(textvae, trained, file, name):
    before = sorted(trained.rglob("*"))
    for command in (["fit-prior", trained, file, "--name", name], ["sample", trained, "--prior", name]):
        code, out, err = textvae(*command)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"expected letters and digits as the name of a prior, got {name!r}" in err
    assert sorted(trained.rglob("*")) == before


def test_a_prior_that_cannot_be_kept_is_refused_before_the_fit(textvae, vae, file, tmp_path, monkeypatch):
    vae.save_pretrained(tmp_path / "run")
    (tmp_path / "run" / "priors").touch()
    monkeypatch.setattr(TextVAE, "fit_prior", lambda *_, **__: pytest.fail("nothing is fitted yet"))
    code, out, err = textvae("fit-prior", tmp_path / "run", file)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "run/priors (Not a directory): choose another" in err


# ---- terminal commands


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["reconstruct", "{run}", "{file}", "-n", "1"], SHOWN),
        (["neighbours", "{run}", "a b", "{file}", "-k", "8"], f"  {SHOWN}"),
        (["cluster", "{run}", "{file}", "--clusters", "2", "--nearest", "9", "--maximum-length", "3"], SHOWN),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_control_characters_are_printed_as_escapes(textvae, trained, file, command, line):
    code, out, err = textvae(*(part.format(run=trained, file=file) for part in command))
    assert (code, err) == (0, "")
    assert line in out
    assert not {"\x1b", "\x07"} & set(out)


def test_what_a_model_writes_is_printed_as_escapes(textvae, trained, monkeypatch):
    monkeypatch.setattr(TextVAE, "decode", lambda *_, **__: [f"{ESCAPE}\nd\te"])
    for command in (["sample", trained], ["analogy", trained, "a", "b", "c"]):
        assert textvae(*command) == (0, f"{SHOWN} d e\n", "")


def test_a_class_is_printed_as_escapes(textvae, file, tmp_path):
    classes = [f"x\t{ESCAPE}", "y"]
    TextVAE(tiny.model(classes=classes), tiny.tokenizer()).save_pretrained(tmp_path / "run")
    _, out, _ = textvae("classify", tmp_path / "run", file)
    rows = [line.split("\t") for line in out.splitlines()]
    assert {len(row) for row in rows} == {3}
    assert {row[0] for row in rows} <= {f"x {SHOWN}", "y"}
    assert "\x1b" not in out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_in_every_encoding(monkeypatch, encoding):
    value = ["naïve", "日", "👩", ESCAPE, "\x9b\x7f", "\ud83d"]
    written = io.BytesIO()
    monkeypatch.setattr(
        sys, "stdout", io.TextIOWrapper(written, encoding=encoding, errors="backslashreplace")
    )
    print_json(value)
    sys.stdout.flush()
    line = written.getvalue().decode(encoding)
    assert json.loads(line) == value
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in line[:-1])


# ---- spreadsheet formulas


def test_no_cell_of_a_table_is_a_formula(textvae, trained, file):
    options = ["--clusters", 2, "--maximum-length", 3]
    assert textvae("cluster", trained, file, "-o", "table.tsv", *options)[0] == 0
    with open("table.tsv", encoding="utf-8", newline="") as table:
        texts = [row[2] for row in csv.reader(table, "excel-tab")][1:]
    assert texts[1:] == ["'=1+1", "'+1", "'-1", "'@x", '\'"=1"', "a b c", "z"]


# ---- order


def test_labels_stand_in_natural_order(textvae, trained, file):
    labels = ["10", "2", "1", "10", "2", "1", "11", "11"]
    Path("labels.txt").write_text("\n".join(labels) + "\n")
    options = ["--clusters", 2, "--maximum-length", 3, "--labels", "labels.txt", "--json"]
    scores = json.loads(textvae("cluster", trained, file, *options)[1])["scores"]
    matched, others = scores["labels"][:2], scores["labels"][2:]
    assert sorted(matched, key=int) == matched
    assert sorted(others, key=int) == others
    _, out, _ = textvae("map", trained, file, "--labels", "labels.txt", "--method", "pca", "--json")
    assert {point["label"] for point in json.loads(out)["points"]} == set(labels)
    assert '"names":["1","2","10","11","no label"]' in Path("map.html").read_text()
