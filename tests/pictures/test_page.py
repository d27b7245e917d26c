"""The page of a map: its content, and its behaviour in a stand-in for a browser."""

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import textvae.pictures
from textvae.pictures.page import write_page
from textvae.support.display import without_markup
from textvae.support.errors import UserError

NASTY = [
    "</script><script>alert(1)</script>",
    "<!-- <script> <img src=x onerror=alert(1)>",
    "__MAP__ & \\ \" ' \u2028 \0",
    "السلام عليكم",
    "日本語のテキスト",
    "👩‍👩‍👧‍👦 flags",
    "two\nlines",
]
# Four places, with the whole map 800 by 600: x from -0.5 to 0.5 is 0.92 · 600 / (1 / 1) pixels wide.
SQUARE = [[0, 0], [0, 1], [1, 0], [1, 1]]
LEFT, RIGHT, TOP, BOTTOM = 400 - 276, 400 + 276, 300 - 276, 300 + 276


class Reader(HTMLParser):
    """Reads the elements of a page and the text of its data."""

    def __init__(self):
        super().__init__()
        self.tags, self.data, self.inside = [], "", False

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = ("id", "data") in attributes

    def handle_data(self, text):
        if self.inside:
            self.data += text
            self.inside = False


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.tags, json.loads(reader.data)


@pytest.fixture
def browse(tmp_path):
    """Writes a page, performs the steps in it, and returns the state after each step."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")

    def run(points, texts, labels, *steps, **options):
        write_page(points, texts, labels, tmp_path / "map.html", **options)
        browser = Path(__file__).with_name("browser.js")
        command = [node, browser, tmp_path / "map.html", json.dumps(steps)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return json.loads(result.stdout)

    return run


def at(type, x, y, **more):
    return ["canvas", type, {"offsetX": x, "offsetY": y, "pointerId": 1, "pointerType": "mouse"} | more]


# ---- content of the file


def test_no_text_leaves_the_data(tmp_path):
    points = np.random.default_rng(0).normal(size=(len(NASTY), 2))
    write_page(points, NASTY, NASTY, tmp_path / "map.html", title=NASTY[0])
    write_page(points, [""] * len(NASTY), None, tmp_path / "empty.html")
    (tags, data), (expected, _) = read(tmp_path / "map.html"), read(tmp_path / "empty.html")
    assert tags == expected
    names = [data["names"][number] for number in data["classes"]]
    assert sorted(names) == sorted(NASTY)
    assert data["title"] == NASTY[0]
    assert [without_markup(name) for name in names] == data["texts"]


def test_texts_stay_with_their_points_whose_shape_is_kept(tmp_path):
    points = np.random.default_rng(0).normal(size=(50, 2)) * [1, 3] + 7
    write_page(points, [str(row) for row in range(50)], None, tmp_path / "map.html")
    data = read(tmp_path / "map.html")[1]
    found = np.array(data["places"])[np.argsort(np.array(data["texts"], int))]
    span = np.ptp(points, axis=0).max()
    np.testing.assert_allclose(found, (points - (points.min(0) + points.max(0)) / 2) / span, atol=1e-5)


def test_nothing_is_loaded(tmp_path):
    write_page(SQUARE, list("abcd"), None, tmp_path / "map.html")
    tags, _ = read(tmp_path / "map.html")
    assert not [attributes for _, attributes in tags if {"src", "href"} & set(attributes)]
    assert "default-src 'none'" in str(tags)


def test_a_lone_surrogate_is_no_reason_to_fail(tmp_path):
    write_page([[0, 0]], ["a\ud800b"], None, tmp_path / "map.html")
    assert read(tmp_path / "map.html")[1]["texts"] == ["a?b"]


def test_the_template_comes_with_the_package():
    assert (Path(textvae.pictures.__file__).parent / "page.html").is_file()


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match="expected a text for each of 4 points, got 3 texts"):
        write_page(SQUARE, list("abc"), None, tmp_path / "map.html")
    with pytest.raises(UserError, match=r"expected finite numbers, got \[nan  0.\] for point 1"):
        write_page([[0, 0], [np.nan, 0]], list("ab"), None, tmp_path / "map.html")
    assert not list(tmp_path.iterdir())


# ---- behaviour


def test_a_point_under_the_mouse_shows_its_sentence(browse):
    steps = [at("pointermove", *place) for place in ((LEFT + 3, BOTTOM), (RIGHT, TOP - 3), (400, 300))]
    page = browse(SQUARE, NASTY[:4], ["x", "y", "x", "y"], *steps, title="A & B")
    assert [step["tip"] for step in page["seen"]] == [["x", "alert(1)"], ["y", NASTY[3]], None]
    assert page["title"] == "A & B"
    assert page["legend"] == [["x", "2"], ["y", "2"]]
    places = sorted((x, y) for x, y, _ in page["seen"][0]["drawn"])
    assert np.allclose(places, [(LEFT, TOP), (LEFT, BOTTOM), (RIGHT, TOP), (RIGHT, BOTTOM)], atol=1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("word " * 80 + "end", "word " * 79 + "…"),
        ("word " * 79 + "at end", "word " * 79 + "at …"),
        ("word " * 79 + "end.", "word " * 79 + "end."),
        ("長" * 401, "長" * 399 + "…"),
        ("<p>Tom &amp; <br/>\nJerry</p>", "Tom & Jerry"),
    ],
)
def test_a_long_text_is_shortened_and_its_markup_left_out(browse, text, shown):
    page = browse(SQUARE, [text, "", "", ""], None, at("pointermove", LEFT, BOTTOM))
    assert page["seen"][0]["tip"] == ["", shown]


@pytest.mark.slow
def test_the_nearest_of_many_points_is_found(browse):
    points = np.random.default_rng(0).uniform(size=(3000, 2))
    points[:4] = SQUARE
    wanted = np.random.default_rng(1).uniform(0.02, 0.98, size=(40, 2))
    distance = np.linalg.norm(wanted[:, None] - points[None], axis=2) * 2 * 276
    steps = [at("pointermove", LEFT + 552 * x, BOTTOM - 552 * y) for x, y in wanted]
    seen = browse(points, [str(row) for row in range(3000)], None, *steps)["seen"]
    close = distance.min(1) < 7.9
    assert close.sum() > 10
    for step, row, is_close in zip(seen, distance.argmin(1), close, strict=True):
        assert not is_close or step["tip"] == ["", str(row)]


def test_classes_are_hidden_shown_alone_and_shown_again(browse):
    labels = ["x", "y", "z", None]
    steps = [["ul 0", "click"], at("pointermove", LEFT, BOTTOM), ["ul 2", "dblclick"], ["ul 2", "dblclick"]]
    page = browse(SQUARE, list("abcd"), labels, *steps)
    assert [name for name, _ in page["legend"]] == ["x", "y", "z", "no label"]
    hidden, _, alone, again = page["seen"]
    assert (hidden["pressed"], hidden["count"]) == ([False, True, True, True], "3 texts")
    assert page["seen"][1]["tip"] is None
    assert (alone["pressed"], len(alone["drawn"])) == ([False, False, True, False], 1)
    assert (again["pressed"], len(again["drawn"])) == ([True] * 4, 4)


def test_a_search_dims_what_it_does_not_find(browse):
    texts = ["Zu Hause", "ein haus", "<unk>", "nichts"]
    steps = [["input", "input", {"value": value}] for value in ("HAUS", "<", "")]
    found, tag, nothing = browse(SQUARE, texts, None, *steps)["seen"]
    assert found["count"] == "2 found among 4 texts"
    assert sorted(alpha for _, _, alpha in found["drawn"]) == [0.12, 0.12, 0.9, 0.9]
    assert tag["count"] == "1 found among 4 texts"
    assert (nothing["count"], len(nothing["drawn"])) == ("4 texts", 4)


def test_the_map_moves_and_zooms_and_comes_back(browse):
    def corners(step):
        return np.array(sorted((x, y) for x, y, _ in step["drawn"]))

    steps = [
        at("pointerdown", 400, 300),
        at("pointermove", 420, 270),
        at("pointerup", 420, 270),
        at("wheel", 420, 270, deltaY=100, deltaMode=0, ctrlKey=False),
        ["canvas", "dblclick"],
        at("pointerdown", 300, 300),
        at("pointerdown", 500, 300, pointerId=2),
        at("pointermove", 475, 300, pointerId=2),
        at("pointermove", 325, 300),
    ]
    seen = browse(SQUARE, list("abcd"), None, at("pointermove", 400, 300), *steps)["seen"]
    start, moved, zoomed, back, pinched = (corners(seen[step]) for step in (0, 2, 4, 5, 9))
    assert np.allclose(moved, start + np.array([20, -30]), atol=1)
    middle = np.array([420, 270])
    assert np.allclose(zoomed, middle + np.exp(-0.2) * (moved - middle), atol=1)
    assert np.allclose(back, start, atol=1)
    # Two fingers move from 200 to 150 pixels apart, around their midpoint.
    assert np.allclose(pinched, [400, 300] + 0.75 * (start - [400, 300]), atol=1)
