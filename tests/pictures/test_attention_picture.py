import re

import numpy as np
import pytest
from matplotlib.image import imread

from textvae.pictures.attention import draw_attention
from textvae.support.errors import UserError


def test_the_darker_the_further(tmp_path):
    weights = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    draw_attention(weights, ["", "", ""], ["", ""], tmp_path / "x.png")
    grey = imread(tmp_path / "x.png")[..., 0]
    height, width = grey.shape
    found = np.array(
        [[grey[int((i + 0.5) * height / 2), int((j + 0.5) * width / 3)] for j in range(3)] for i in range(2)]
    )
    assert found[0, 0] < 0.05
    assert found[0, 1] == found[0, 2] == found[1, 0] == pytest.approx(1.0, abs=0.01)
    assert found[1, 1] == found[1, 2] == pytest.approx(0.5, abs=0.15)


def test_tokens_stand_on_both_axes(tmp_path):
    draw_attention(np.full((3, 2), 0.5), [" a", "$5"], [" ein", "<0xC3>", "</s>"], tmp_path / "x.svg")
    found = re.findall(r"<text([^>]*)>([^<]*)</text>", (tmp_path / "x.svg").read_text())
    assert [text for _, text in found] == ["a", "$5", "ein", "&lt;0xC3&gt;", "&lt;/s&gt;"]
    upright = ["rotate(-90" in how for how, _ in found]
    assert upright == [True, True, False, False, False], "those along the top would overlap"


def test_a_long_source_fits_on_a_page(tmp_path):
    draw_attention(np.full((2, 80), 1 / 80), ["w"] * 80, ["v"] * 2, tmp_path / "x.png")
    assert imread(tmp_path / "x.png").shape[1] <= 7 * 300


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([[0.5, 0.5]], r"weights of 2 target tokens to 2 source tokens, got shape \(1, 2\)"),
        ([[0.5, 0.5], [0.5, 0.4]], "sum to 1 in each row"),
        ([[0.5, 0.5], [1.5, -0.5]], "of 0 or more"),
        ([[0.5, 0.5], [np.nan, 1]], "of 0 or more"),
    ],
)
def test_what_is_no_attention_is_refused(weights, message, tmp_path):
    with pytest.raises(UserError, match=message):
        draw_attention(weights, ["a", "b"], ["c", "d"], tmp_path / "x.png")
