import re

import numpy as np
import pytest
from matplotlib.image import imread

from textvae.pictures.confusion import draw_confusion, write_confusion_page
from textvae.support.errors import UserError


def cells(path, size):
    """The colour of each cell at a corner without digits; the picture must have no names at its sides."""
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


def test_long_names_are_turned_so_that_none_hides_another(tmp_path):
    names = ["0: microsoft, company", "1: oil, prices"]
    for columns, turned in ((names, 2), (["0", "1"], 0)):
        draw_confusion(np.eye(2) * 9, ["x", "y"], columns, tmp_path / "x.svg")
        found = re.findall(r"<text ([^>]*)>([^<]*)</text>", (tmp_path / "x.svg").read_text())
        shown = [attributes for attributes, name in found if name in columns]
        assert len(shown) == 2, "at the top alone"
        assert sum("rotate(-45" in attributes for attributes in shown) == turned


@pytest.mark.slow
def test_many_classes_fit_on_a_page(tmp_path):
    draw_confusion(np.eye(40) * 1000, range(40), range(40), tmp_path / "x.png")
    assert imread(tmp_path / "x.png").shape[1] < 7 * 300


def test_a_page_shows_texts_of_each_cell_and_loads_nothing(tmp_path):
    texts = [[["<b>one", "& two <unk>"], []], [["three"], ["four " * 100]]]
    write_confusion_page(
        [[3, 0], [1, 9]], ["x<y", "z"], ["0: $a", "1"], texts, tmp_path / "x.html", title="A & B"
    )
    page = (tmp_path / "x.html").read_text()
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page)
    assert [re.match("[^<]*", cell)[0] for cell in cells] == ["3", "·", "1", "9"]
    assert re.findall("<li[^>]*>([^<]*)</li>", cells[0]) == ["one", "&amp; two &lt;unk&gt;"]
    assert len(re.findall("four", cells[3])) == 59, "300 characters"
    assert "3 texts: 100.0% of x&lt;y, 75.0% of cluster 0: $a" in cells[0]
    assert "1 text: 10.0% of z, 25.0% of cluster 0: $a" in cells[2]
    assert re.findall('--share:([^"]*)', page) == ["100%", "0%", "10%", "90%"]
    assert '<h1 dir="auto">A &amp; B</h1>' in page
    assert not re.search("<script|src=|href=|url", page)


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match="examples for each of 1 rows and 2 columns"):
        write_confusion_page([[1, 2]], ["x"], ["y", "z"], [[["a"]]], tmp_path / "x.html")
    with pytest.raises(UserError, match=r"a matrix of 2 rows and 1 columns, one for each name, got \(1, 2\)"):
        draw_confusion([[1, 2]], ["x", "y"], ["z"], tmp_path / "x.png")
    for wrong in ([[0.5]], [[-1]], [[np.nan]]):
        with pytest.raises(UserError, match="expected numbers of texts"):
            draw_confusion(wrong, ["x"], ["z"], tmp_path / "x.png")
