"""Bounds on the log-likelihood of data: the ELBO and the importance-weighted bound."""

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
"""Maximum number of tokens times samples decoded at once, so that memory does not grow with K."""


def tokens_at_once(samples: int) -> int:
    """Number of tokens that fill a batch. With many samples one sentence fills it, and there are no pads."""
    return max(1, TOKEN_SAMPLES // samples)


@dataclass(frozen=True)
class Bounds:
    """The results of `bounds` for a batch, in nats.

    Attributes:
        neg_elbo: negative ELBO, (B,).
        iw_nll: importance-weighted bound on the negative log-likelihood, (B,).
        kl: KL(q(z | x) ‖ p(z)), (B,); with a mixture prior, its Monte Carlo estimate from the K draws.
        kl_per_dimension: KL of each latent dimension, (B, Z); with a mixture prior, the terms of VaDE's upper bound,
            whose sum is at least the KL.
        reading: the model's reading of the batch, with the refined posterior.
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
    """Bounds on -log p(x | c) for each example, in nats; c is the condition, if the model has one.

        neg_elbo = - 1/K sum_k log p(x | z_k) + KL(q(z | x) ‖ p(z))
        iw_nll   = - [logsumexp_k (log p(x | z_k) + log p(z_k) - log q(z_k | x)) - log K],   z_k ~ q(z | x)

    As K rises, the expectation of ``iw_nll`` falls from that of ``neg_elbo`` towards -log p(x) (Burda et al. 2016). The
    KL weight is 1. For a model without z, both are exactly -log p(x), and one pass is enough.

    Args:
        model: a model in evaluation mode; dropout would change the bounds.
        batch: B examples.
        samples: K.
        refinement: how each posterior is refined first; None: the encoder's posterior is used.
        generator: random generator for all draws, on the CPU; None: the global random state.

    Raises:
        UserError: if this kind of posterior cannot be refined.

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
        # A running mean: the differences are 0, without rounding, if the KL does not depend on z.
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
