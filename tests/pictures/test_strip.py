import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from textvae.pictures.strip import BLUE, NEW, changed, draw_strip, write_strip_page
from textvae.support.errors import UserError

TEXTS = ["the dog sleeps", "the dog sleeps", "the dog barks at the moon", "$5 and $6 too"]


def rows_of(path, colour):
    """The runs of rows that contain this colour, as (first, last, pixels in the widest row)."""
    found = (np.abs(imread(path)[..., :3] - to_rgb(colour)).max(-1) < 0.02).sum(1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], found > 0, [0]]).astype(int)))
    return [(first, last, found[first:last].max()) for first, last in edges.reshape(-1, 2).tolist()]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a b c", "a b c", "..."),
        ("a b c", "a x c", ".x."),
        ("a b c", "a c", ".."),
        ("a c", "a b c d", ".x.x"),
        ("", "a b", "xx"),
        ("a b", "", ""),
        ("a b c d e", "c d e a b x", "...xxx"),
    ],
)
def test_the_words_that_are_new(before, after, expected):
    assert changed(before, after) == [mark == "x" for mark in expected]


def test_new_words_are_marked_in_the_lines_that_have_them(tmp_path):
    draw_strip(TEXTS[:3], None, tmp_path / "x.png")
    (only,) = rows_of(tmp_path / "x.png", NEW)
    height = imread(tmp_path / "x.png").shape[0]
    assert only[0] > height / 2, "in the third line"
    draw_strip(TEXTS[:2], None, tmp_path / "same.png")
    assert not rows_of(tmp_path / "same.png", NEW)


def test_bars_are_as_long_as_the_sentences_are_improbable(tmp_path):
    draw_strip(TEXTS, [-10, -5, -20, 0], tmp_path / "x.png")
    widths = [wide for _, _, wide in rows_of(tmp_path / "x.png", BLUE)]
    assert np.allclose(widths, np.array([10, 5, 20]) / 20 * max(widths), atol=3)


def test_a_long_sentence_is_broken(tmp_path):
    draw_strip(["word " * 30], None, tmp_path / "long.png")
    draw_strip(["word"], None, tmp_path / "short.png")
    long, short = (imread(tmp_path / f"{name}.png") for name in ("long", "short"))
    assert long.shape[1] == short.shape[1] == 2100
    assert long.shape[0] > short.shape[0]


def test_a_word_longer_than_a_line_is_broken(tmp_path):
    draw_strip(["word", "never " + "ending-" * 60], [-1, -2], tmp_path / "long.png")
    assert imread(tmp_path / "long.png").shape[1] == 2100
    assert len(rows_of(tmp_path / "long.png", NEW)) > 3


def test_a_page_marks_new_words_and_says_where_each_sentence_is(tmp_path):
    write_strip_page(["a b", "a <c>", "a <c>"], [-4, -2, 0], tmp_path / "x.html")
    page = (tmp_path / "x.html").read_text()
    first, second, third = re.findall("<li.*?</li>", page)
    assert "a b<small>sentence 1 of 3, 0% of the way, -2.00 nats a word" in first
    assert "a <mark>&lt;c&gt;</mark><small>sentence 2 of 3, 50% of the way, -1.00 nats" in second
    assert "a &lt;c&gt;<small>sentence 3 of 3, 100% of the way, 0.00 nats a word" in third
    assert re.findall('class="nats">(.*?)<', page) == ["-4.0", "-2.0", "0.0"]
    assert re.findall('width:(.*?)"', page.split("<ol>")[1]) == ["100.0%", "50.0%", "0.0%"]
    assert not re.search("<script|src=|href=|url", page)
    write_strip_page(["a"], None, tmp_path / "x.html")
    assert "nats" not in (tmp_path / "x.html").read_text().split("<h1")[1]


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match="expected sentences to draw, got none"):
        draw_strip([], None, tmp_path / "x.png")
    with pytest.raises(UserError, match=r"a score for each of 4 sentences, got shape \(3,\)"):
        write_strip_page(TEXTS, [-1, -2, -3], tmp_path / "x.html")
    with pytest.raises(UserError, match=r"a score for each of 4 sentences, got shape \(3,\)"):
        draw_strip(TEXTS, [-1, -2, -3], tmp_path / "x.png")
    for wrong in (0.5, np.nan, -np.inf):
        with pytest.raises(UserError, match="expected finite log-probabilities"):
            draw_strip(TEXTS, [-1, -2, wrong, -3], tmp_path / "x.png")
