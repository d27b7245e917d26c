"""Measure the time per token over batch, length, vocabulary, K, corpus and position: lines of JSON and a picture.

python recipes/benchmarks/scaling.py --largest 10000000 --picture runs/scaling.png

README.md explains the axes and the lines.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import measure
import torch
from datasets import IterableDataset
from measure import (
    BATCH,
    VOCABULARY,
    clock,
    endless,
    new_config,
    new_model,
    new_tokenizer,
    seconds_of,
    with_peak,
)
from transformers import StoppingCriteria, StoppingCriteriaList

from textvae.inference.bounds import bounds
from textvae.interfaces.text_vae import TextVAE
from textvae.interfaces.vectors import write_vectors
from textvae.models.language import TextVAEModel
from textvae.pictures.figure import PAGE, check_picture, new_figure, write
from textvae.support.errors import reported_to_user
from textvae.text.batches import Batch
from textvae.text.corpus import load_corpus
from textvae.text.fields import Fields, TextField
from textvae.text.samplers import evaluation_loader

LENGTH, WRITTEN = 22, 64
"""Tokens in a sentence (the mean of PTB), and number of sentences generated together."""

WINDOW = 20
"""Number of positions over which the time of one position is averaged."""

BLUE = "#0072B2"

Work = Callable[[], tuple[float, int]]
"""A function that does the work of a round at one value; returns its seconds and its tokens."""


@dataclass(frozen=True)
class Setup:
    """Device, amount of work and corpora of the measurements.

    Attributes:
        device: cpu or cuda.
        steps: number of training steps in a round.
        folder: folder for corpora and vectors.
        corpora: number of tokens of each corpus in the folder, by its number of sentences.
    """

    device: str
    steps: int
    folder: Path
    corpora: dict[int, int] = field(default_factory=dict)

    def model(self, name: str = "lstm-256", vocabulary: int = VOCABULARY) -> TextVAEModel:
        """A new model."""
        return new_model(new_config(name, vocabulary), self.device)

    def batch(self, size: int = BATCH, length: int = LENGTH, vocabulary: int = VOCABULARY) -> Batch:
        """Random sentences of equal length."""
        words = torch.randint(4, vocabulary, (size, length - 1)).tolist()
        return _fields().collate([{"ids": ids} for ids in words]).to(self.device)

    def stream(self, count: int) -> tuple[IterableDataset, int]:
        """A streamed file of ``count`` random sentences, and its number of tokens."""
        path = self.folder / f"{count}.txt"
        if count not in self.corpora:
            with path.open("w", encoding="utf-8") as file:
                self.corpora[count] = 0
                for text in measure.random_sentences(count, VOCABULARY):
                    file.write(f"{text}\n")
                    self.corpora[count] += text.count(" ") + 2
        return load_corpus(str(path), str(path), str(path), streaming=True)["train"], self.corpora[count]

    def timed(self, call: Callable[[], Any], tokens: int) -> Work:
        """A call and its number of tokens as `Work`."""
        return lambda: (seconds_of(call, self.device), tokens)


def _fields() -> Fields:
    """The fields that the models read."""
    return Fields([TextField(new_tokenizer(VOCABULARY))])


def train(setup: Setup, size: int = BATCH, length: int = LENGTH, vocabulary: int = VOCABULARY) -> Work:
    """Training steps."""
    model = setup.model(vocabulary=vocabulary).train()
    batch = setup.batch(size, length, vocabulary)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)

    def steps(count: int) -> None:
        for _ in range(count):
            measure.train_step(model, optimizer, batch, "fp32", setup.device)

    steps(1)
    return setup.timed(lambda: steps(setup.steps), setup.steps * int(batch.lengths.sum()))


def evaluate(setup: Setup, samples: int) -> Work:
    """The importance-weighted bound of a batch; a token counts once for each sample."""
    model, batch = setup.model(), setup.batch()
    bounds(model, batch)
    return setup.timed(lambda: bounds(model, batch, samples), samples * int(batch.lengths.sum()))


def stream(setup: Setup, count: int) -> Work:
    """Everything that training does before the model: stream, tokenise and pad a corpus."""
    rows, tokens = setup.stream(count)
    fields = _fields()
    batches = evaluation_loader(fields.prepare(rows), fields, BATCH)
    return setup.timed(lambda: sum(1 for _ in batches), tokens)


def encode(setup: Setup, count: int) -> Work:
    """Encode a streamed corpus to a file of vectors."""
    rows, tokens = setup.stream(count)
    vae = TextVAE(setup.model(), new_tokenizer(VOCABULARY))
    path = setup.folder / "z.npy"
    return setup.timed(lambda: write_vectors(vae, rows, path, show_progress_bar=False), tokens)


def generate(setup: Setup, position: int) -> Work:
    """Generate ``position`` tokens with the dilated convolution; only the last `WINDOW` are timed."""
    model = endless(setup.model("dilated"))
    z = torch.randn(WRITTEN, model.config.latent_size, device=setup.device)

    def work() -> tuple[float, int]:
        watch = Watch(setup.device)
        model.generate(z, max_new_tokens=position, stopping_criteria=StoppingCriteriaList([watch]))
        return watch.times[-1] - watch.times[-1 - WINDOW], WINDOW * WRITTEN

    return work


class Watch(StoppingCriteria):
    """Records the time after each token and never stops the generation."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.times: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Record the time; called after each token."""
        self.times.append(clock(self.device))
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


@dataclass(frozen=True)
class Axis:
    """A varied quantity: its label in the picture, its values, and the work at a value."""

    label: str
    values: tuple[int, ...]
    work: Callable[[Setup, int], Work]


SIZES = tuple(10**power for power in range(4, 8))
AXES = {
    "batch": Axis("sentences in a training step", (8, 16, 32, 64, 128, 256), lambda s, v: train(s, size=v)),
    "length": Axis("tokens in a training sentence", (10, 20, 40, 80, 160), lambda s, v: train(s, length=v)),
    "vocabulary": Axis(
        "vocabulary in training", (1000, 3000, 10_000, 30_000, 100_000), lambda s, v: train(s, vocabulary=v)
    ),
    "samples": Axis("samples of the importance-weighted bound", (1, 5, 20, 100, 500), evaluate),
    "stream": Axis("sentences streamed and batched", SIZES, stream),
    "encode": Axis("sentences streamed and encoded", SIZES, encode),
    "position": Axis("position written by the dilated convolution", (21, 50, 100, 150, 200), generate),
}


def measured(axis: Axis, setup: Setup, values: Sequence[int], rounds: int) -> Iterator[dict[str, Any]]:
    """The numbers of each value's line, in the last round. Each round visits all values, because machines drift."""
    rounds_of: dict[int, list[float]] = {value: [] for value in values}
    for count in range(1, rounds + 1):
        for value in values:
            (seconds, tokens), peak = with_peak(axis.work(setup, value), setup.device)
            rounds_of[value].append(seconds)
            if count == rounds:
                yield {
                    "value": value,
                    "tokens": tokens,
                    "microseconds_per_token": 1e6 * median(rounds_of[value]) / tokens,
                    "peak_mib": peak,
                    "rounds": rounds_of[value],
                }


def draw(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw microseconds per token, with a panel for each axis."""
    names = list(dict.fromkeys(line["axis"] for line in lines))
    rows = -(-len(names) // 2)
    figure = new_figure(PAGE, 2.1 * rows)
    for place, name in enumerate(names):
        panel = figure.add_subplot(rows, 2, place + 1)
        values, costs = zip(
            *((line["value"], line["microseconds_per_token"]) for line in lines if line["axis"] == name),
            strict=True,
        )
        panel.plot(values, costs, "o-", color=BLUE, linewidth=1.2, markersize=3)
        panel.set_xscale("linear" if name == "position" else "log")
        panel.minorticks_off()
        panel.set_xticks(values, [f"{value:,}" for value in values])
        panel.set_ylim(0, 1.15 * max(costs))
        panel.set_xlabel(AXES[name].label, fontsize=8)
        panel.set_ylabel("µs a token", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    write(figure, path)


def main() -> None:
    """Measure the axes, print their lines and draw the picture."""
    parser = measure.new_parser("Measure the time per token and how it grows.", steps=5, rounds=3)
    parser.add_argument(
        "--largest",
        type=int,
        default=10**6,
        metavar="N",
        help="largest value of an axis, such as the size of a corpus",
    )
    parser.add_argument("--picture", type=Path, default=Path("runs/scaling.png"), metavar="FILE")
    arguments = parser.parse_args()
    measure.prepare(arguments)
    with reported_to_user():
        names = measure.chosen(list(AXES), arguments.only)
        check_picture(arguments.picture)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(arguments.device, arguments.steps, Path(folder))
        for name in names:
            axis = AXES[name]
            values = [value for value in axis.values if value <= arguments.largest]
            for found in measured(axis, setup, values, arguments.rounds):
                head = {"axis": name, "device": arguments.device, "threads": torch.get_num_threads()}
                lines.append(head | found)
                measure.emit(lines[-1])
    draw(lines, arguments.picture)


if __name__ == "__main__":
    main()
