"""Commands in processes of their own, which can be killed at any moment.

The libraries are imported once, by the server that the processes are forked from.
"""

import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import datasets
import torch
from matplotlib.figure import Figure

# What commands import when they need it.
import textvae.interfaces.clustering
import textvae.interfaces.text_vae
import textvae.interfaces.vectors
import textvae.latent_space.maps
import textvae.pictures.scatter
import textvae.training.curves
import textvae.training.script
from textvae.cli import main

ROWS = 40
"""Texts in a part that `encode` keeps, instead of thousands."""


@dataclass
class Ended:
    """How a command ended.

    Attributes:
        code: the exit code; -9 if it was killed.
        seconds: how long it ran.
        printed: standard output and error.
    """

    code: int
    seconds: float
    printed: str

    @property
    def was_killed(self) -> bool:
        """Whether it was killed before its end."""
        return self.code == -signal.SIGKILL


class Commands:
    """Runs commands in a folder.

    Args:
        folder: their working directory; ``printed.txt`` in it holds what the last one printed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = multiprocessing.get_context("forkserver")
        self.server.set_forkserver_preload(["kills"])

    def __call__(self, *arguments: object, killed_after: float | None = None) -> Ended:
        """Run a command, and kill it after so many seconds if it has not ended; None: let it end."""
        given = [str(argument) for argument in arguments]
        process = self.server.Process(target=command, args=(given, str(self.folder)))
        start = time.monotonic()
        process.start()
        process.join(killed_after)
        process.kill()
        process.join()
        printed = self.folder / "printed.txt"
        text = printed.read_text() if printed.exists() else ""
        return Ended(process.exitcode, time.monotonic() - start, text)


def command(arguments: list[str], folder: str) -> None:
    """Run a command in this process."""
    os.chdir(folder)
    printed = os.open("printed.txt", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(printed, stream)
    torch.set_num_threads(1)
    datasets.config.HF_DATASETS_CACHE = Path(folder) / "cache"
    textvae.interfaces.vectors.ROWS = ROWS
    # As in conftest.py.
    textvae.training.curves.draw_curves = lambda logs: Figure((1, 1))
    sys.argv[0] = "textvae"
    main(arguments)
