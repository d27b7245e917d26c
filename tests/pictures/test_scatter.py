import re

import numpy as np
import pytest
import tiny
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from textvae.pictures import scatter
from textvae.pictures.cloud import PALETTE, cloud_of
from textvae.pictures.scatter import SIZE, _moved_apart, _patches, draw_map
from textvae.support.errors import UserError

WIDTH = 1050
"""Width of a column, in pixels."""


def cloud(*centres, n=200, spread=0.3):
    """``n`` points around each centre, and the index of each point's centre."""
    noise = np.random.default_rng(0).normal(size=(len(centres) * n, 2)) * spread
    return np.repeat(np.array(centres, float), n, axis=0) + noise, np.repeat(np.arange(len(centres)), n)


def words(path):
    """The words in an .svg file."""
    found = re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())
    return [text for text in found if text.strip()]


def inked(pixels, colour=None):
    """Rows and columns of the pixels that are not white or, if a colour is given, are nearer to it than to white."""
    target = np.array(to_rgb(colour or "black"))
    distance = np.abs(pixels[..., :3] - target).sum(-1)
    return np.argwhere(distance < (np.abs(1 - target).sum() / 2 if colour else 2.5))


def test_each_class_has_its_colour_where_it_is(tmp_path):
    points, numbers = cloud([0, 0], [9, 0])
    draw_map(points, numbers, tmp_path / "map.png", names=["left", "right"])
    pixels = imread(tmp_path / "map.png")
    assert pixels.shape[1] == WIDTH
    assert inked(pixels, PALETTE[0])[:, 1].max() < WIDTH / 2 < inked(pixels, PALETTE[1])[:, 1].min()


def test_names_stand_on_the_map_if_the_classes_lie_apart_and_below_it_if_not(tmp_path):
    points, numbers = cloud([0, 0], [9, 9])
    labels = np.array(["first", "second"])
    heights = {}
    for name, given in {"apart": numbers, "mixed": numbers[::-1] ^ np.arange(400) % 2, "none": None}.items():
        draw_map(points, None if given is None else labels[given], tmp_path / f"{name}.png")
        heights[name] = imread(tmp_path / f"{name}.png").shape[0]
    assert heights["none"] == heights["apart"] == WIDTH < heights["mixed"]
    draw_map(points, labels[numbers[::-1] ^ np.arange(400) % 2], tmp_path / "mixed.svg")
    assert words(tmp_path / "mixed.svg") == ["first", "second"]


def test_a_name_stands_at_the_median(tmp_path):
    # The mean would be half-way to the few distant points.
    points, numbers = cloud([0, 0], [4, 0])
    points[:60] -= 9
    draw_map(points, numbers, tmp_path / "map.png", names=["OOO", "x"])
    pixels = imread(tmp_path / "map.png")
    letters = np.argwhere(np.abs(pixels[..., :3] - 0.7 * np.array(to_rgb(PALETTE[0]))).max(-1) < 0.02)
    low, high = points.min(0), points.max(0)
    middle = (np.median(points[numbers == 0], 0) - (low + high) / 2) / 1.08 / (high - low).max() * WIDTH
    row, column = letters.mean(0) - np.array(pixels.shape[:2]) / 2
    assert np.allclose([column, -row], middle, atol=6)


def ring(classes, spread, n=100):
    """``n`` points around each of some centres on a circle, and the index of each point's centre."""
    angles = np.linspace(0, 2 * np.pi, classes, endpoint=False)
    return cloud(*np.stack([np.cos(angles), np.sin(angles)], 1) * 10, n=n, spread=spread)


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws a map; returns the words on it and the words below it."""

    def draw(points, numbers, names):
        # Text with an outline becomes a path in the file.
        written = tiny.recorded(monkeypatch, scatter, "_written")
        draw_map(points, numbers, tmp_path / "map.svg", names=names)
        on_map = [text.get_text().replace("\n", " ") for text in (written[-1] if written else [])]
        return on_map, words(tmp_path / "map.svg")

    return draw


def numbered(count, name):
    return [name.format(number) for number in range(1, count + 1)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "spread", "name", "on_map", "below"),
    [
        (13, 0.2, "a long name of {}", [], numbered(13, "a long name of {}")),
        (14, 900, "a long name of {}", [], numbered(14, "a long name of {}")),
        (40, 0.2, "a long name of it", numbered(40, "{}"), numbered(40, "{} a long name of it")),
        (40, 0.2, "c{}: words and words", numbered(40, "c{}"), numbered(40, "c{}: words and words")),
        (40, 0.2, "class{}: words", numbered(40, "{}"), numbered(40, "{0} class{0}: words")),
    ],
    ids=["thirteen", "mixed", "numbers", "the names' own numbers", "their own are too long"],
)
def test_many_classes_without_room_for_names_have_numbers_on_their_patches(
    drawn, monkeypatch, classes, spread, name, on_map, below
):
    monkeypatch.setattr(scatter, "APART", 1.01)
    points, numbers = ring(classes, spread)
    assert drawn(points, numbers, numbered(classes, name)) == (on_map, below)


@pytest.mark.parametrize(("classes", "are_on_map"), [(14, True), (13, False)])
def test_many_classes_among_noise_have_their_names_where_they_are_dense(drawn, classes, are_on_map):
    points, numbers = ring(classes, 0.3)
    noise = np.random.default_rng(0).uniform(-10, 10, (200 * classes, 2))
    points, numbers = (
        np.concatenate([points, noise]),
        np.concatenate([numbers, np.repeat(range(classes), 200)]),
    )
    names = numbered(classes, "class {}")
    assert drawn(points, numbers, names) == ((names, []) if are_on_map else ([], names))


def test_a_patch_is_where_a_class_is_dense():
    points, numbers = cloud([0, 0], [9, 9], n=300)
    points[:100] += 30
    found = _patches(cloud_of(points, numbers), [0, 1])
    assert np.linalg.norm(found[0] - [0, 0]) < 0.6, "not at the mean of its two parts"
    assert np.linalg.norm(found[1] - [9, 9]) < 0.6
    mixed = np.random.default_rng(0).integers(20, size=len(points))
    assert _patches(cloud_of(points, mixed), list(range(20))) == {}
    assert list(_patches(cloud_of(np.zeros((5, 2)), [0, 0, 0, 0, 1]), [0, 1])) == [0], "all at one place"


def test_one_scale_for_both_directions(tmp_path):
    draw_map([[0, 0], [2, 0], [0, 1], [2, 1]], None, tmp_path / "map.png")
    ink = inked(imread(tmp_path / "map.png"))
    high, wide = np.ptp(ink, axis=0) - np.sqrt(25) / 72 * 300  # the width of a point
    assert wide / high == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("points", [[[3, 4]], [[1e9, 1]] * 5, [[0, 0], [0, 1]], np.eye(2) * 1e-9])
def test_few_and_equal_points_are_drawn(points, tmp_path):
    draw_map(points, None, tmp_path / "map.png")
    pixels = imread(tmp_path / "map.png")
    assert pixels.shape[1] == WIDTH
    assert len(inked(pixels))
    draw_map(points, ["x"] * len(points), tmp_path / "map.svg")
    assert words(tmp_path / "map.svg") == ["x"]


def test_names_are_written_as_they_are(tmp_path):
    points, _ = cloud([0, 0])
    names = ["$5 and $6", "<b> & co"]
    draw_map(points, np.arange(200) % 2, tmp_path / "map.svg", names=names, title="A $title$")
    assert sorted(words(tmp_path / "map.svg")) == ["$5 and $6", "&lt;b&gt; &amp; co", "A $title$"]


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match="expected finite numbers"):
        draw_map([[0, np.nan]], None, tmp_path / "map.png")
    with pytest.raises(UserError, match=r"ends in one of .png, .pdf, .svg, got"):
        draw_map([[0, 0]], None, tmp_path / "map.gif")
    assert not list(tmp_path.iterdir())


# ---- names that do not overlap


def overlapping(places, sizes):
    apart = np.abs(places[:, None] - places[None])
    overlap = ((apart < (sizes[:, None] + sizes[None]) / 2 - 1e-9).all(2)) & ~np.eye(len(places), dtype=bool)
    return overlap.any()


def test_names_move_up_and_down_until_none_overlap():
    centres = np.array([[100, 100], [110, 104], [95, 98], [30, 3], [220, 100]], float)
    sizes = np.array([[60, 10], [50, 10], [40, 18], [40, 10], [40, 10]], float)
    room = np.array([240.0, 200.0])
    places = _moved_apart(centres, sizes, room)
    assert overlapping(centres, sizes)
    assert not overlapping(places, sizes)
    assert (places - sizes / 2 >= 0).all()
    assert (places + sizes / 2 <= room).all()
    assert places[4].tolist() == [220, 100], "what is free stays"


def test_names_that_would_go_far_or_have_no_room_are_given_up():
    centres, sizes = np.full((12, 2), 100.0), np.full((12, 2), [60.0, 10.0])
    assert _moved_apart(centres, sizes, np.array([200.0, 200.0])) is None
    assert _moved_apart(centres[:4], sizes[:4], np.array([200.0, 200.0])) is not None
    assert _moved_apart(centres[:4], sizes[:4], np.array([200.0, 3.0 * SIZE])) is None
