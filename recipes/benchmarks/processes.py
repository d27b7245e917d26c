"""Time training on one and on several processes with equal threads, in alternating rounds; prints lines of JSON.

python recipes/benchmarks/processes.py --processes 1 2 --only lstm-256

README.md explains the lines.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from statistics import median

import measure
from datasets import Dataset
from jobs import Setting, training
from measure import BATCH, MODELS, VOCABULARY, ratio

from textvae.support.errors import reported_to_user
from textvae.support.processes import is_first, join, leave
from textvae.text.fields import Fields, TextField


def main() -> None:
    """Launch the processes, or act as one of them."""
    parser = measure.new_parser("Time training on one process and on several.", steps=20, rounds=3)
    parser.add_argument(
        "--processes",
        type=int,
        nargs="+",
        default=[1, 2],
        metavar="N",
        help="numbers of processes to compare",
    )
    # Internal: the program starts itself with this option, as one of this many processes.
    parser.add_argument("--part-of", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with reported_to_user():
        names = measure.chosen(list(MODELS), arguments.only)
    if arguments.part_of:
        take_part(names[0], arguments.device, arguments.steps, arguments.part_of)
    else:
        compare(names, arguments)


def compare(names: list[str], arguments: argparse.Namespace) -> None:
    """Launch the rounds one after another, and print a line for each model."""
    threads, counts = arguments.threads or 1, arguments.processes
    for name in names:
        options = ["--only", name, "--steps", str(arguments.steps), "--device", arguments.device]
        rounds: dict[int, list[float]] = {count: [] for count in counts}
        for _ in range(arguments.rounds):
            for count in counts:
                rounds[count].append(launched(count, threads, options))
        measure.emit(
            {
                "model": name,
                "device": arguments.device,
                "threads_each": threads,
                "tokens_per_second": {count: median(speeds) for count, speeds in rounds.items()},
                "speedup": {count: ratio(speeds, rounds[counts[0]]) for count, speeds in rounds.items()},
                "rounds": rounds,
            }
        )


def launched(count: int, threads: int, options: list[str]) -> float:
    """Launch ``count`` processes; returns the tokens per second of all together."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    ended = subprocess.run(
        [*torchrun, __file__, *options, "--part-of", str(count)],
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(ended.stdout.splitlines()[-1])["tokens_per_second"]


def take_part(name: str, device: str, steps: int, processes: int) -> None:
    """As one of the processes, train twice on `BATCH` sentences a step; the first process prints the second speed."""
    join()
    texts = list(measure.random_sentences(steps * BATCH * processes, VOCABULARY))
    tokenizer = measure.new_tokenizer(VOCABULARY)
    rows = Fields([TextField(tokenizer)]).prepare(Dataset.from_dict({"text": texts}))
    run = training(Setting(name, "fp32", device, steps, texts, tokenizer), rows)
    run()
    seconds = run()
    del run  # this deletes the trainer, which keeps the processes connected
    if is_first():
        measure.emit({"tokens_per_second": sum(rows["length"]) / seconds})
    leave()


if __name__ == "__main__":
    main()
