"""How probable the model finds a sentence: the ELBO and the importance-weighted bound."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from textvae.models.language import TextVAEModel
from textvae.text.batches import Batch

TOKEN_SAMPLES = 8192
"""Tokens times samples that are decoded at once, which bounds the memory of an estimate at any K."""


@torch.no_grad()
def bounds(model: TextVAEModel, batch: Batch, samples: int = 1) -> dict[str, Tensor]:
    """Bounds on log p(x) of each sentence, in nats.

        neg_elbo = - 1/K sum_k log p(x | z_k) + KL(q(z | x) ‖ p(z))
        iw_nll   = - [logsumexp_k (log p(x | z_k) + log p(z_k) - log q(z_k | x)) - log K],   z_k ~ q(z | x)

    The expectation of ``iw_nll`` falls as K rises, from that of ``neg_elbo`` towards -log p(x) (Burda et al. 2016).
    Both are always taken at KL weight 1; a model without z gives its exact -log p(x) for both, from one pass.

    Args:
        model: in evaluation mode; dropout would make the bounds those of another model.
        batch: B sentences.
        samples: K.

    Returns:
        ``neg_elbo``, ``iw_nll``, ``kl``, each (B,), and the posterior's ``mean`` and ``scale``, each (B, Z).

    References:
        Importance Weighted Autoencoders (Burda et al. 2016), https://arxiv.org/abs/1509.00519
    """
    inputs, targets, mask = batch.inputs, batch.targets, batch.mask
    posterior = model.encode(targets, mask)
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
        "mean": posterior.mean,
        "scale": posterior.stddev,
    }
