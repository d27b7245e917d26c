"""How probable a model finds its data: the ELBO and the importance-weighted bound."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from textvae.models.base import VAEModel
from textvae.models.outputs import Reading
from textvae.models.refinement import Refinement, refined_reading
from textvae.modules.distributions import along, kl_per_dimension, reported_kl, sample
from textvae.text.batches import Batch

TOKEN_SAMPLES = 8192
"""Tokens times samples that are decoded at once, which bounds the memory of an estimate at any K."""


def tokens_at_once(samples: int) -> int:
    """How many tokens a batch needs: with many samples one sentence fills it, which has no pads."""
    return max(1, TOKEN_SAMPLES // samples)


@dataclass(frozen=True)
class Bounds:
    """What `bounds` finds of a batch, in nats.

    Attributes:
        neg_elbo: (B,).
        iw_nll: (B,).
        kl: KL(q(z | x) ‖ p(z)), with a mixture prior its Monte Carlo estimate from the K draws, (B,).
        kl_per_dimension: its share of each latent dimension, (B, Z); with a mixture prior the shares of VaDE's bound,
            whose sum is above ``kl``.
        reading: what the model made of the batch, with the posterior after refinement.
        prior_mean: mean of the prior, in the shape of the posterior's mean.
    """

    neg_elbo: Tensor
    iw_nll: Tensor
    kl: Tensor
    kl_per_dimension: Tensor
    reading: Reading
    prior_mean: Tensor


@torch.no_grad()
def bounds(
    model: VAEModel,
    batch: Batch,
    samples: int = 1,
    refinement: Refinement | None = None,
    generator: torch.Generator | None = None,
) -> Bounds:
    """Bounds on log p(x | c) of each example, in nats; c is the condition, if the model has one.

        neg_elbo = - 1/K sum_k log p(x | z_k) + KL(q(z | x) ‖ p(z))
        iw_nll   = - [logsumexp_k (log p(x | z_k) + log p(z_k) - log q(z_k | x)) - log K],   z_k ~ q(z | x)

    The expectation of ``iw_nll`` falls as K rises, from that of ``neg_elbo`` towards -log p(x) (Burda et al. 2016).
    Both are taken at KL weight 1. A model without z gives its exact -log p(x) for both, from one pass.

    Args:
        model: in evaluation mode; dropout would make the bounds those of another model.
        batch: B examples.
        samples: K.
        refinement: how each posterior is improved first; None: it is as the encoder gives it.
        generator: of all draws, on the CPU; None: the global random state.

    Raises:
        UserError: if the posterior is not of a kind that can be refined.

    References:
        Importance Weighted Autoencoders (Burda et al. 2016), https://arxiv.org/abs/1509.00519
    """
    reading = model.read(**batch)
    if refinement is not None and model.has_latent:
        reading = refined_reading(model, reading, refinement, generator=generator)
    if not model.has_latent:
        samples = 1
    at_once = max(1, TOKEN_SAMPLES // batch.width)
    log_weights: list[Tensor] = []
    total = kl = kl_of_each = torch.zeros((), device=model.device)
    for start in range(0, samples, at_once):
        z = sample(reading.posterior, min(at_once, samples - start), generator)
        posterior, prior = along(reading.posterior, z), along(reading.prior, z)
        scores = reading.score(z)
        total = total + scores.sum(0)
        log_weights.append(scores + prior.log_prob(z) - posterior.log_prob(z))
        # The mean so far is moved by a difference, which is 0 where the divergence does not depend on z.
        share = len(z) / (start + len(z))
        kl = kl + share * (reported_kl(posterior, prior, z) - kl)
        kl_of_each = kl_of_each + share * (kl_per_dimension(posterior, prior, z) - kl_of_each)
    return Bounds(
        neg_elbo=kl - total / samples,
        iw_nll=math.log(samples) - torch.cat(log_weights).logsumexp(0),
        kl=kl,
        kl_per_dimension=kl_of_each,
        reading=reading,
        prior_mean=along(reading.prior, reading.posterior.mean).mean,
    )
