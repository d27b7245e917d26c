"""What `TextVAE` and `Translator` share: strings in, batches of like length, options of decoding, bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm
from transformers import PreTrainedModel

from textvae.errors import UserError
from textvae.models.checkpoint import load_model, name_of
from textvae.processes import hidden_bar
from textvae.text.batches import Batch, Collator, alike
from textvae.text.given import as_list as as_list

Model = TypeVar("Model", bound=PreTrainedModel)

TOKENS, HYPOTHESES = 4096, 256
"""So many tokens are read, and so many sentences are written, at once where no batch size is given: enough for products
of matrices to be fast, and little memory."""

STOCHASTIC = ("temperature", "top_k", "top_p", "min_p", "typical_p")
"""Options of `GenerationMixin.generate` that mean nothing unless words are drawn."""


def load(
    run: str | Path, kind: type[Model], device: str | torch.device | None, otherwise: str
) -> tuple[Model, str]:
    """The model of a run in evaluation mode, and the run's name as a string.

    Args:
        run: a run folder, one of its checkpoints, or a name on the Hub.
        kind: the class that the model must be of.
        device: where it goes; None: the GPU if there is one.
        otherwise: what to do with a model of another class, as it ends an error.

    Raises:
        UserError: as `load_model`, or if the model is of another class.
    """
    name = name_of(run)
    model = load_model(name)
    if not isinstance(model, kind):
        raise UserError(f"expected a {kind.__name__} in {name}, got a {type(model).__name__}: {otherwise}")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    torch.nn.Module.to(model, device)  # the model's own has lost its types to a decorator
    return model.eval(), name


def batches_of(
    examples: Sequence[Mapping[str, Sequence[int]]],
    collator: Collator,
    batch_size: int | None,
    device: torch.device,
    show_progress_bar: bool | None,
    what: str,
    tokens: int | None = None,
) -> Iterator[tuple[list[int], Batch]]:
    """Examples of like length together, each batch with the places that its rows have among ``examples``.

    Args:
        examples: each with ``ids`` and, of pairs, ``source_ids``.
        collator: what makes the batches.
        batch_size: examples at once; None: as many as have so many tokens together.
        device: where the batches go.
        show_progress_bar: None: only on a terminal.
        what: is done, for the bar.
        tokens: which count if there is no batch size, pads and sources too; None: `TOKENS`.
    """
    if not examples:
        return

    sides = [side for side in ("ids", "source_ids") if side in examples[0]]
    counts = torch.tensor([[len(example[side]) + 1 for side in sides] for example in examples])
    with progress(len(examples), show_progress_bar, what) as bar:
        for places in alike(counts, batch_size, tokens or TOKENS):
            yield places, collator([examples[place] for place in places]).to(device)
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
