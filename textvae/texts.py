"""What `TextVAE` and `Translator` share: strings in, batches of like length, options of decoding, bars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from tqdm import tqdm

from textvae.errors import UserError
from textvae.processes import hidden_bar
from textvae.text.batches import Batch
from textvae.text.fields import Fields
from textvae.text.samplers import alike

TOKENS, HYPOTHESES = 4096, 256
"""So many tokens are read, and so many sentences are written, at once where no batch size is given: enough for products
of matrices to be fast, and little memory."""

STOCHASTIC = ("temperature", "top_k", "top_p", "min_p", "typical_p")
"""Options of `GenerationMixin.generate` that mean nothing unless words are drawn."""


def as_list(texts: str | Iterable[str]) -> list[str]:
    """The texts, checked."""
    listed = [texts] if isinstance(texts, str) else list(texts)
    for place, text in enumerate(listed):
        if not isinstance(text, str):
            raise UserError(f"expected strings, got {text!r:.80} ({type(text).__name__}) at place {place}")
    return listed


def batches_of(
    examples: Sequence[Mapping[str, Any]],
    fields: Fields,
    batch_size: int | None,
    device: torch.device,
    show_progress_bar: bool | None,
    what: str,
    tokens: int | None = None,
) -> Iterator[tuple[list[int], Batch]]:
    """Examples of like length together, each batch with the places that its rows have among ``examples``.

    Args:
        examples: prepared, see `Fields.prepare`.
        fields: what makes the batches.
        batch_size: examples at once; None: as many as have this many ``tokens`` together.
        device: where the batches go.
        show_progress_bar: None: only on a terminal.
        what: is done, for the bar.
        tokens: in a batch if there is no batch size, pads and sources counted; None: `TOKENS`.
    """
    if not examples:
        return
    names = fields.length_columns
    counts = torch.tensor([[example[name] for name in names] for example in examples])
    with progress(len(examples), show_progress_bar, what) as bar:
        for places in alike(counts, batch_size, tokens or TOKENS):
            yield places, fields.collate([examples[place] for place in places]).to(device)
            bar.update(len(places))


def decoding(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `GenerationMixin.generate` with what they imply.

    A ``temperature``, ``top_k`` or ``top_p`` implies ``do_sample``, and words are drawn from the model's own
    distribution, not from its 50 likeliest words, unless ``top_k`` says so.

    Example:
        >>> decoding({"num_beams": 4}), decoding({"temperature": 0.5})
        ({'do_sample': False, 'num_beams': 4}, {'top_k': 0, 'do_sample': True, 'temperature': 0.5})
    """
    drawn = any(options.get(name) is not None for name in STOCHASTIC)
    chosen = {"do_sample": drawn, **options}
    return ({"top_k": 0} if chosen["do_sample"] else {}) | chosen


def at_once(each: int) -> int:
    """How many sentences are written at once where no batch size is given.

    Args:
        each: hypotheses of one: its beams, or its draws.
    """
    return max(1, HYPOTHESES // each)


def progress(total: int, show: bool | None, what: str) -> tqdm:
    """A bar of so many sentences; ``show`` None: only on a terminal."""
    return tqdm(total=total, desc=what, unit=" sentences", disable=hidden_bar(show))
