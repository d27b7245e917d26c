"""Measures all quantities of a model on a data set, streamed in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from itertools import count
from operator import length_hint
from typing import Any

import torch
from datasets import Dataset, IterableDataset
from tqdm import tqdm

from textvae.evaluation.meters.table import METERS
from textvae.evaluation.quantities import Evaluation, Meter, Setting
from textvae.inference.bounds import bounds
from textvae.inference.mode import evaluating
from textvae.models.base import VAEModel
from textvae.models.refinement import Refinement
from textvae.support.held import flushing_denormals
from textvae.support.precision import check_bf16
from textvae.support.processes import hidden_bar, shared
from textvae.support.seeds import check_seed
from textvae.text.batches import Batch
from textvae.text.fields import Fields
from textvae.text.samplers import evaluation_loader


def evaluate(
    model: VAEModel,
    batches: Iterable[Batch],
    *,
    fields: Fields | None = None,
    samples: int = 500,
    seed: int = 0,
    refinement: Refinement | None = None,
    bf16: bool = False,
    **setting: Any,
) -> Evaluation:
    """The `Evaluation` of ``model`` on ``batches``, in order, in memory that does not grow with the data.

    The model's mode is restored afterwards, and the global random state is not touched. Several processes share the
    work: each is given all batches, and all get the same result as one process.

    Args:
        model: a model on any device.
        batches: batches on any device.
        fields: the model's fields, for meters that turn tokens into text; None: leave these meters out.
        samples: K of the importance-weighted bound.
        seed: seed of all draws.
        refinement: how to refine each posterior first, for all quantities; None: use the encoder's posterior.
        bf16: compute matrix products in bf16; False: keep the caller's precision, which is fp32 outside autocast.
        **setting: further attributes of `Setting`.

    Raises:
        ValueError: if there is no batch.
        UserError: if the seed is out of range, or the model has LSTMs and its CPU cannot compute them in bf16.
    """
    check_seed(seed)
    if bf16:
        check_bf16(model, model.device)
    with evaluating(model), flushing_denormals():
        given = Setting(model, fields, samples, seed=seed, batches=length_hint(batches), **setting)
        meters = [meter for kind in METERS.values() if (meter := kind.of(given)) is not None]

        def measured(item: tuple[int, Batch, int]) -> list[Any]:
            number, batch, own_seed = item
            # Each batch has its own seed, so its draws do not depend on which other batches a process measures.
            generator = torch.Generator().manual_seed(own_seed)
            here = batch.to(model.device)
            with torch.autocast(model.device.type, torch.bfloat16) if bf16 else nullcontext():
                found = bounds(model, here, samples, refinement, generator)
                return [meter.measure(model, here, found, number, generator) for meter in meters]

        seen = 0
        for results in shared(zip(count(), batches, _seeds(seed)), measured):
            seen += 1
            for meter, result in zip(meters, results, strict=True):
                meter.add(result)
        if not seen:
            raise ValueError("expected one batch or more to evaluate, got none")
        return Evaluation(_quantities(meters), model.cures())


def _quantities(meters: Iterable[Meter]) -> list[Any]:
    return [quantity for meter in meters for quantity in meter.quantities()]


def evaluate_rows(
    model: VAEModel,
    fields: Fields,
    rows: Dataset | IterableDataset,
    *,
    batch_size: int = 32,
    samples: int = 500,
    seed: int = 0,
    refinement: Refinement | None = None,
    bf16: bool = False,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    show_progress_bar: bool | None = None,
) -> Evaluation:
    """The `Evaluation` of ``model`` on a split of a corpus.

    Args:
        model: a model on any device.
        fields: the model's fields; texts are cut as in training.
        rows: a split of `load_corpus`, with the columns that the fields read, and ``log_prob`` if its entropy is known.
        batch_size: examples per batch.
        samples: K of the importance-weighted bound.
        seed: seed of all draws.
        refinement: how to refine each posterior first; None: use the encoder's posterior.
        bf16: compute matrix products in bf16, which is faster on hardware that supports it.
        options: arguments of the meters, by their names in `METERS`.
        show_progress_bar: None: only on a terminal.
    """
    tokens = fields.prepare(rows)
    loader = evaluation_loader(tokens, fields, batch_size)
    return evaluate(
        model,
        tqdm(loader, desc="evaluating", unit=" batches", disable=hidden_bar(show_progress_bar)),
        fields=fields,
        samples=samples,
        seed=seed,
        refinement=refinement,
        bf16=bf16,
        batch_size=batch_size,
        rows=rows,
        cut=fields.cuts(tokens),
        options=options or {},
        show_progress_bar=show_progress_bar,
    )


def _seeds(seed: int) -> Iterator[int]:
    """A seed for each batch."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield int(torch.randint(2**63 - 1, (), generator=generator))
