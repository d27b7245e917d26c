"""Helpers of `TextVAE` and `Translator`: batches of similar length, decoding options, progress bars."""

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
"""Tokens encoded at once, and sentences decoded at once, if no batch size is given. These numbers are large enough for
fast matrix products and need little memory."""

STOCHASTIC = ("temperature", "top_k", "top_p", "min_p", "typical_p")
"""Options of `GenerationMixin.generate` that only have an effect if words are sampled."""


def batches_of(
    examples: Sequence[Mapping[str, Any]],
    fields: Fields,
    batch_size: int | None,
    device: torch.device,
    show_progress_bar: bool | None,
    what: str,
    tokens: int | None = None,
) -> Iterator[tuple[list[int], Batch]]:
    """Batches of examples of similar length, each with the indices of its rows in ``examples``.

    Args:
        examples: rows as `Fields.prepare` makes them.
        fields: the fields that collate the batches.
        batch_size: examples per batch; None: as many as make ``tokens`` tokens.
        device: the device of the batches.
        show_progress_bar: None: only on a terminal.
        what: the label of the progress bar, such as "encoding".
        tokens: tokens per batch if ``batch_size`` is None, including padding and sources; None: `TOKENS`.
    """
    if not examples:
        return
    names = fields.length_columns
    # An example without a length counts as one token.
    counts = torch.tensor([[example[name] for name in names] or [1] for example in examples])
    with progress(len(examples), show_progress_bar, what) as bar:
        for places in alike(counts, batch_size, tokens or TOKENS):
            yield places, fields.collate([examples[place] for place in places]).to(device)
            bar.update(len(places))


def decoding(options: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
    """Options of `GenerationMixin.generate`, completed with what they imply. Values set by the user are kept.

    A ``temperature``, ``top_k`` or ``top_p`` implies ``do_sample``. Words are then sampled from the model's whole
    distribution, not from its 50 likeliest words, unless ``top_k`` is set.

    Args:
        options: the user's options. The values that a ``generation_config`` sets count too; an option given directly
            takes precedence over them.
        **defaults: values of options that the user does not set.

    Example:
        >>> decoding({"num_beams": 4}), decoding({"temperature": 0.5})
        ({'do_sample': False, 'num_beams': 4}, {'top_k': 0, 'do_sample': True, 'temperature': 0.5})
        >>> decoding({"max_new_tokens": 3}, max_new_tokens=100)
        {'do_sample': False, 'max_new_tokens': 3}
    """
    said = said_in(options)
    drawn = is_drawn(said)
    if "max_length" in said:
        defaults.pop("max_new_tokens", None)
    return ({"top_k": 0} if drawn else {}) | {"do_sample": drawn} | defaults | said


def is_drawn(said: Mapping[str, Any]) -> bool:
    """Whether words are sampled, by the options that are set."""
    return said.get("do_sample", any(name in said for name in STOCHASTIC))


def said_in(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are set, including those set in a ``generation_config``."""
    generation = options.get("generation_config")
    found = (
        {}
        if generation is None
        else {name: getattr(generation, name, None) for name in generation.to_diff_dict()}
    )
    found.pop("transformers_version", None)
    found |= {name: value for name, value in options.items() if name != "generation_config"}
    return {name: value for name, value in found.items() if value is not None}


def at_once(each: int) -> int:
    """The number of sentences to decode at once if no batch size is given.

    Args:
        each: hypotheses per sentence: its beams or its samples.
    """
    return max(1, HYPOTHESES // each)


def progress(total: int, show: bool | None, what: str) -> tqdm:
    """A progress bar over ``total`` sentences; ``show`` None: only on a terminal."""
    return tqdm(total=total, desc=what, unit=" texts", disable=hidden_bar(show))
