"""Runs a recipe and is killed after PASSES forward passes, as in a power failure: killed.py RECIPE PASSES."""

import os
import signal
import sys

import torch

from textvae.models.language import TextVAEModel
from textvae.training.recipe import read_recipe
from textvae.training.run import run


def make_fatal(passes: int) -> None:
    """Make the process kill itself after ``passes`` forward passes."""
    forward, calls = TextVAEModel.forward, []

    def fatal(self, *arguments, **options):
        calls.append(1)
        if len(calls) > passes:
            os.kill(os.getpid(), signal.SIGKILL)
        return forward(self, *arguments, **options)

    TextVAEModel.forward = fatal


if __name__ == "__main__":
    torch.set_num_threads(1)
    make_fatal(int(sys.argv[2]))
    run(read_recipe(sys.argv[1]))
