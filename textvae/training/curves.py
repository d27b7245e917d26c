"""Plot a run over its steps: the bounds, the KL divergence and how much z is used."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback

from textvae.evaluation.meters.table import descriptions
from textvae.support.files import replacing

# Matplotlib is optional and slow to import, so only the functions that draw import it.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History = Sequence[Mapping[str, Any]]
"""`TrainerState.log_history`: for each log a dict of numbers by name and its ``step``, in order of steps."""

# The colours of Okabe and Ito, which colour-blind people can tell apart.
BLACK, SKY, GREEN, BLUE, VERMILION, PURPLE = "#000000", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
TRAINING = {"color": SKY, "linewidth": 0.7, "alpha": 0.7}
VALIDATION = {"color": BLUE, "linewidth": 1.6}
WEIGHT = {"color": BLACK, "linewidth": 1.3}
OWN = {"color": GREEN, "linewidth": 1.3, "linestyle": "-."}
OTHER = {"color": VERMILION, "linewidth": 1.3, "linestyle": "--"}
PRIOR = {"color": PURPLE, "linewidth": 1.3, "linestyle": ":"}

WIDTH, DPI = 7, 150
"""Width in inches, as wide as a page, and resolution; together 1,050 pixels."""

FEW = 40
"""A curve with at most this many points has markers, so that even a single point is visible."""


@dataclass(frozen=True)
class Curve:
    """How to draw a logged quantity.

    Attributes:
        name: name of the quantity in the logs.
        label: label in the legend; unused if the panel has only one curve.
        style: Matplotlib properties of the line.
    """

    name: str
    label: str
    style: Mapping[str, Any]


@dataclass(frozen=True)
class Panel:
    """Curves that share a vertical axis.

    Attributes:
        label: label of the axis.
        height: height in inches.
        curves: the curves, from back to front.
        from_zero: whether the axis begins at 0, so that heights are comparable.
    """

    label: str
    height: float
    curves: tuple[Curve, ...]
    from_zero: bool = True

    def drawn(self, history: History) -> list[Curve]:
        """The curves that have data."""
        return [curve for curve in self.curves if _points(history, curve.name)]


STYLES = {
    "loss": TRAINING,
    "kl": TRAINING,
    "kl_weight": WEIGHT,
    "eval_reconstruction_prior_z": PRIOR,
    "eval_reconstruction_shuffled_z": OTHER,
    "eval_reconstruction": OWN,
    "eval_mutual_information": OTHER,
}
"""Styles of quantities that share a panel, from back to front; all others have the style `VALIDATION`."""

TRAINED = {
    "nats per sentence": ("loss", "training loss"),
    "nats": ("kl", "training KL"),
    "KL weight": ("kl_weight", ""),
}
"""The name and the label of the training quantity in each panel."""

HEIGHTS = {"nats per sentence": 2.3, "nats": 1.6}
"""Heights of panels in inches; other panels have 0.8."""


def panels() -> list[Panel]:
    """The panels: quantities logged in training, and those that a meter assigns to a panel."""
    curves: dict[str, list[Curve]] = {
        axis: [Curve(name, label, STYLES[name])] for axis, (name, label) in TRAINED.items()
    }
    for name, each in descriptions().items():
        if each.panel:
            logged = f"eval_{name}"
            curve = Curve(logged, each.curve, STYLES.get(logged, VALIDATION))
            curves.setdefault(each.panel, []).append(curve)
    order = list(STYLES)

    def place(curve: Curve) -> int:
        return order.index(curve.name) if curve.name in order else len(order)

    return [
        Panel(axis, HEIGHTS.get(axis, 0.8), tuple(sorted(own, key=place)), axis != "nats per sentence")
        for axis, own in curves.items()
    ]


WITHOUT_LATENT = {"loss": "training loss", "eval_neg_elbo": "validation NLL"}
"""The quantities to draw for a model without a latent code, with their labels."""


def panels_without_latent() -> list[Panel]:
    """The only panel of a model without a latent code."""
    curves = tuple(Curve(name, label, STYLES.get(name, VALIDATION)) for name, label in WITHOUT_LATENT.items())
    return [Panel("nats per sentence", HEIGHTS["nats per sentence"], curves, from_zero=False)]


SPECTRUM_HEIGHT = 1.6
DIMENSION = "eval_kl_of_dimension_"


def draw_curves(history: History) -> Figure:
    """A figure of the run, with one panel below the other; panels without data are left out.

    The last panel has a column for each evaluation. A column shows the KL of each latent dimension, largest on top.

    Args:
        history: `TrainerState.log_history`.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with_latent = _with_latent(history)
    possible = panels() if with_latent else panels_without_latent()
    drawn = [panel for panel in possible if panel.drawn(history)]
    spectra = _spectra(history) if with_latent else {}
    heights = [panel.height for panel in drawn] + [SPECTRUM_HEIGHT] * bool(spectra)
    figure = Figure((WIDTH, 0.5 + sum(heights)), dpi=DPI, layout="constrained")
    if not heights:
        return figure
    rows = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, panel in zip(rows, drawn, strict=False):
        _draw_panel(axes, panel, history)
    if spectra:
        _draw_spectra(rows[-1], spectra)
    for axes in rows:
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    rows[-1].set_xlim(0, 1.015 * max(history[-1]["step"], 1))
    rows[-1].set_xlabel("step", fontsize=9)
    rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    rows[-1].xaxis.set_major_formatter("{x:,.0f}")
    figure.align_ylabels()
    return figure


def _with_latent(history: History) -> bool:
    """Whether the model has a latent code. If it has none, the latent size and the KL are exactly 0."""
    return any(entry.get("eval_latent_size") or entry.get("kl") or entry.get("eval_kl") for entry in history)


def _points(history: History, name: str) -> list[tuple[int, float]]:
    """The steps and the finite values of the logged quantity ``name``."""
    points = [(entry["step"], entry[name]) for entry in history if name in entry]
    return [(step, value) for step, value in points if math.isfinite(value)]


def _spectra(history: History) -> dict[int, list[float]]:
    """For each step with an evaluation, the KL of each dimension, largest first."""
    spectra = {}
    for entry in history:
        # A log without these values may have the same step as an evaluation.
        if row := [value for name, value in entry.items() if name.startswith(DIMENSION)]:
            spectra[entry["step"]] = sorted(row, reverse=True)
    return spectra


def _draw_panel(axes: Axes, panel: Panel, history: History) -> None:
    """Draw the curves, and a legend that lists them in the order of their last values."""
    from matplotlib.ticker import MaxNLocator

    # Before the first evaluation the loss is so high that everything later would look flat.
    evaluations = _points(history, "eval_neg_elbo")
    first = evaluations[0][0] if evaluations else 0
    shown: list[float] = []
    ends = []
    for curve in panel.drawn(history):
        steps, values = zip(*_points(history, curve.name), strict=True)
        marker = "o" if len(steps) <= FEW else None
        size = 2.2 * curve.style["linewidth"]
        (line,) = axes.plot(steps, values, label=curve.label, marker=marker, markersize=size, **curve.style)
        ends.append((values[-1], line))
        shown += [value for step, value in zip(steps, values, strict=True) if step >= first] or values[-1:]
    low, high = min([0.0] * panel.from_zero + shown), max(shown)
    margin = 0.06 * (high - low) or 0.5
    axes.set_ylim(low if panel.from_zero else low - margin, high + margin)
    whole = all(float(value).is_integer() for value in shown)
    axes.yaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=whole))
    axes.set_ylabel(panel.label, fontsize=9)
    if len(ends) > 1:
        ends.sort(key=lambda end: -end[0])
        lines = [line for _, line in ends]
        axes.legend(handles=lines, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)


def _draw_spectra(axes: Axes, spectra: Mapping[int, Sequence[float]]) -> None:
    """Draw a column for each evaluation and a row for each rank."""
    from matplotlib.colors import PowerNorm

    steps = numpy.array(list(spectra))
    values = numpy.array(list(spectra.values())).T
    between = (steps[1:] + steps[:-1]) / 2
    # The first and the last column are symmetric around their steps; a single column may have any width.
    alone = max(0.05 * steps[0], 0.5)
    first = between[0] - steps[0] if len(between) else alone
    last = steps[-1] - between[-1] if len(between) else alone
    edges = numpy.concatenate([[steps[0] - first], between, [steps[-1] + last]])
    ranks = numpy.arange(len(values) + 1) + 0.5
    # The square root makes dimensions with a small KL differ visibly from those with none.
    mesh = axes.pcolormesh(edges, ranks, values, cmap="Blues", norm=PowerNorm(0.5, vmin=0), rasterized=True)
    axes.set_facecolor("0.93")
    axes.invert_yaxis()
    axes.set_ylabel("dimension\nby rank of KL", fontsize=9)
    bar = axes.figure.colorbar(mesh, cax=axes.inset_axes((1.025, 0.0, 0.02, 1.0)))
    bar.set_label("KL, nats", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)


SHARE = 0.05
"""Plots between the first and the last take at most this share of the time of a training."""


class Curves(TrainerCallback):
    """Plots the run after an evaluation and at the end: ``curves.png`` in the run folder, "curves" in TensorBoard.

    A run with many quick evaluations is not plotted after each of them (`SHARE`). If Matplotlib is missing or the file
    cannot be written, it prints one line and training continues.

    Args:
        callbacks: the callbacks of the trainer. If they include the TensorBoard callback of `transformers`, the plot
            is sent to TensorBoard too.
    """

    def __init__(self, callbacks: Sequence[TrainerCallback] = ()) -> None:
        self.callbacks = callbacks
        self.said: set[str] = set()
        self.next_plot = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Tell the user at the start if Matplotlib is missing."""
        if state.is_world_process_zero:
            self._can_draw()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Draw the run so far, unless the last plot was a moment ago and another follows."""
        start = time.monotonic()
        if start < self.next_plot and state.global_step < state.max_steps:
            return
        self._write(args, state)
        end = time.monotonic()
        self.next_plot = end + (end - start) * (1 / SHARE - 1)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Draw the whole run."""
        self._write(args, state)

    def _write(self, args: TrainingArguments, state: TrainerState) -> None:
        """Draw the logs, if this is the first process."""
        if not state.is_world_process_zero or not state.log_history or not self._can_draw():
            return
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        path = Path(str(args.output_dir)) / "curves.png"
        try:
            canvas = FigureCanvasAgg(draw_curves(state.log_history))
            with replacing(path) as partial:
                canvas.print_png(partial)
            pixels = numpy.asarray(canvas.buffer_rgba())[..., :3]
            for callback in self.callbacks:
                # Use the existing writer: TensorBoard reads only one file of a folder at a time.
                if isinstance(callback, TensorBoardCallback) and callback.tb_writer is not None:
                    callback.tb_writer.add_image("curves", pixels, state.global_step, dataformats="HWC")
        except OSError as error:
            # For example a full disk, which should not stop the training.
            self._say_once(f"{path} could not be written; training continues without it: {error}")

    def _can_draw(self) -> bool:
        """Whether Matplotlib is installed; if not, prints how to install it."""
        if find_spec("matplotlib") is not None:
            return True
        self._say_once("the run is not plotted, because Matplotlib is missing: pip install 'textvae[plots]'")
        return False

    def _say_once(self, line: str) -> None:
        """Print a line to standard error, above a progress bar, unless it was printed before."""
        if line not in self.said:
            self.said.add(line)
            tqdm.write(line, file=sys.stderr)
