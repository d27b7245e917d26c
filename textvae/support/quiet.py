"""Hide what the libraries print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import datasets
from transformers.utils import logging as transformers_logging

from textvae.support.held import Held

_verbosity = Held(transformers_logging.get_verbosity, transformers_logging.set_verbosity)
_bars = Held(
    transformers_logging.is_progress_bar_enabled,
    lambda shown: (
        transformers_logging.enable_progress_bar() if shown else transformers_logging.disable_progress_bar()
    ),
)
bars_of_datasets = Held(
    lambda: not datasets.are_progress_bars_disabled(),
    lambda shown: datasets.enable_progress_bars() if shown else datasets.disable_progress_bars(),
)


@contextmanager
def silenced() -> Iterator[None]:
    """Hide the progress bars and warnings of the libraries inside the block; our own errors say what the user needs."""
    with _verbosity(transformers_logging.CRITICAL), without_bars():
        yield


@contextmanager
def without_bars(of_datasets: bool = True) -> Iterator[None]:
    """Hide the progress bars of `transformers` (files read and written) and, if asked, of `datasets`."""
    with _bars(False), bars_of_datasets(False) if of_datasets else nullcontext():
        yield
