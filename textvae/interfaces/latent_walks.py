"""What lies between sentences: paths, analogies, single dimensions."""

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
    """A model through whose latent space one can walk from sentence to sentence."""

    def interpolate(
        self, a: str, b: str, steps: int = 7, path: Literal["linear", "spherical"] = "linear", **options: Any
    ) -> list[str]:
        """Sentences on the way from one to another; the ends are the reconstructions of both.

        Args:
            a: where to begin.
            b: where to end.
            steps: number of sentences, the ends counted.
            path: the way between the posterior means, see `latent_space.paths`.
            **options: of `decode`.

        Raises:
            UserError: if the path is unknown or has fewer than two steps, or the model has no latent.
        """
        return self.decode(self.path_between(a, b, steps, path), **options)

    def path_between(
        self, a: str, b: str, steps: int = 7, path: Literal["linear", "spherical"] = "linear"
    ) -> NDArray[np.floating]:
        """The vectors that `interpolate` decodes, (steps, Z).

        With `score` they tell how probable the decoder finds each step.

        Args:
            a: where to begin.
            b: where to end.
            steps: number of vectors, the ends counted.
            path: the way between the posterior means, see `latent_space.paths`.

        Raises:
            UserError: if the path is unknown or has fewer than two steps, or the model has no latent.
        """
        if path not in PATHS:
            raise UserError(f"expected path to be one of {', '.join(PATHS)}, got {path!r}")
        first, last = self._means([a, b], 2, show_progress_bar=False).cpu()
        return PATHS[path](first, last, steps)

    def analogy(self, a: str, b: str, c: str, **options: Any) -> str:
        """The sentence that is to ``c`` as ``a`` is to ``b``, decoded from the posterior means a - b + c.

        Args:
            a: what has the property.
            b: what lacks it.
            c: what is to get it.
            **options: of `decode`.

        Raises:
            UserError: if the model has no latent.
        """
        return self.decode(analogy(*self._means([a, b, c], 3, show_progress_bar=False).cpu()), **options)[0]

    def traverse(
        self, text: str, dimension: int, steps: int = 7, reach: float = 3.0, **options: Any
    ) -> list[str]:
        """Sentences decoded from a text's posterior mean, one dimension of which goes from end to end of the prior.

        Args:
            text: where all other dimensions stay.
            dimension: counted from 0.
            steps: number of sentences.
            reach: how far the dimension goes to both sides, in deviations of the prior around its mean.
            **options: of `decode`.

        Raises:
            UserError: if there is no such dimension, or the model has no latent.
        """
        z = self._means([text], 1, show_progress_bar=False).double().cpu()
        with torch.no_grad():
            prior = self.model.prior(1, z.to(self.model.device))
            mean, deviation = prior.mean.cpu(), prior.stddev.cpu()
        path = traversal(((z - mean) / deviation)[0], dimension, np.linspace(-reach, reach, steps))
        return self.decode(mean + deviation * torch.from_numpy(path), **options)
