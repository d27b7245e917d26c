"""How probable the model finds a sentence: the ELBO and the importance-weighted bound."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from textvae.errors import UserError
from textvae.models.language import TextVAEModel
from textvae.models.outputs import Reading
from textvae.models.refinement import Refinement
from textvae.models.seq2seq import Seq2SeqVAEModel
from textvae.modules.conditional_latents import along
from textvae.modules.latents import kl_per_dimension, kl_per_sentence
from textvae.text.batches import Batch

TOKEN_SAMPLES = 8192
"""Tokens times samples that are decoded at once, which bounds the memory of an estimate at any K."""


Model = TextVAEModel | Seq2SeqVAEModel


def tokens_at_once(samples: int) -> int:
    """How many tokens a batch needs: with many samples one sentence fills it, which has no pads."""
    return max(1, TOKEN_SAMPLES // samples)


def reading_of(model: Model, batch: Batch, posterior: Distribution | None = None) -> Reading:
    """What ``model`` makes of a batch before it draws z.

    Args:
        model: in evaluation mode.
        batch: B sentences, or pairs.
        posterior: of a language model, q(z | x) where it is known already; a conditional model reads it anew, as it
            reads all of the pairs in one pass.
    """
    inputs, targets, mask = batch.inputs, batch.targets, batch.mask
    if isinstance(model, Seq2SeqVAEModel):
        return model.read(inputs, targets, mask, batch.source, batch.source_mask)
    posterior = model.encode(targets, mask) if posterior is None else posterior
    prior = model.prior(len(inputs), posterior.mean)
    return Reading(posterior, prior, lambda z: model.log_likelihood(z, inputs, targets, mask))


@torch.no_grad()
def bounds(
    model: Model, batch: Batch, samples: int = 1, refinement: Refinement | None = None
) -> dict[str, Any]:
    """Bounds on log p(x) of each sentence, or log p(y | x) of each pair, in nats.

        neg_elbo = - 1/K sum_k log p(x | z_k) + KL(q(z | x) ‖ p(z))
        iw_nll   = - [logsumexp_k (log p(x | z_k) + log p(z_k) - log q(z_k | x)) - log K],   z_k ~ q(z | x)

    The expectation of ``iw_nll`` falls as K rises, from that of ``neg_elbo`` towards -log p(x) (Burda et al. 2016).
    Both are always taken at KL weight 1; a model without z gives its exact -log p(x) for both, from one pass.

    Args:
        model: in evaluation mode; dropout would make the bounds those of another model.
        batch: B sentences, or pairs.
        samples: K.
        refinement: how a language model's posterior is improved for each sentence first; None: not at all.

    Returns:
        ``neg_elbo``, ``iw_nll``, ``kl``, each (B,), ``kl_per_dimension``, (B, Z), the ``posterior``, and the mean of
        the prior, ``prior_mean``, in the posterior mean's shape.

    Raises:
        UserError: if the posterior of a conditional model is to be refined.

    References:
        Importance Weighted Autoencoders (Burda et al. 2016), https://arxiv.org/abs/1509.00519
    """
    refined = None
    if refinement is not None and model.config.latent_size:
        refined = _refined(model, batch, refinement)
    reading = reading_of(model, batch, refined)
    if not model.config.latent_size:
        samples = 1
    at_once = max(1, TOKEN_SAMPLES // batch.inputs.numel())
    log_weights: list[Tensor] = []
    log_likelihood = kl = kl_of_each = torch.zeros((), device=batch.inputs.device)
    for start in range(0, samples, at_once):
        z = reading.posterior.rsample((min(at_once, samples - start),))
        posterior, prior = along(reading.posterior, z), along(reading.prior, z)
        scores = reading.log_likelihood(z)
        log_likelihood = log_likelihood + scores.sum(0)
        log_weights.append(scores + prior.log_prob(z) - posterior.log_prob(z))
        # The mean so far, moved by a difference, which is 0 where the divergence does not depend on z.
        share = len(z) / (start + len(z))
        kl = kl + share * (kl_per_sentence(posterior, prior) - kl)
        kl_of_each = kl_of_each + share * (kl_per_dimension(posterior, prior) - kl_of_each)
    mean = reading.posterior.mean
    return {
        "neg_elbo": kl - log_likelihood / samples,
        "iw_nll": math.log(samples) - torch.cat(log_weights).logsumexp(0),
        "kl": kl,
        "posterior": reading.posterior,
        "kl_per_dimension": kl_of_each,
        "prior_mean": along(reading.prior, mean).mean,
    }


def _refined(model: Model, batch: Batch, refinement: Refinement) -> Distribution:
    """The posterior of a language model after the steps of the refinement."""
    if isinstance(model, Seq2SeqVAEModel):
        raise UserError("expected a language model for the refinement of posteriors, got a conditional one")
    inputs, targets, mask = batch.inputs, batch.targets, batch.mask
    return model.refine(model.encode(targets, mask), inputs, targets, mask, refinement)


class BoundSums:
    """Means of the bounds over a data set, and the perplexity.

    Args:
        samples: K of the importance-weighted bound.
    """

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.neg_elbo, self.iw_nll = 0.0, 0.0
        self.tokens, self.sentences = 0, 0

    def measure(
        self, model: Model, batch: Batch, found: dict[str, Any], number: int
    ) -> tuple[float, float, int, int]:
        """The bounds of all sentences together, their tokens, and how many they are."""
        neg_elbo, iw_nll = (float(found[name].double().sum()) for name in ("neg_elbo", "iw_nll"))
        return neg_elbo, iw_nll, int(batch.lengths.sum()), len(batch.lengths)

    def add(self, measured: tuple[float, float, int, int]) -> None:
        """Take in what was measured of the next batch."""
        neg_elbo, iw_nll, tokens, sentences = measured
        self.neg_elbo += neg_elbo
        self.iw_nll += iw_nll
        self.tokens += tokens
        self.sentences += sentences

    def quantities(self) -> dict[str, Any]:
        """The bounds in nats per sentence, K, the perplexity per token, and the numbers of both."""
        return {
            "neg_elbo": self.neg_elbo / self.sentences,
            "iw_nll": self.iw_nll / self.sentences,
            "iw_samples": self.samples,
            "ppl": _exp(self.iw_nll / self.tokens),
            "tokens": self.tokens,
            "sentences": self.sentences,
        }


def _exp(x: float) -> float:
    """e to the x, infinite where `math.exp` raises: a run that diverges must come as far as its own message."""
    return math.exp(x) if x < math.log(sys.float_info.max) else math.inf
