"""Time ways to compute the log-likelihood of tokens from states, in alternating rounds; prints lines of JSON.

python recipes/benchmarks/output_layer.py --only 'train/*/fp32'

A measurement is called job/size/dtype. README.md explains the names and the lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from statistics import median
from typing import Any

import measure
import torch
from measure import gemm_rate, precision, ratio, seconds_of, with_peak
from torch import Tensor
from torch.nn import functional

from textvae.modules.output_layer import OutputLayer
from textvae.support.errors import reported_to_user

SIZES = {
    "ptb-256": (32, 23, 256, 10_000),
    "ptb-1024": (32, 23, 1024, 10_000),
    "large": (256, 80, 256, 30_000),
}
"""Sizes by name: sentences B, tokens in each sentence T, state size D, words V."""

NllOf = Callable[[Tensor, OutputLayer, Tensor], Tensor]
"""Computes the sum of -log p of targets (B, T) from states (B, T, D), in nats."""


def ours(states: Tensor, layer: OutputLayer, targets: Tensor) -> Tensor:
    """The package's way: slab by slab, computing the gradient while the logits are in memory."""
    return -layer.log_likelihood(states[None], targets, torch.ones_like(targets, dtype=torch.bool)).sum()


def logits(states: Tensor, layer: OutputLayer, targets: Tensor) -> Tensor:
    """The textbook's way: all logits, then the cross-entropy."""
    found = functional.linear(states.flatten(0, 1), layer.linear.weight, layer.linear.bias)
    return functional.cross_entropy(found.float(), targets.flatten(), reduction="sum")


def chunks(states: Tensor, layer: OutputLayer, targets: Tensor) -> Tensor:
    """torch's own function, in chunks; autocast does not apply to it, so this casts by hand."""
    kind = states.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
    return functional.linear_cross_entropy(
        states.flatten(0, 1).to(dtype),
        layer.linear.weight.to(dtype),
        targets.flatten(),
        linear_bias=layer.linear.bias.to(dtype),
        reduction="sum",
        options=torch.nn.LinearCrossEntropyOptions(),
    )


def candidates(device: str) -> dict[str, NllOf]:
    """The contenders that the device supports, by name."""
    found: dict[str, NllOf] = {"ours": ours, "logits": logits, "compiled": torch.compile(logits)}
    if hasattr(torch.nn, "LinearCrossEntropyOptions"):
        found["chunks"] = chunks
    if torch.device(device).type == "cuda" and find_spec("liger_kernel"):
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        loss = LigerFusedLinearCrossEntropyLoss(reduction="sum")
        found["liger"] = lambda states, layer, targets: loss(
            layer.linear.weight, states.flatten(0, 1), targets.flatten(), layer.linear.bias
        )
    return found


@dataclass(frozen=True)
class Setting:
    """A job, its size, its dtype and its device.

    Attributes:
        job: "train", with the gradients of states, weight and bias, or "score", without.
        size: one of `SIZES`.
        dtype: "fp32" or "bf16".
        device: "cpu" or "cuda".
    """

    job: str
    size: str
    dtype: str
    device: str

    def work(self, nll_of: NllOf) -> Callable[[], Tensor]:
        """A function that does the job once and returns the sum of -log p."""
        sentences, length, size, vocabulary = SIZES[self.size]
        torch.manual_seed(0)
        training = self.job == "train"
        layer = OutputLayer(size, vocabulary).to(self.device)
        states = torch.randn(sentences, length, size, device=self.device, requires_grad=training)
        targets = torch.randint(vocabulary, (sentences, length), device=self.device)

        def once() -> Tensor:
            for tensor in (states, *layer.parameters()):
                tensor.grad = None
            with torch.set_grad_enabled(training):
                with precision(self.dtype, self.device):
                    nll = nll_of(states, layer, targets)
                if training:
                    (nll / sentences).backward()
            return nll.detach()

        return once

    @property
    def flops(self) -> int:
        """FLOPs of the product with the weight; in training also of the two products of its backward pass."""
        sentences, length, size, vocabulary = SIZES[self.size]
        return (6 if self.job == "train" else 2) * sentences * length * size * vocabulary


def repeated(work: Callable[[], Any], times: int) -> Callable[[], None]:
    """A function that does the work ``times`` times."""

    def all_of_it() -> None:
        for _ in range(times):
            work()

    return all_of_it


def measured(setting: Setting, steps: int, rounds: int) -> dict[str, Any]:
    """Measure a setting; returns the numbers of its line."""
    works = {name: setting.work(nll_of) for name, nll_of in candidates(setting.device).items()}
    # The first call compiles and warms up. Ours is last, so memory that the others leave behind counts against it.
    nlls = {name: work().item() for name, work in works.items()}
    peaks = {name: with_peak(work, setting.device)[1] for name, work in reversed(works.items())}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    rates = []
    for _ in range(rounds):
        for name, work in works.items():
            seconds[name].append(seconds_of(repeated(work, steps), setting.device))
        rates.append(gemm_rate(setting.dtype, setting.device))
    return {
        "milliseconds": {name: 1e3 * median(times) / steps for name, times in seconds.items()},
        "fraction_of_gemm": {
            name: median(steps * setting.flops / own / rate for own, rate in zip(times, rates, strict=True))
            for name, times in seconds.items()
        },
        "ratio": {name: ratio(times, seconds["ours"]) for name, times in seconds.items() if name != "ours"},
        "gemm_flops_per_second": median(rates),
        "peak_mib": peaks,
        "nll": nlls,
    }


def main() -> None:
    """Run the chosen measurements and print each line as soon as it is ready."""
    parser = measure.new_parser("Time ways to compute the log-likelihood of tokens.", steps=5, rounds=5)
    arguments = parser.parse_args()
    measure.prepare(arguments)
    names = ["/".join(parts) for parts in product(("train", "score"), SIZES, ("fp32", "bf16"))]
    with reported_to_user():
        names = measure.chosen(names, arguments.only)
    for name in names:
        job, size, dtype = name.split("/")
        setting = Setting(job, size, dtype, arguments.device)
        head = {"job": job, "size": size, "dtype": dtype, "device": arguments.device}
        found = measured(setting, arguments.steps, arguments.rounds)
        measure.emit({**head, "threads": torch.get_num_threads(), **found})


if __name__ == "__main__":
    main()
