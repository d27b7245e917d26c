"""The base class of all interfaces: loading, saving, batches, the bound on the log-likelihood."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from textvae.inference.bounds import bounds, tokens_at_once
from textvae.inference.mode import evaluating
from textvae.interfaces.batching import batches_of
from textvae.models.base import VAEModel
from textvae.models.checkpoint import load_run
from textvae.support.errors import UserError
from textvae.support.files import replacing_files_in
from textvae.support.quiet import silenced
from textvae.support.randomness import generator_of
from textvae.support.seeds import check_seed
from textvae.text.batches import Batch
from textvae.text.fields import Fields, TextField


class Interface:
    """A trained model with its tokenizers: the methods take and return strings.

    No method changes the model's mode. A method with a seed leaves the global random state as it is.

    Args:
        model: the model, on any device.
        *tokenizers: the tokenizers that the model was trained with, one for each of `field_kinds`.

    Attributes:
        kind: the class of the model.
        field_kinds: the fields that read strings, in the order of the tokenizers.
        fields: the model's fields.

    Raises:
        UserError: if the vocabulary of a tokenizer and the model's differ in size.
    """

    kind: ClassVar[type[VAEModel]]
    field_kinds: ClassVar[Sequence[Any]] = (TextField,)

    def __init__(self, model: Any, *tokenizers: Any) -> None:
        fields = zip(self.field_kinds, tokenizers, strict=True)
        self.model, self.fields = model, Fields(kind.of(tokenizer) for kind, tokenizer in fields)
        for name, size in self.fields.sizes().items():
            expected = getattr(model.config, name)
            if name.endswith("vocab_size") and size != expected:
                raise UserError(
                    f"expected the tokenizer that the model was trained with, which has {expected} tokens ({name}), "
                    f"got one with {size}: take both from the same run"
                )

    @classmethod
    def from_pretrained(cls, run: str | Path, device: str | torch.device | None = None) -> Self:
        """Load a run folder, one of its checkpoints, or a model on the Hub.

        Args:
            run: a folder, or ``owner/name`` on the Hub.
            device: the device of the model; None: the GPU if there is one.

        Raises:
            UserError: if the run does not exist, is unfinished or damaged, or holds another kind of model, or if a
                tokenizer does not fit the model.
        """
        model, fields = load_run(run, cls.kind, device)
        return cls(model, *(fields.of_kind(kind).tokenizer for kind in cls.field_kinds))

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the texts that the model generates."""
        return self.fields.tokenizer

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model and its tokenizers.

        The files directly in the folder appear together or not at all. A tokenizer with its own subfolder is written
        first.

        Args:
            folder: the folder, which is created if it does not exist.
        """
        with silenced():
            for field in self.fields:
                if field.folder:
                    field.save(Path(folder).expanduser())
            with replacing_files_in(folder, "config.json") as partial:
                self.model.save_pretrained(partial)
                for field in self.fields:
                    if not field.folder:
                        field.save(partial)

    def _batches(
        self,
        rows: Sequence[dict[str, Any]],
        batch_size: int | None,
        show_progress_bar: bool | None,
        what: str,
        tokens: int | None = None,
    ) -> Iterator[tuple[list[int], Batch]]:
        """Batches of prepared rows of similar length, each with the indices of its rows in ``rows``."""
        device = self.model.device
        return batches_of(rows, self.fields, batch_size, device, show_progress_bar, what, tokens)

    def _log_likelihood(
        self,
        rows: Sequence[dict[str, Any]],
        samples: int,
        seed: int | None,
        batch_size: int | None,
        show_progress_bar: bool | None,
    ) -> NDArray[np.float64]:
        """The importance-weighted bound on the log-likelihood of each prepared row in nats, (n,).

        Raises:
            UserError: if ``samples`` is less than 1, or the seed is out of range.
        """
        check_seed(seed)
        if samples < 1:
            raise UserError(f"expected 1 sample or more, got {samples}")
        found, generator = np.zeros(len(rows)), generator_of(seed)
        with evaluating(self.model):
            for places, batch in self._batches(
                rows, batch_size, show_progress_bar, "scoring", tokens_at_once(samples)
            ):
                bound = bounds(self.model, batch, samples, generator=generator)
                found[places] = -bound.iw_nll.cpu().double().numpy()
        return found
