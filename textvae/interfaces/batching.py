"""What `TextVAE` and `Translator` share: strings in, batches of like length, options of decoding, bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from tqdm import tqdm

from textvae.support.processes import hidden_bar
from textvae.text.batches import Batch
from textvae.text.fields import Fields
from textvae.text.samplers import alike

TOKENS, HYPOTHESES = 4096, 256
"""So many tokens are read, and so many sentences are written, at once where no batch size is given: enough for products
of matrices to be fast, and little memory."""

STOCHASTIC = ("temperature", "top_k", "top_p", "min_p", "typical_p")
"""Options of `GenerationMixin.generate` that mean nothing unless words are drawn."""


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
    # What has no length counts as one token.
    counts = torch.tensor([[example[name] for name in names] or [1] for example in examples])
    with progress(len(examples), show_progress_bar, what) as bar:
        for places in alike(counts, batch_size, tokens or TOKENS):
            yield places, fields.collate([examples[place] for place in places]).to(device)
            bar.update(len(places))


def decoding(options: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
    """Options of `GenerationMixin.generate` with what they imply; what the user says, here or in a config, stays.

    A ``temperature``, ``top_k`` or ``top_p`` implies ``do_sample``, and words are drawn from the model's own
    distribution, not from its 50 likeliest words, unless ``top_k`` says so.

    Args:
        options: what the user says; what a ``generation_config`` among them sets counts as said, less than the others.
        **defaults: what holds where the user says nothing.

    Example:
        >>> decoding({"num_beams": 4}), decoding({"temperature": 0.5})
        ({'do_sample': False, 'num_beams': 4}, {'top_k': 0, 'do_sample': True, 'temperature': 0.5})
        >>> decoding({"max_new_tokens": 3}, max_new_tokens=100)
        {'do_sample': False, 'max_new_tokens': 3}
    """
    said = said_in(options)
    drawn = said.get("do_sample", any(name in said for name in STOCHASTIC))
    if "max_length" in said:
        defaults.pop("max_new_tokens", None)
    return ({"top_k": 0} if drawn else {}) | {"do_sample": drawn} | defaults | said


def said_in(options: Mapping[str, Any]) -> dict[str, Any]:
    """What options say, those that a ``generation_config`` sets among them."""
    config = options.get("generation_config")
    found = {} if config is None else {name: getattr(config, name, None) for name in config.to_diff_dict()}
    found.pop("transformers_version", None)
    found |= {name: value for name, value in options.items() if name != "generation_config"}
    return {name: value for name, value in found.items() if value is not None}


def at_once(each: int) -> int:
    """How many sentences are written at once where no batch size is given.

    Args:
        each: hypotheses of one: its beams, or its draws.
    """
    return max(1, HYPOTHESES // each)


def progress(total: int, show: bool | None, what: str) -> tqdm:
    """A bar of so many sentences; ``show`` None: only on a terminal."""
    return tqdm(total=total, desc=what, unit=" sentences", disable=hidden_bar(show))
