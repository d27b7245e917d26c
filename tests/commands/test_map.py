"""`textvae map`: the rows that it reads, their colours, and the files that it writes."""

import io
import json
import re
import sys
from typing import get_args, get_type_hints

import numpy as np
import pytest
import tiny
import torch

from textvae.cli import main
from textvae.commands.map import map_corpus
from textvae.interfaces.clustering import find_clusters
from textvae.interfaces.text_vae import TextVAE
from textvae.latent_space.maps import METHODS, project

pytestmark = pytest.mark.usefixtures("apart")

TEXTS = [f"{a} {b} {c}" for a in "abc" for b in "klm" for c in "xyz"]


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
def draw(trained, capfd):
    """Runs the command with PCA: exit code, standard output, standard error."""

    def command(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["map", str(trained), *map(str, arguments), "--method", "pca"])
        return (end.value.code or 0, *capfd.readouterr())

    return command


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(TEXTS) + "\n")
    return path


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.tsv"
    rows = [f"{text}\t{text[0]}\t{text[2]}" for text in TEXTS]
    path.write_text("\n".join(["said\tlabel\tkind", *rows]) + "\n")
    return path


def points(out):
    """The points of --json by sentence: position and label."""
    return {point["text"]: (point["x"], point["y"], point["label"]) for point in json.loads(out)["points"]}


def data(path):
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(), re.DOTALL)[1])


def test_a_picture_and_a_page_beside_it(draw, lines, tmp_path):
    code, out, err = draw(lines, "-o", "new/a.png")
    assert (code, out, err) == (0, "new/a.png\nnew/a.html\n", "")
    assert (tmp_path / "new/a.png").read_bytes().startswith(b"\x89PNG")
    page = data(tmp_path / "new/a.html")
    assert sorted(page["texts"]) == sorted(TEXTS)
    assert page["title"] == "lines.txt: 27 texts (pca)"
    assert draw(lines, "-o", "b.pdf")[1] == "b.pdf\nb.html\n"


def test_places_and_clusters_are_those_of_the_vectors(draw, vae, lines):
    code, out, err = draw(lines, "--clusters", 2, "--seed", 3, "--json")
    assert (code, err) == (0, "")
    vectors = vae.encode(TEXTS)
    places, numbers = project(vectors).round(5), find_clusters(vae, vectors, 2, seed=3).predict(vectors)
    found = points(out)
    for text, place, number in zip(TEXTS, places.tolist(), numbers, strict=True):
        *at, label = found[text]
        assert at == pytest.approx(place, abs=1e-4)
        assert label.startswith(f"{number}")
    assert len({label for *_, label in found.values()}) == 2


def test_without_labels_there_are_ten_clusters_named_by_their_words(draw, lines):
    labels = {label for *_, label in points(draw(lines, "--json")[1]).values()}
    assert {label.split(":")[0] for label in labels} == set(map(str, range(10)))
    assert all(set(re.findall(r"[a-z]+", label)) <= set("abcklmxyz") for label in labels)


def test_labels_come_from_the_label_column_or_another(draw, table, tmp_path):
    plain = tmp_path / "plain.tsv"
    plain.write_text(table.read_text().replace("said", "text"))
    _, out, _ = draw(plain, "--json")
    assert all(text[0] == label for text, (*_, label) in points(out).items())
    _, out, _ = draw(table, "--column", "said", "--label-column", "kind", "--json")
    assert all(text[2] == label for text, (*_, label) in points(out).items())
    _, out, _ = draw(table, "--column", "said", "--label-column", "kind", "--clusters", 2, "--json")
    assert {label[:2] for *_, label in points(out).values()} <= {"0", "0:", "1", "1:"}


def test_a_file_of_labels_belongs_to_the_lines_blank_ones_counted(draw, tmp_path):
    (tmp_path / "lines.txt").write_text("a b\n\nc d\ne f\n")
    (tmp_path / "labels.txt").write_text("one\ntwo\nthree\n\n")
    code, out, err = draw("lines.txt", "--labels", "labels.txt", "--json")
    assert (code, err) == (0, "")
    assert {text: label for text, (*_, label) in points(out).items()} == {
        "a b": "one",
        "c d": "three",
        "e f": None,
    }


def test_a_dash_is_standard_input(draw, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a b\nz\n\nk l\n")))
    code, out, _ = draw("-", "--json")
    assert code == 0
    assert {text: label for text, (*_, label) in points(out).items()} == {"a b": None, "z": None, "k l": None}


def test_the_embedded_corpus_has_many_labels(draw, monkeypatch):
    monkeypatch.setattr("textvae.commands.corpora.EMBEDDED", 40)
    code, out, _ = draw("grammar", "--label-column", "type", "--json")
    assert (code, json.loads(out)["texts"]) == (0, 40)
    assert {label for *_, label in points(out).values()} == {"statement", "question"}


@pytest.mark.slow
def test_a_choice_of_many_is_said_on_the_page_and_on_standard_error(draw, lines, tmp_path):
    code, out, err = draw(lines, "--limit", 12, "--json", "--clusters", 2)
    assert (code, err) == (0, "12 of 27 texts, chosen at random; --limit changes that\n")
    chosen = [text for text in TEXTS if text in points(out)]
    assert (len(chosen), json.loads(out)["texts"]) == (12, 27)
    assert chosen != TEXTS[:12]
    assert "12 of 27 texts" in data(tmp_path / "map.html")["title"]
    assert set(points(draw(lines, "--limit", 12, "--json", "--clusters", 2)[1])) == set(chosen)
    assert set(points(draw(lines, "--limit", 12, "--seed", 1, "--json", "--clusters", 2)[1])) != set(chosen)


def test_all_methods_can_be_chosen():
    assert get_args(get_type_hints(map_corpus)["method"]) == tuple(METHODS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.txt"], "nowhere.txt"),
        (["lines.txt", "-o", "map.jpg"], "ends in one of .png, .pdf, .svg, got map.jpg"),
        (["lines.txt", "-o", "."], "got the folder ."),
        (["lines.txt", "--labels", "three.txt"], "a label for each line, got 3 for 27 lines"),
        (["lines.txt", "--labels", "three.txt", "--column", "1"], "got both"),
        (["grammar", "--labels", "three.txt"], "such as topic"),
        (["table.tsv", "--column", "said", "--label-column", "lable"], "'lable'"),
        (["many.tsv"], "at most 100 different labels, got 101"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2_before_any_work(
    draw, lines, table, tmp_path, monkeypatch, arguments, message
):
    (tmp_path / "three.txt").write_text("x\ny\nz\n")
    (tmp_path / "many.tsv").write_text("text\tlabel\n" + "".join(f"a\t{row}\n" for row in range(101)))
    monkeypatch.setattr(TextVAE, "from_pretrained", lambda run: pytest.fail("the model is not yet needed"))
    code, out, err = draw(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: expected ")
    assert err.count("\n") == 1
    assert message in err
    assert not list(tmp_path.glob("map.*"))


def test_a_language_model_has_no_map(lines, tmp_path, capfd):
    TextVAE(tiny.model(latent_size=0), tiny.tokenizer()).save_pretrained(tmp_path / "bare")
    with pytest.raises(SystemExit) as end:
        main(["map", "bare", str(lines)])
    assert end.value.code == 2
    assert "expected a model with a latent" in capfd.readouterr().err


@pytest.mark.slow
def test_tsne_is_what_is_drawn_by_default(trained, lines, vae, capfd):
    with pytest.raises(SystemExit):
        main(["map", str(trained), str(lines), "--json"])
    found = points(capfd.readouterr().out)
    expected = project(vae.encode(TEXTS), "tsne")
    assert np.allclose([found[text][:2] for text in TEXTS], expected, atol=0.01 * np.ptp(expected))
