"""`textvae translate`: its output."""

import io
import json
import sys

import pytest
import tiny
from translators import SOURCES, make

from textvae.evaluation.bleu import bleu
from textvae.interfaces.text_vae import TextVAE
from textvae.interfaces.translator import Translator

LINES = ["A B C", "", "Z Y X W"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    make().save_pretrained(folder)
    return folder


@pytest.fixture
def translator(trained):
    return Translator.from_pretrained(trained)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a text file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines.txt").write_text("\n".join(LINES) + "\n")


def test_line_i_belongs_to_line_i(textvae, translator, trained):
    code, out, err = textvae("translate", trained, "lines.txt", "--beam", 3, "--maximum-length", 6)
    assert (code, err) == (0, "")
    expected = translator.translate(LINES, num_beams=3, maximum_length=6)
    assert out == "".join(f"{text}\n" for text in expected)
    assert expected[1] == ""


def test_it_stands_in_a_pipe(textvae, translator, trained, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(SOURCES).encode())))
    code, out, _ = textvae("translate", trained, "--maximum-length", 6)
    assert (code, out.splitlines()) == (0, translator.translate(SOURCES, maximum_length=6))


def test_samples_are_numbered(textvae, translator, trained):
    options = ("--samples", 2, "--beam", 2, "--seed", 4, "--maximum-length", 6)
    expected = translator.translate(LINES, samples=2, num_beams=2, seed=4, maximum_length=6)
    _, out, _ = textvae("translate", trained, "lines.txt", *options)
    assert out.splitlines() == [f"{n}\t{text}" for n, own in enumerate(expected, 1) for text in own]
    _, out, _ = textvae("translate", trained, "lines.txt", *options, "--json")
    assert json.loads(out) == {"translations": expected}


def test_options_arrive(textvae, translator, trained):
    options = {"length_penalty": 3.0, "rescore": 5, "num_beams": 4, "maximum_length": 6, "seed": 0}
    arguments = ("--length-penalty", 3, "--rescore", 5, "--beam", 4, "--maximum-length", 6, "--seed", 0)
    _, out, _ = textvae("translate", trained, "lines.txt", *arguments)
    assert out.splitlines() == translator.translate(LINES, **options)
    drawn = {"temperature": 2.0, "num_beams": 1, "seed": 1, "maximum_length": 6}
    arguments = ("--temperature", 2, "--beam", 1, "--seed", 1, "--maximum-length", 6)
    _, out, _ = textvae("translate", trained, "lines.txt", *arguments)
    assert out.splitlines() == translator.translate(LINES, **drawn)


def test_bleu_goes_to_standard_error(textvae, translator, trained, tmp_path):
    translations = translator.translate(LINES, maximum_length=6)
    (tmp_path / "references.txt").write_text("\n".join([*translations[:2], "a b c d e"]) + "\n")
    references = [*translations[:2], "a b c d e"]
    options = ("--maximum-length", 6, "--references", "references.txt", "--tokenize", "none")
    code, out, err = textvae("translate", trained, "lines.txt", *options)
    expected = bleu(translations, references, "none")
    assert (code, out.splitlines(), err) == (0, translations, f"{expected}\n")
    _, out, err = textvae("translate", trained, "lines.txt", *options, "--json")
    assert err == ""
    assert json.loads(out) == {
        "translations": translations,
        "bleu": expected.score,
        "bleu_signature": expected.signature,
    }


def test_mistakes_are_one_line(textvae, trained, tmp_path):
    (tmp_path / "short.txt").write_text("a\n")
    TextVAE(tiny.model(), tiny.tokenizer()).save_pretrained(tmp_path / "sentences")
    for arguments, message in (
        (["translate", trained, "nowhere.txt"], "found nothing at nowhere.txt"),
        (["translate", trained, "lines.txt", "--references", "short.txt"], "got 1 for 3 lines"),
        (["translate", trained, "lines.txt", "--tokenize", "x", "--references", "lines.txt"], "got 'x'"),
        (
            ["translate", "sentences", "lines.txt"],
            "got a TextVAEModel: use TextVAE, or the commands other than",
        ),
        (["sample", trained], "got a Seq2SeqVAEModel: use Translator, or textvae translate"),
        (["evaluate", trained, "lines.txt"], "a file of sources and --references"),
        (["evaluate", trained], "has no recipe.yaml: use textvae evaluate RUN FILE"),
        (["evaluate", "sentences", "lines.txt", "--references", "lines.txt"], "run for --references, got"),
    ):
        code, out, err = textvae(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("error: expected ")
        assert message in err
