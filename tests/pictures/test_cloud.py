import numpy as np
import pytest

from textvae.pictures.cloud import GREY, MOST, PALETTE, classes_of, cloud_of
from textvae.support.errors import UserError

POINTS = np.arange(8.0).reshape(4, 2)


def back(cloud):
    """Places and classes in the order of the input."""
    order = np.argsort(cloud.order)
    return cloud.places[order].tolist(), cloud.classes[order].tolist()


@pytest.mark.parametrize(
    ("labels", "names", "classes", "found"),
    [
        (["b", "a", "b", "c"], None, [1, 0, 1, 2], ("a", "b", "c")),
        ([10, 9, 10, 2], None, [2, 1, 2, 0], ("2", "9", "10")),
        (np.array([10, 9, 10, 2]), None, [2, 1, 2, 0], ("2", "9", "10")),
        (["10", "9", "b10", "B9"], None, [1, 0, 3, 2], ("9", "10", "B9", "b10")),
        ([1, "a", None, 1], None, [0, 1, -1, 0], ("1", "a")),
        ([2, 0, -1, None], ["x", "y", "z"], [2, 0, -1, -1], ("x", "y", "z")),
        (np.array([2, 0, 0, 2]), ["x", "y", "z"], [2, 0, 0, 2], ("x", "y", "z")),
        (None, None, [-1] * 4, ()),
    ],
)
def test_labels_are_numbers_of_names_or_names(labels, names, classes, found):
    cloud = cloud_of(POINTS, labels, names)
    assert back(cloud) == (POINTS.tolist(), classes)
    assert cloud.names == found


def test_only_classes_with_points_are_present_and_no_label_comes_last():
    cloud = cloud_of(POINTS, [2, 0, None, 2], ["x", "y", "z"])
    assert [cloud.name(number) for number in cloud.present] == ["x", "z", "no label"]
    assert cloud.colours == [*PALETTE[:3], GREY]
    assert cloud_of(POINTS, None).present == []
    assert cloud_of(POINTS, None).colours == [PALETTE[0]]


def test_classes_are_mixed_in_the_order_of_drawing():
    half = cloud_of(np.zeros((1000, 2)), [0] * 500 + [1] * 500).classes[:500].mean()
    assert 0.4 < half < 0.6


def test_mistakes_are_named():
    with pytest.raises(UserError, match=r"expected points of shape \(n, 2\), got \(4, 3\)"):
        cloud_of(np.zeros((4, 3)), None)
    with pytest.raises(UserError, match=r"got \(0,\)"):
        cloud_of([], None)
    with pytest.raises(UserError, match=r"expected finite numbers, got \[ 0. inf\] for point 1"):
        cloud_of([[0, 0], [0, np.inf]], None)
    with pytest.raises(UserError, match="a label for each of 4 points, got 3 labels"):
        cloud_of(POINTS, [1, 2, 3])
    with pytest.raises(UserError, match="labels from 0 to 1, one for each name, got 2"):
        cloud_of(POINTS, [0, 1, 2, 0], ["x", "y"])
    with pytest.raises(UserError, match="labels from 0 to 1, one for each name, got 'x'"):
        cloud_of(POINTS, ["x"] * 4, ["x", "y"])
    with pytest.raises(
        UserError, match="at most 100 different labels, got 101, such as 0: is this the label column"
    ):
        classes_of(range(MOST + 1))


# How each kind of vision sees linear RGB. Colour blindness follows Vienot et al. (1999); the search for the colours
# used other matrices.
EYES = {
    "normal": np.eye(3),
    "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}


def differences(colours, eye):
    """Euclidean distances between sRGB colours in CIE Lab, as this kind of vision sees them, (k, k)."""
    parts = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in colours])
    seen = np.clip(
        np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ np.transpose(eye), 0, 1
    )
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(seen @ np.transpose(to_xyz) / [0.9505, 1, 1.089]).T
    lab = np.stack([116 * y, 500 * (x - y), 200 * (y - z)], 1)
    return np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1e3 * np.eye(len(lab))


@pytest.mark.parametrize("eye", EYES.values(), ids=EYES)
def test_all_colours_can_be_told_apart_by_every_eye(eye):
    """The smallest visible difference is 2.3; the first six colours are Okabe and Ito's."""
    assert len(set(PALETTE)) == 20
    assert differences(PALETTE, eye).min() > 12
    assert differences(PALETTE[:8], eye).min() > 18
