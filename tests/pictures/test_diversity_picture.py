import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from textvae.evaluation.translation import Diversity
from textvae.pictures.cloud import PALETTE
from textvae.pictures.diversity import MARKERS, draw_diversity
from textvae.support.errors import UserError


def found(oracle, own):
    return Diversity(2, 30.0, oracle, own, 0.5, 0.5, "tok:13a")


def middle(path, colour):
    """The mean row of a colour, from the top, in the left and in the right half of the picture."""
    pixels = (np.abs(imread(path)[..., :3] - to_rgb(colour)).max(-1) < 0.05).nonzero()
    half = imread(path).shape[1] // 2
    return [pixels[0][(pixels[1] >= half) == right].mean() for right in (False, True)]


@pytest.mark.slow
def test_a_better_way_stands_higher_left_and_a_more_various_one_lower_right(tmp_path):
    curves = {
        "latent": {2: found(40, 50), 5: found(45, 45)},
        "beam": {2: found(35, 80), 5: found(38, 85)},
    }
    draw_diversity(curves, tmp_path / "x.png")
    latent, beam = (middle(tmp_path / "x.png", colour) for colour in PALETTE[:2])
    assert latent[0] < beam[0]
    assert latent[1] > beam[1]


def test_axes_and_ways_are_named(tmp_path):
    draw_diversity({"latent": {0.5: found(40, 50)}}, tmp_path / "x.svg", label="temperature")
    words = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "x.svg").read_text())
    assert {"latent", "oracle BLEU", "self-BLEU", "temperature"} <= set(words)


@pytest.mark.parametrize(
    "curves", [{}, {"a": {}}, {str(n): {1: found(1, 1)} for n in range(len(MARKERS) + 1)}]
)
def test_nothing_and_too_much_are_refused(curves, tmp_path):
    with pytest.raises(UserError, match=f"expected 1 to {len(MARKERS)} ways to translate"):
        draw_diversity(curves, tmp_path / "x.png")
