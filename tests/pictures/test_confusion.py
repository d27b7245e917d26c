import re

import numpy as np
import pytest
from matplotlib.image import imread

from textvae.errors import UserError
from textvae.pictures.confusion import draw_confusion


def cells(path, size):
    """The colour of each cell, near its corner, where no number is; for a picture without names at its sides."""
    pixels = imread(path)[..., :3]
    coloured = np.argwhere(np.ptp(pixels, axis=2) > 0.003)
    (top, left), (bottom, right) = coloured.min(0), coloured.max(0)
    step = (bottom - top + 1) / size[0], (right - left + 1) / size[1]
    return np.array(
        [
            [
                pixels[int(top + (i + 0.1) * step[0]), int(left + (j + 0.1) * step[1])].sum()
                for j in range(size[1])
            ]
            for i in range(size[0])
        ]
    )


def test_the_colour_is_the_share_of_the_label(tmp_path):
    draw_confusion([[900, 100, 0], [1, 9, 0], [0, 5, 5]], ["a", "b", "c"], [2, 0, 1], tmp_path / "x.png")
    found = cells(tmp_path / "x.png", (3, 3))
    assert found[0, 0] == pytest.approx(found[1, 1], abs=0.02), "nine of ten, however many ten are"
    assert found[0, 0] < found[2, 1] < found[0, 1] < found[0, 2]
    assert found[2, 1] == pytest.approx(found[2, 2])


def test_numbers_and_names_are_written(tmp_path):
    draw_confusion([[12000, 0], [3, 4], [0, 0]], ["x", "y", "z"], ["0: $ and $", 1], tmp_path / "x.svg")
    found = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "x.svg").read_text())
    assert sorted(text for text in found if text.strip() and text != "·") == sorted(
        ["12,000", "3", "4", "x", "y", "z", "0: $ and $", "1", "cluster", "label"]
    )


def test_many_classes_fit_on_a_page(tmp_path):
    draw_confusion(np.eye(40) * 1000, range(40), range(40), tmp_path / "x.png")
    assert imread(tmp_path / "x.png").shape[1] < 7 * 300


def test_mistakes_are_named(tmp_path):
    with pytest.raises(
        UserError, match=r"a matrix of 2 rows and 1 columns, as there are names, got \(1, 2\)"
    ):
        draw_confusion([[1, 2]], ["x", "y"], ["z"], tmp_path / "x.png")
    for wrong in ([[0.5]], [[-1]], [[np.nan]]):
        with pytest.raises(UserError, match="expected numbers of texts"):
            draw_confusion(wrong, ["x"], ["z"], tmp_path / "x.png")
