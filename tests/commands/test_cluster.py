import csv
import io
import json
import sys

import pytest
import tiny
import torch

from textvae.cli import main
from textvae.evaluation.clustering import clustering_scores
from textvae.interfaces.clustering import cluster_texts
from textvae.interfaces.text_vae import TextVAE

pytestmark = pytest.mark.usefixtures("apart")

LINES = ["a b c", "d e f g h", "i", "", "q r s t", "z y\tx w v u", "a b", "q r", "z z z"]


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
def textvae(capfd):
    """Runs the command: exit code, standard output, standard error."""

    def command(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["cluster", *map(str, arguments)])
        return (end.value.code or 0, *capfd.readouterr())

    return command


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(LINES) + "\n")
    return path


def test_json_is_that_of_cluster_texts(textvae, vae, trained, file):
    options = [
        "--clusters",
        3,
        "--seed",
        5,
        "--words",
        2,
        "--nearest",
        1,
        "--draws",
        2,
        "--maximum-length",
        6,
    ]
    code, out, err = textvae(trained, file, "--json", *options, "--method", "k-means")
    assert (code, err) == (0, "")
    expected = cluster_texts(
        vae, LINES, 3, "k-means", seed=5, words=2, nearest=1, draws=2, maximum_length=6
    ).to_dict()
    found = json.loads(out)
    assert found.pop("probabilities") == pytest.approx(expected.pop("probabilities"))
    assert found == expected


def test_the_report_is_what_is_printed(textvae, vae, trained, file):
    _, out, _ = textvae(trained, file, "--clusters", 2, "--maximum-length", 6)
    assert out == cluster_texts(vae, LINES, 2, maximum_length=6).report() + "\n"


def test_auto_chooses_the_number(textvae, vae, trained, file):
    options = ["--clusters", "auto", "--method", "diagonal-mixture", "--maximum-length", 6]
    _, out, _ = textvae(trained, file, "--json", *options)
    expected = cluster_texts(vae, LINES, None, "diagonal-mixture", maximum_length=6)
    assert json.loads(out)["labels"] == expected.labels.tolist()


def test_the_table_has_a_row_for_each_line(textvae, trained, file):
    _, out, _ = textvae(
        trained, file, "--clusters", 2, "--maximum-length", 6, "-o", "new/table.tsv", "--json"
    )
    with open("new/table.tsv", encoding="utf-8") as table:
        header, *rows = csv.reader(table, delimiter="\t", quoting=csv.QUOTE_NONE)
    assert header == ["cluster", "probability", "text"]
    assert [row[2] for row in rows] == [" ".join(line.split()) for line in LINES]
    assert [int(row[0]) for row in rows] == json.loads(out)["labels"]
    assert [float(row[1]) for row in rows] == pytest.approx(json.loads(out)["probabilities"], abs=1e-4)


KINDS = ["x", "y", "", "x", "y", "y", "x", "y", "x"]


def test_a_file_of_labels_belongs_to_the_lines_blank_ones_counted(textvae, trained, file, tmp_path):
    (tmp_path / "kinds.txt").write_text("\n".join(KINDS) + "\n")
    options = ["--clusters", 2, "--maximum-length", 6, "--labels", "kinds.txt"]
    _, out, _ = textvae(trained, file, *options, "--confusion", "new/confusion.png", "--json")
    found = json.loads(out)
    known = [(kind, label) for kind, label in zip(KINDS, found["labels"], strict=True) if kind]
    expected = clustering_scores(*zip(*known, strict=True))
    assert found["scores"] == expected.to_dict()
    assert sum(map(sum, found["scores"]["confusion"])) == 8, "but not the one without a class"
    assert (tmp_path / "new/confusion.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "new/confusion.html").read_text()
    assert all(f'<li dir="auto">{line}</li>' in page for line in ("a b c", "d e f g h", "z z z"))
    _, out, _ = textvae(trained, file, *options)
    assert out.splitlines()[0] == expected.report()


def test_a_table_has_its_own_labels(textvae, vae, trained, file, tmp_path):
    rows = [f"{line}\t{kind}" for line, kind in zip(LINES, KINDS, strict=True) if "\t" not in line]
    (tmp_path / "table.tsv").write_text("\n".join(["said\tkind", *rows]) + "\n")
    options = ["--clusters", 2, "--maximum-length", 6, "--column", "said", "--label-column", "kind", "--json"]
    found = json.loads(textvae(trained, "table.tsv", *options)[1])
    texts = [line for line in LINES if line and "\t" not in line]
    assert found["labels"] == cluster_texts(vae, texts, 2, maximum_length=6).labels.tolist()
    assert sum(map(sum, found["scores"]["confusion"])) == len(texts) - 1


def test_texts_without_labels_have_no_scores(textvae, trained, file, tmp_path):
    assert "scores" not in json.loads(
        textvae(trained, file, "--clusters", 2, "--maximum-length", 6, "--json")[1]
    )
    (tmp_path / "none.txt").write_text("\n" * len(LINES))
    code, out, err = textvae(trained, file, "--labels", "none.txt", "--confusion", "x.png")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "expected classes for --confusion, found none" in err


def test_more_classes_than_a_picture_holds_are_no_classes(textvae, trained, tmp_path):
    (tmp_path / "many.tsv").write_text("text\tlabel\n" + "".join(f"a b\t{row}\n" for row in range(101)))
    code, out, err = textvae(trained, "many.tsv", "--confusion", "x.png")
    assert (code, out) == (2, "")
    assert "at most 100 different labels, got 101" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--confusion", "x.jpg"], "ends in one of .png, .pdf, .svg, got x.jpg"),
        (["--confusion", "x.png"], "expected classes for --confusion, found none"),
        (["--clusters", "some"], "a number of 1 or more, or auto, got 'some'"),
        (["--clusters", "0"], "a number of 1 or more, or auto, got '0'"),
        (["--clusters", "100"], "got 100 clusters and 9 different vectors"),
        (["--clusters", "auto", "--method", "k-means"], "a number of clusters for k-means"),
        (["--method", "prior"], "whose prior is a mixture"),
        (["-o", "."], "a file to write to, got the folder ."),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(textvae, trained, file, arguments, message):
    code, out, err = textvae(trained, file, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: expected ")
    assert message in err


def test_missing_files_are_named_before_the_model_is_loaded(textvae, file):
    assert "a file or folder nowhere.txt, found none" in textvae("no-run", "nowhere.txt")[2]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("options", "seen"), [([], True), (["--quiet"], False)])
def test_bars_on_a_terminal_unless_quiet(trained, file, monkeypatch, options, seen):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    arguments = ["--clusters", "auto", "--method", "diagonal-mixture", "--maximum-length", "3"]
    with pytest.raises(SystemExit):
        main([*options, "cluster", str(trained), str(file), *arguments])
    for bar in ("encoding", "choosing", "decoding"):
        assert (bar in terminal.getvalue()) is seen
