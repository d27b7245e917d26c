"""How probable the model finds a sentence: the ELBO and the importance-weighted bound."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch.distributions import kl_divergence

from textvae.models.language import TextVAEModel
from textvae.models.refinement import Refinement
from textvae.modules.latents import kl_per_dimension
from textvae.text.batches import Batch

TOKEN_SAMPLES = 8192
"""Tokens times samples that are decoded at once, which bounds the memory of an estimate at any K."""


@torch.no_grad()
def bounds(
    model: TextVAEModel, batch: Batch, samples: int = 1, refinement: Refinement | None = None
) -> dict[str, Any]:
    """Bounds on log p(x) of each sentence, in nats.

        neg_elbo = - 1/K sum_k log p(x | z_k) + KL(q(z | x) ‖ p(z))
        iw_nll   = - [logsumexp_k (log p(x | z_k) + log p(z_k) - log q(z_k | x)) - log K],   z_k ~ q(z | x)

    The expectation of ``iw_nll`` falls as K rises, from that of ``neg_elbo`` towards -log p(x) (Burda et al. 2016).
    Both are always taken at KL weight 1; a model without z gives its exact -log p(x) for both, from one pass.

    Args:
        model: in evaluation mode; dropout would make the bounds those of another model.
        batch: B sentences.
        samples: K.
        refinement: how the encoder's posterior is improved for each sentence first; None: not at all.

    Returns:
        ``neg_elbo``, ``iw_nll``, ``kl``, each (B,), ``kl_per_dimension``, (B, Z), and the ``posterior``.

    References:
        Importance Weighted Autoencoders (Burda et al. 2016), https://arxiv.org/abs/1509.00519
    """
    inputs, targets, mask = batch.inputs, batch.targets, batch.mask
    posterior = model.encode(targets, mask)
    if refinement is not None and model.config.latent_size:
        posterior = model.refine(posterior, inputs, targets, mask, refinement)
    prior = model.prior(len(inputs), posterior.mean)
    if not model.config.latent_size:
        samples = 1
    at_once = max(1, TOKEN_SAMPLES // inputs.numel())
    log_weights, log_likelihood = [], torch.zeros_like(posterior.mean[:, :1].sum(-1))
    for start in range(0, samples, at_once):
        z = posterior.rsample((min(at_once, samples - start),))
        scores = model.log_likelihood(z, inputs, targets, mask)
        log_likelihood = log_likelihood + scores.sum(0)
        log_weights.append(scores + prior.log_prob(z) - posterior.log_prob(z))
    kl = kl_divergence(posterior, prior)
    return {
        "neg_elbo": kl - log_likelihood / samples,
        "iw_nll": math.log(samples) - torch.cat(log_weights).logsumexp(0),
        "kl": kl,
        "posterior": posterior,
        "kl_per_dimension": kl_per_dimension(posterior, prior),
    }


class BoundSums:
    """Means of the bounds over a data set, and the perplexity.

    Args:
        samples: K of the importance-weighted bound.
    """

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.sums = dict.fromkeys(("neg_elbo", "iw_nll"), 0.0)
        self.tokens = self.sentences = 0

    def update(self, model: TextVAEModel, batch: Batch, found: dict[str, Any]) -> None:
        """Take in what `bounds` found of a batch."""
        for name in self.sums:
            self.sums[name] += float(found[name].double().sum())
        self.samples = self.samples if model.config.latent_size else 1
        self.tokens += int(batch.lengths.sum())
        self.sentences += len(batch.lengths)

    def quantities(self) -> dict[str, Any]:
        """The bounds in nats per sentence, K, the perplexity per token, and the numbers of both."""
        return {
            **{name: total / self.sentences for name, total in self.sums.items()},
            "iw_samples": self.samples,
            "ppl": _exp(self.sums["iw_nll"] / self.tokens),
            "tokens": self.tokens,
            "sentences": self.sentences,
        }


def _exp(x: float) -> float:
    """e to the x, infinite where `math.exp` raises: a run that diverges must come as far as its own message."""
    return math.exp(x) if x < math.log(sys.float_info.max) else math.inf
