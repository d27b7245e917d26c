"""Decode vectors to sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from textvae.inference.mode import evaluating
from textvae.interfaces.batching import at_once, decoding, progress
from textvae.interfaces.interface import Interface
from textvae.interfaces.readable import readable
from textvae.modules.classes import with_likeliest_class
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
        """The sentences decoded from latent codes, in order. Decoding is greedy unless the options say otherwise.

        A sentence has no UNK; ``suppress_tokens=[]`` allows it. Unless words are sampled, no run of 4 words, 5 pieces
        of words or 16 characters occurs twice in a sentence, so that it does not loop (`readable`);
        ``no_repeat_ngram_size`` sets another number of tokens, and 0 allows all.

        Args:
            z: latent codes (n, Z), or (Z,) for a single one.
            maximum_length: maximum tokens of a sentence, unless ``options`` set another limit.
            batch_size: vectors at once; None: as many as make 256 beams or samples.
            seed: seed for sampling words; None: use the global random state.
            show_progress_bar: None: only on a terminal.
            **options: options of `GenerationMixin.generate`: ``num_beams``, ``do_sample``, ``top_p``,
                ``max_new_tokens``, ..., or a ``generation_config``. A ``temperature``, ``top_k`` or ``top_p`` implies
                ``do_sample``. Words are then sampled from the model's whole distribution, not from its 50 likeliest
                words, unless ``top_k`` is set.

        Returns:
            n strings. With ``num_return_sequences=r``, n · r strings: r for the first vector, r for the second, ...

        Raises:
            UserError: if the vectors do not have the model's size, or the seed is out of range.
        """
        check_seed(seed)
        return self._decoded(
            self._vectors(z),
            generator_of(seed),
            readable(decoding(options, max_new_tokens=maximum_length), self.tokenizer),
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
        """The sentences decoded from checked vectors (n, Z)."""
        texts: list[str] = []
        if not len(vectors):
            return texts
        each = max(options.get("num_beams", 1), options.get("num_return_sequences", 1))
        with evaluating(self.model), progress(len(vectors), show_progress_bar, "decoding") as bar:
            for part in vectors.split(batch_size or at_once(each)):
                written: Any = self.model.generate(part, generator=generator, **options)
                # With return_dict_in_generate the result holds more than the ids.
                ids = getattr(written, "sequences", written)
                texts += decode_rows(self.tokenizer, ids.tolist())
                bar.update(len(part))
        return texts

    def _vectors(self, z: NDArray[np.floating] | Tensor) -> Tensor:
        """``z`` as (n, Z), in the model's precision and on its device; with classes, each with its likeliest class."""
        # A copy, because torch warns about read-only arrays such as memory-mapped ones.
        given = z if isinstance(z, Tensor) else torch.from_numpy(np.array(z))
        vectors = given.to(self.model.device, self.model.dtype)
        vectors = vectors[None] if vectors.ndim == 1 else vectors
        size = self.model.vector_size
        if vectors.ndim != 2 or vectors.shape[1] != size:
            raise UserError(
                f"expected vectors of shape (n, {size}), got {tuple(np.shape(z))}: take them from this model's encode"
            )
        classes = self.model.config.classes
        return with_likeliest_class(vectors, len(classes)) if classes else vectors
