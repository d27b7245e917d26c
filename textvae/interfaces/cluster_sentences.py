"""Sentences that show what a cluster is like: decoded from its centre and from samples of its Gaussian."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from textvae.interfaces.text_vae import TextVAE
from textvae.latent_space.clusters import Clusters

BEAMS = 5
"""Beam size for the sentence of a centre."""

CANDIDATES = 4
"""Number of samples that are decoded for each sentence that is shown."""


def centre_sentences(vae: TextVAE, fitted: Clusters, **options: Any) -> list[str]:
    """The sentence that beam search finds for the centre of each cluster, (k,).

    Args:
        vae: a trained model.
        fitted: k clusters of the model's vectors.
        **options: arguments of `TextVAE.decode`.
    """
    return vae.decode(fitted.centres, **{"num_beams": BEAMS} | options)


def drawn_sentences(
    vae: TextVAE, fitted: Clusters, draws: int, seed: int = 0, **options: Any
) -> list[list[str]]:
    """For each cluster, the best sentences decoded greedily from samples of its Gaussian, best first.

    For each sentence that is wanted, `CANDIDATES` samples of z are decoded. The best sentences have the largest log
    p(x | z) per token: the decoder is sure of them, so that they read better than what it writes for an unusual z.

    Args:
        vae: a trained model.
        fitted: k clusters of the model's vectors.
        draws: number of sentences for each cluster; equal sentences count once, so that there may be fewer.
        seed: seed for the samples.
        **options: arguments of `TextVAE.decode`.

    Returns:
        k lists of at most ``draws`` sentences.
    """
    candidates = CANDIDATES * draws
    if not candidates:
        return [[] for _ in fitted.centres]
    z = np.concatenate([fitted.draw(c, candidates, seed) for c in range(len(fitted.centres))])
    texts = vae.decode(z, **options)
    scores = vae.score(texts, z, batch_size=options.get("batch_size")) / _lengths(vae, texts)
    order = (-scores).reshape(-1, candidates).argsort(1, kind="stable")
    found = [[texts[c * candidates + place] for place in places] for c, places in enumerate(order.tolist())]
    return [list(dict.fromkeys(own))[:draws] for own in found]


def _lengths(vae: TextVAE, texts: list[str]) -> NDArray[np.integer]:
    """The number of tokens of each text, EOS included, (n,)."""
    # verbose=False: no warning about texts longer than the training sentences.
    ids = vae.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    return np.array([len(own) + 1 for own in ids])
