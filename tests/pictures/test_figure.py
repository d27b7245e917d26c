import sys

import pytest

from textvae.pictures.figure import check_picture, new_figure, plain, write
from textvae.support.errors import UserError


def test_a_picture_that_cannot_be_written_is_refused_at_once(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"got the folder .*: add a name, such as .*map.png"):
        check_picture(tmp_path)
    with pytest.raises(
        UserError, match=r"ends in one of .png, .pdf, .svg, got x.jpg: rename it, for example to x.png"
    ):
        check_picture("x.jpg")
    with pytest.raises(UserError, match=r"got map: rename it, for example to map.png"):
        check_picture("map")
    check_picture("x.PNG")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install 'textvae\[plots\]'"):
        check_picture("x.png")


def test_names_are_broken_and_shortened_and_no_formulas():
    assert plain("a name of several words", 10) == "a name of\nseveral\nwords"
    assert plain("$5 and $6", 20) == r"\$5 and \$6"
    assert plain("word " * 40, 100, 20) == "word word word …"
    assert (
        plain("talk.politics.mideast comp.os.ms-windows", 16)
        == "talk.politics.\nmideast comp.os.\nms-windows"
    )
    assert plain("a \x1b[31m", 20) == r"a \x1b[31m"


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_equal_pictures_are_equal_files(tmp_path, suffix):
    for name in "ab":
        figure = new_figure(1, 1)
        figure.text(0.5, 0.5, "words")
        write(figure, tmp_path / f"{name}{suffix}")
    first, second = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert first == second


def test_what_stands_outside_is_in_the_picture(tmp_path):
    from matplotlib.image import imread

    figure = new_figure(1, 1)
    figure.text(1.5, 0.5, "words")
    write(figure, tmp_path / "x.png")
    height, width, _ = imread(tmp_path / "x.png").shape
    assert height == 300
    assert width > 500
