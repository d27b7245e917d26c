"""What a user may write with mypy --strict: every name of the front page, with its type."""

import numpy as np
from numpy.typing import NDArray

import textvae


def vectors_of(run: str, texts: list[str]) -> NDArray[np.float32]:
    """The vectors of texts."""
    found: NDArray[np.float32] = textvae.TextVAE.from_pretrained(run).encode(texts)
    return found


def written(run: str) -> list[str]:
    """Samples, a reconstruction and an interpolation."""
    vae = textvae.TextVAE.from_pretrained(run)
    return [*vae.sample(8, seed=0), *vae.reconstruct(["a"]), *vae.interpolate("a", "b", steps=7)]


def learnt(texts: list[str]) -> NDArray[np.float32]:
    """An estimator's vectors."""
    embedder = textvae.TextVAEEmbedder(latent_size=8, random_state=0)
    found: NDArray[np.float32] = embedder.fit(texts).transform(texts)
    return found
