"""Time the package against the textbook in alternating rounds in one process; prints lines of JSON.

python recipes/benchmarks/throughput.py --only 'train/lstm-1024/*' --rounds 5

A measurement is called job/model/dtype. README.md explains the names and the lines.
"""

from __future__ import annotations

import argparse
from itertools import product
from statistics import median
from typing import Any

import measure
import torch
from jobs import JOBS, Job, Setting
from measure import BATCH, VOCABULARY, gemm_rate, ratio, with_peak
from transformers import PreTrainedTokenizerBase

from textvae.support.errors import reported_to_user
from textvae.text.corpus import load_corpus
from textvae.text.tokenizer import train_tokenizer


def measured(job: Job, setting: Setting, rounds: int) -> dict[str, Any]:
    """Measure a job; returns the numbers of its line."""
    # Each contender first runs alone, which also warms it up. Ours is last: memory that others leave counts against it.
    builders = reversed(job.contenders.items())
    peaks = {name: with_peak(build(), setting.device)[1] for name, build in builders}
    runs = {name: build() for name, build in job.contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    rates = []
    for _ in range(rounds):
        for name, run in runs.items():
            seconds[name].append(run())
        rates.append(gemm_rate(setting.dtype, setting.device))
    ours = median(seconds["ours"])
    others = {f"ratio_to_{name}": ratio(seconds[name], seconds["ours"]) for name in runs if name != "ours"}
    return {
        "tokens_per_second": job.tokens / ours,
        "seconds_per_step": ours / job.steps,
        "flops": job.flops,
        "gemm_flops_per_second": median(rates),
        "fraction_of_gemm": median(
            job.flops / own / rate for own, rate in zip(seconds["ours"], rates, strict=True)
        ),
        **others,
        "peak_mib": peaks,
        "rounds": seconds,
    }


def main() -> None:
    """Run the chosen measurements and print each line as soon as it is ready."""
    parser = measure.new_parser("Time the package against the textbook.", steps=20, rounds=5)
    parser.add_argument(
        "--corpus",
        metavar="FILE",
        help="file of sentences; default: random sentences with the lengths of PTB",
    )
    arguments = parser.parse_args()
    measure.prepare(arguments)
    names = ["/".join(parts) for parts in product(JOBS, measure.MODELS, measure.dtypes(arguments.device))]
    with reported_to_user():
        names = measure.chosen(names, arguments.only)
        texts, tokenizer = read(arguments)
    for name in names:
        job, model, dtype = name.split("/")
        setting = Setting(model, dtype, arguments.device, arguments.steps, texts, tokenizer)
        head = {"job": job, "model": model, "dtype": dtype, "device": arguments.device}
        found = measured(JOBS[job](setting), setting, arguments.rounds)
        measure.emit({**head, "threads": torch.get_num_threads(), **found})


def read(arguments: argparse.Namespace) -> tuple[list[str], PreTrainedTokenizerBase]:
    """Read or draw the sentences, and make a tokenizer of their words."""
    if arguments.corpus is None:
        texts = list(measure.random_sentences(arguments.steps * BATCH, VOCABULARY))
        return texts, measure.new_tokenizer(VOCABULARY)
    texts = load_corpus(arguments.corpus)["train"]["text"][:]
    return texts, train_tokenizer(texts, "words", vocabulary_size=VOCABULARY)


if __name__ == "__main__":
    main()
