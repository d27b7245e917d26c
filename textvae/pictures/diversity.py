"""A picture of the quality and the diversity of several translations of each source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from textvae.evaluation.translation import Diversity
from textvae.pictures.cloud import PALETTE
from textvae.pictures.figure import PAGE, check_picture, new_figure, write
from textvae.support.errors import UserError

SIZE = 8
"""Size of the letters, in points."""

HEIGHT = 2.4
"""Height of the picture, in inches."""

MARKERS = "osD^vP"


def draw_diversity(
    curves: Mapping[str, Mapping[float, Diversity]],
    path: str | Path,
    *,
    label: str = "translations of each source",
) -> None:
    """Draw oracle BLEU and self-BLEU against a setting, such as the number of translations or the temperature.

    Good, diverse translations have a high oracle BLEU (left) and a low self-BLEU (right).

    Args:
        curves: one curve for each way to translate, by name: the results by value of the setting.
        path: file to write, .png, .pdf or .svg.
        label: name of the setting.

    Raises:
        UserError: if there are no curves or too many, a curve is empty, or the file cannot be written.
    """
    check_picture(path)
    if not 0 < len(curves) <= len(MARKERS) or not all(curves.values()):
        raise UserError(
            f"expected 1 to {len(MARKERS)} ways to translate with their results, got {len(curves)}"
        )
    figure = new_figure(PAGE, HEIGHT)
    for place, (name, title) in enumerate((("oracle_bleu", "oracle BLEU"), ("self_bleu", "self-BLEU"))):
        axes = figure.add_axes((0.08 + 0.5 * place, 0.18, 0.4, 0.78))
        for (way, found), colour, marker in zip(curves.items(), PALETTE, MARKERS, strict=False):
            settings = sorted(found)
            heights = [getattr(found[setting], name) for setting in settings]
            axes.plot(settings, heights, color=colour, marker=marker, markersize=3, linewidth=1.2, label=way)
        axes.set_xlabel(label, fontsize=SIZE)
        axes.set_ylabel(title, fontsize=SIZE)
        axes.tick_params(labelsize=SIZE - 1)
        axes.spines[["top", "right"]].set_visible(False)
        if not place:
            axes.legend(fontsize=SIZE - 1, frameon=False)
    write(figure, path)
