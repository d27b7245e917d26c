"""Train configurations of one recipe, each with several seeds, and compare what they are worth.

python recipes/language_model/compare.py recipes/language_model/cures/grammar.yaml --processes 2

What is finished is not repeated, and what was stopped or killed goes on from its last whole checkpoint. The table of
all that is finished is written after each run, as table.md and table.json in the comparison's output_dir.
"""

import argparse
import fcntl
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textvae.models.checkpoint import last_whole_checkpoint
from textvae.support.errors import UserError
from textvae.support.files import check_folder
from textvae.support.program import program
from textvae.training.comparison import Comparison, Run, read_comparison, write_table

TRAIN = Path(__file__).with_name("train.py")


def main(words: Sequence[str]) -> int:
    """Run what is not finished, write the table after each run and print it; returns the exit code."""
    arguments = read_arguments(words)
    with program("run the same command again, which goes on from the last checkpoints"):
        if arguments.processes < 1:
            raise UserError(f"expected --processes of 1 or more, got {arguments.processes}")
        comparison = read_comparison(arguments.comparison, arguments.overrides, arguments.seeds or ())
        check_folder(comparison.folder)
        chosen = [] if arguments.table_only else comparison.chosen(arguments.only, arguments.seeds)
        waiting = [run for run in chosen if run.evaluation() is None]
        print(f"{len(chosen) - len(waiting)} of {len(chosen)} runs are finished", flush=True)
        failed = run_all(waiting, comparison, arguments.processes)
        print(f"\n{write_table(comparison)}\n\nwritten: {comparison.folder}/table.md, table.json")
    return 1 if failed else 0


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    """The arguments; overrides may stand anywhere, after ``--seeds 0 1`` too."""
    parser = argparse.ArgumentParser(description="Compare configurations of one recipe over several seeds.")
    parser.add_argument("comparison", help="a YAML file")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="runs at once")
    parser.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="run these only")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run these configurations only")
    parser.add_argument("--table-only", action="store_true", help="run nothing")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="replaces a value in all")
    is_override = re.compile(r"[a-z_]+\.[\w.]+=").match
    arguments = parser.parse_intermixed_args([word for word in words if not is_override(word)])
    arguments.overrides += filter(is_override, words)
    return arguments


@dataclass
class Training:
    """A run in its process."""

    run: Run
    process: subprocess.Popen
    begin: float

    @property
    def minutes(self) -> str:
        """Since it was started."""
        return f"{(time.monotonic() - self.begin) / 60:.1f} min"


def run_all(runs: Sequence[Run], comparison: Comparison, processes: int) -> int:
    """Run all, so many at once, and write the table after each; returns how many failed."""
    queue, running, failed = list(runs), list[Training](), 0
    try:
        while queue or running:
            while queue and len(running) < processes:
                running.append(start(queue.pop(0), comparison.recipe, processes))
            time.sleep(0.1)
            for training in [training for training in running if training.process.poll() is not None]:
                running.remove(training)
                if fault := fault_of(training):
                    failed += 1
                    print(f"failed    {training.run}  ({training.minutes}): {fault}", flush=True)
                else:
                    print(f"finished  {training.run}  ({training.minutes})", flush=True)
                    write_table(comparison)
    finally:
        for training in running:
            training.process.terminate()
        for training in running:
            training.process.wait()
    return failed


def start(run: Run, recipe: Path, processes: int) -> Training:
    """Train in a process that has its share of the cores and writes to the log beside its run folder."""
    command = [sys.executable, str(TRAIN), str(recipe), *run.overrides, "--resume"]
    threads = max(1, (os.cpu_count() or 1) // processes)
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    with log_of(run).open("a", encoding="utf-8") as log:
        try:
            # Held by the process for as long as it lives, even after this one is killed.
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{run} is being trained by another process: wait for it, or end it") from None
        print(f"$ {shlex.join(command)}", file=log, flush=True)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )
    checkpoint = last_whole_checkpoint(run.folder)
    print(f"started   {run}" + (f"  from {checkpoint.name}" if checkpoint else ""), flush=True)
    return Training(run, process, time.monotonic())


def fault_of(training: Training) -> str | None:
    """Why a process that has ended left no finished run, with the last lines of its log, or None."""
    if code := training.process.returncode:
        tail = log_of(training.run).read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
        return "\n    ".join([f"exit code {code}, at the end of {log_of(training.run)}:", *tail])
    if difference := training.run.difference():
        return f"the recipe was changed meanwhile ({difference}): delete {training.run.folder}"
    return None if training.run.evaluation() else f"no evaluation.json in {training.run.folder}"


def log_of(run: Run) -> Path:
    """The log of a run, beside its folder."""
    return run.folder.with_name(f"{run.folder.name}.log")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
