"""The interpolation between two sentences is printed and drawn as the package decodes it."""

import pytest
import tiny

from textvae.interfaces.text_vae import TextVAE
from textvae.pictures.strip import draw_strip


@pytest.fixture
def run(tmp_path):
    """A run folder of a tiny model."""
    TextVAE(tiny.model(), tiny.tokenizer()).save_pretrained(tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.slow
@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_the_way_is_printed_and_drawn(example, run, tmp_path, path):
    picture, expected = tmp_path / "way.png", tmp_path / "expected.png"
    result = example("interpolate.py", run, "a b c", "x y", "--steps", 3, "--path", path, "-o", picture)
    assert result.code == 0, result.err
    *lines, last = result.out.splitlines()
    vae = TextVAE.from_pretrained(run)
    z = vae.path_between("a b c", "x y", 3, path)
    sentences = vae.decode(z)
    scores = vae.score(sentences, z)
    assert lines == [f"{-score:6.1f}  {text}" for text, score in zip(sentences, scores, strict=True)]
    assert last.endswith(f"picture: {picture}")
    draw_strip(sentences, scores, expected)
    assert picture.read_bytes() == expected.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--steps", 1], "2"), (["-o", "way.doc"], "ends in one of .png, .pdf, .svg")],
)
def test_a_mistake_is_one_line(example, run, arguments, message):
    result = example("interpolate.py", run, "a", "b", *arguments)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert message in result.err


def test_a_run_that_is_not_there_is_named(example, tmp_path):
    result = example("interpolate.py", tmp_path / "none", "a", "b")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert str(tmp_path / "none") in result.err
