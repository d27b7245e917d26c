"""Runs a recipe repeatedly, each time killed in a later write, and resumes it: killed_writes.py RECIPE EVERY [RUN].

The process is killed when it moves, links or deletes a file for the k-th time, for k = 0, EVERY, 2 EVERY, ... With RUN
it overwrites a finished run, otherwise it begins a new one. Prints the digest of the result of each run, and whether
the run could be resumed.
"""

import hashlib
import os
import shutil
import signal
import sys
from pathlib import Path

import torch

from textvae.support.errors import UserError
from textvae.training.recipe import read_recipe
from textvae.training.run import run


def make_fatal(number: int) -> None:
    """Make the process kill itself in the write with this number."""
    left = [number]

    def fatal(write):
        def counting(*arguments, **options):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return write(*arguments, **options)

        return counting

    os.replace, os.unlink, os.rmdir = map(fatal, (os.replace, os.unlink, os.rmdir))
    Path.unlink, Path.rmdir = fatal(Path.unlink), fatal(Path.rmdir)


def ended(recipe, number: int, overwrite: bool) -> bool:
    """Run the recipe in a process that is killed in write ``number``; returns whether it finished before."""
    child = os.fork()
    if child == 0:
        make_fatal(number)
        run(recipe, overwrite=overwrite, quiet=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0, status
    return status == 0


def main() -> None:
    """Kill and resume runs until one finishes before its kill."""
    recipe, every, source = read_recipe(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    number, done = 0, False
    while not done:
        shutil.rmtree(recipe.folder, ignore_errors=True)
        if source:
            shutil.copytree(source[0], recipe.folder)
        done = ended(recipe, number, bool(source))
        how = "resumed"
        try:
            run(recipe, resume=True, quiet=True)
        except UserError as error:
            how = str(error)
            run(recipe, overwrite=True, quiet=True)
        weights = (recipe.folder / "model.safetensors").read_bytes()
        notes = (recipe.folder / "notes.txt").exists()
        print(number, hashlib.sha256(weights).hexdigest(), notes, how, sep="\t", flush=True)
        number += every


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
