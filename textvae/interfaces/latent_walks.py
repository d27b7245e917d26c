"""Explore the latent space around sentences: interpolation, analogies, traversals."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from textvae.interfaces.sentence_decoder import SentenceDecoder
from textvae.interfaces.sentence_encoder import SentenceEncoder
from textvae.latent_space.paths import PATHS, analogy, traversal
from textvae.support.errors import UserError


class LatentWalks(SentenceEncoder, SentenceDecoder):
    """A model with methods to move through its latent space from sentence to sentence.

    The vector of a model with classes is [E z, q(y)]. A path or an analogy moves both parts, and each sentence is
    decoded from its z and its likeliest class. A traversal moves one dimension of z and keeps the class.
    """

    def interpolate(
        self, a: str, b: str, steps: int = 7, path: Literal["linear", "spherical"] = "linear", **options: Any
    ) -> list[str]:
        """Sentences decoded along a path from sentence a to sentence b, beginning and ending with reconstructions.

        Args:
            a: the first sentence.
            b: the last sentence.
            steps: number of sentences, both ends included.
            path: the kind of path between the posterior means, see `latent_space.paths`.
            **options: arguments of `decode`.

        Raises:
            UserError: if the path is unknown or has fewer than two steps, or the model has no latent code.
        """
        return self.decode(self.path_between(a, b, steps, path), **options)

    def path_between(
        self, a: str, b: str, steps: int = 7, path: Literal["linear", "spherical"] = "linear"
    ) -> NDArray[np.floating]:
        """The vectors that `interpolate` decodes, (steps, Z).

        Pass them to `score` to see how probable each sentence of the path is under the decoder.

        Args:
            a: the first sentence.
            b: the last sentence.
            steps: number of vectors, both ends included.
            path: the kind of path between the posterior means, see `latent_space.paths`.

        Raises:
            UserError: if the path is unknown or has fewer than two steps, or the model has no latent code.
        """
        if path not in PATHS:
            raise UserError(f"expected path to be one of {', '.join(PATHS)}, got {path!r}")
        first, last = self._means([a, b], 2, show_progress_bar=False).cpu()
        size = self.model.config.latent_size
        if not self.model.config.classes:
            return PATHS[path](first, last, steps)
        shares = PATHS["linear"](first[size:], last[size:], steps)
        return np.hstack([PATHS[path](first[:size], last[:size], steps), shares])

    def analogy(self, a: str, b: str, c: str, **options: Any) -> str:
        """The sentence that is to ``c`` as ``a`` is to ``b``, decoded from a - b + c of the posterior means.

        Args:
            a: a sentence with a property.
            b: the same sentence without the property.
            c: the sentence to add the property to.
            **options: arguments of `decode`.

        Raises:
            UserError: if the model has no latent code.
        """
        return self.decode(analogy(*self._means([a, b, c], 3, show_progress_bar=False).cpu()), **options)[0]

    def traverse(
        self, text: str, dimension: int, steps: int = 7, reach: float = 3.0, **options: Any
    ) -> list[str]:
        """Sentences decoded from a text's posterior mean while one dimension moves across the range of the prior.

        Args:
            text: the text whose posterior mean fixes all other dimensions.
            dimension: index of the dimension that moves, from 0.
            steps: number of sentences.
            reach: how far the dimension moves to both sides of the prior mean, in standard deviations of the prior.
            **options: arguments of `decode`.

        Raises:
            UserError: if the dimension does not exist, or the model has no latent code.
        """
        size = self.model.config.latent_size
        if self.model.config.classes and dimension >= size:
            raise UserError(
                f"expected a dimension of z from 0 to {size - 1}, got {dimension}, which is a class: sample(label=...) "
                "draws sentences of a class"
            )
        z = self._means([text], 1, show_progress_bar=False)
        with torch.no_grad():
            prior = self.model.prior(1, z)
        # In float64 on the host, because some devices have no float64.
        z, mean, deviation = (part.cpu().double() for part in (z, prior.mean, prior.stddev))
        path = traversal(((z - mean) / deviation)[0], dimension, np.linspace(-reach, reach, steps))
        return self.decode(mean + deviation * torch.from_numpy(path), **options)
