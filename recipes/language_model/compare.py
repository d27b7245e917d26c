"""Train several configurations of one recipe with several seeds and compare their results.

python recipes/language_model/compare.py recipes/language_model/cures/grammar.yaml --processes 2

Finished runs are not repeated; stopped or killed runs continue from their last complete checkpoint. After each run, the
table of all finished runs is written to table.md and table.json in the comparison's output_dir.
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
    """Train the unfinished runs, write the table after each, print it, and return the exit code."""
    arguments = read_arguments(words)
    with program("run the same command again to continue from the last checkpoints"):
        if arguments.processes < 1:
            raise UserError(f"expected --processes of at least 1, got {arguments.processes}")
        comparison = read_comparison(arguments.comparison, arguments.overrides, arguments.seeds or ())
        check_folder(comparison.folder)
        chosen = [] if arguments.table_only else comparison.chosen(arguments.only, arguments.seeds)
        waiting = [run for run in chosen if run.evaluation() is None]
        print(f"{len(chosen) - len(waiting)} of {len(chosen)} runs are finished", flush=True)
        failed = run_all(waiting, comparison, arguments.processes)
        print(f"\n{write_table(comparison)}\n\nwritten: {comparison.folder}/table.md, table.json")
    return 1 if failed else 0


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; overrides can be anywhere, even after ``--seeds 0 1``."""
    parser = argparse.ArgumentParser(description="Compare configurations of one recipe over several seeds.")
    parser.add_argument("comparison", help="a YAML file")
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="number of runs at the same time"
    )
    parser.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="run only these seeds")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run only these configurations")
    parser.add_argument("--table-only", action="store_true", help="only write the table; train nothing")
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="override a value in all configurations"
    )
    is_override = re.compile(r"[a-z_]+\.[\w.]+=").match
    arguments = parser.parse_intermixed_args([word for word in words if not is_override(word)])
    arguments.overrides += filter(is_override, words)
    return arguments


@dataclass
class Training:
    """A run and the process that trains it."""

    run: Run
    process: subprocess.Popen
    begin: float

    @property
    def minutes(self) -> str:
        """Time since the start, as text."""
        return f"{(time.monotonic() - self.begin) / 60:.1f} min"


def run_all(runs: Sequence[Run], comparison: Comparison, processes: int) -> int:
    """Train all runs, ``processes`` at a time, and write the table after each; return how many failed."""
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
    """Train in a new process, with its share of the cores; its output goes to the log beside its run folder."""
    command = [sys.executable, str(TRAIN), str(recipe), *run.overrides, "--resume"]
    threads = max(1, (os.cpu_count() or 1) // processes)
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    with log_of(run).open("a", encoding="utf-8") as log:
        try:
            # The child inherits the lock and holds it until it ends, even if this process is killed.
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{run} is being trained by another process: wait for it or end it") from None
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
    """Why an ended process left no finished run, with the last lines of its log; None if the run is finished."""
    if code := training.process.returncode:
        tail = log_of(training.run).read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
        return "\n    ".join([f"exit code {code}; the end of {log_of(training.run)}:", *tail])
    if difference := training.run.difference():
        return f"the recipe was changed during the run ({difference}): delete {training.run.folder}"
    return None if training.run.evaluation() else f"no evaluation.json in {training.run.folder}"


def log_of(run: Run) -> Path:
    """The path of a run's log, beside its folder."""
    return run.folder.with_name(f"{run.folder.name}.log")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
