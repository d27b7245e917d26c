"""Vectors in, sentences out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from textvae.inference.mode import evaluating
from textvae.interfaces.batching import at_once, decoding, progress
from textvae.interfaces.interface import Interface
from textvae.support.errors import UserError
from textvae.support.randomness import generator_of
from textvae.support.seeds import check_seed
from textvae.text.tokenizer import decode_rows


class SentenceDecoder(Interface):
    """A model that decodes vectors to sentences."""

    def decode(
        self,
        z: NDArray[np.floating] | Tensor,
        *,
        maximum_length: int = 100,
        batch_size: int | None = None,
        seed: int | None = None,
        show_progress_bar: bool | None = None,
        **options: Any,
    ) -> list[str]:
        """The sentences of latent vectors, in their order; greedy unless the options say otherwise.

        Args:
            z: (n, Z), or (Z,) for one.
            maximum_length: a sentence ends after so many tokens at the latest, unless the options say another number.
            batch_size: vectors at once; None: as many as have 256 beams, or draws.
            seed: of the draws, if there are any; None takes them from the global random state.
            show_progress_bar: None: only on a terminal.
            **options: of `GenerationMixin.generate`: ``num_beams``, ``do_sample``, ``top_p``, ``max_new_tokens``, ...,
                or a ``generation_config``. A ``temperature``, ``top_k`` or ``top_p`` implies ``do_sample``, and words
                are drawn from the model's own distribution, not from its 50 likeliest words, unless ``top_k`` says so.

        Returns:
            n strings; n · r, those of one vector side by side, with ``num_return_sequences=r``.

        Raises:
            UserError: if the vectors are not of the model's size, or the seed is out of range.
        """
        check_seed(seed)
        return self._decoded(
            self._vectors(z),
            generator_of(seed),
            decoding(options, max_new_tokens=maximum_length),
            batch_size,
            show_progress_bar,
        )

    def _decoded(
        self,
        vectors: Tensor,
        generator: torch.Generator | None,
        options: dict[str, Any],
        batch_size: int | None,
        show_progress_bar: bool | None,
    ) -> list[str]:
        """The sentences of checked vectors (n, Z)."""
        texts: list[str] = []
        if not len(vectors):
            return texts
        each = max(options.get("num_beams", 1), options.get("num_return_sequences", 1))
        with evaluating(self.model), progress(len(vectors), show_progress_bar, "decoding") as bar:
            for part in vectors.split(batch_size or at_once(each)):
                written: Any = self.model.generate(part, generator=generator, **options)
                # With return_dict_in_generate there are scores too.
                ids = getattr(written, "sequences", written)
                texts += decode_rows(self.tokenizer, ids.tolist())
                bar.update(len(part))
        return texts

    def _vectors(self, z: NDArray[np.floating] | Tensor) -> Tensor:
        """``z`` as (n, Z) in the model's precision and on its device."""
        # A copy, because torch warns of arrays that it may not write to, such as memory-mapped ones.
        given = z if isinstance(z, Tensor) else torch.from_numpy(np.array(z))
        vectors = given.to(self.model.device, self.model.dtype)
        vectors = vectors[None] if vectors.ndim == 1 else vectors
        size = self.model.vector_size
        if vectors.ndim != 2 or vectors.shape[1] != size:
            raise UserError(
                f"expected vectors of shape (n, {size}), got {tuple(np.shape(z))}: take them from this model's encode"
            )
        return vectors
