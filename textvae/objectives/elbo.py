"""The evidence lower bound as a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from textvae.models.outputs import VAEOutput
from textvae.modules.distributions import (
    Draws,
    kl_of_class,
    kl_per_dimension,
    kl_per_sentence,
    pathwise,
    surprise_of_class,
)
from textvae.objectives.schedules import KLWeight
from textvae.objectives.terms import Objective, Terms
from textvae.support.errors import UserError
from textvae.support.options import Positive, Size, Weight, check_fields


@dataclass(frozen=True)
class ELBO:
    """The negative evidence lower bound with a weighted KL, and terms that help against posterior collapse.

        loss = mean_x [ - E_q log p(x | z) + beta charged(KL(q(z | x) ‖ p(z))) - w E_q log p_bag(x | z) ]
               - a mean_(x with label y) log q(y | x)

    At beta = 1, without free bits, bag of words and labels, it is ``neg_elbo``, the bound that evaluation reports. With
    a mixture prior the KL of training is VaDE's upper bound (`DiagonalGaussianMixture`), and so are the rate that a
    target rate holds and the KL in the training log; evaluation reports a Monte Carlo estimate of the KL itself. With
    classes it is the loss of M2 (Kingma et al. 2014), whose latent is (y, z). The KL of y always has weight 1: it is
    log C nats if y is known, otherwise KL(q(y | x) ‖ p(y)). Beta, free bits and target rate apply to the KL of z alone.
    Hence, if beta is above 1, information is cheaper in y than in z.

    Attributes:
        kl_weight: beta, a function of the step; unused with a target rate.
        target_rate: KL in nats per sentence that training holds by moving beta, see `rate.ascended`; None: no target.
        free_bits: nats of KL per sentence that cost nothing, shared equally by the latent dimensions: each counts
            as max(KL_d, free_bits / Z), so its gradient is 0 below its share. The logged KL is always the raw one.
        free_bits_on: whether KL_d is the KL of each sentence (Li et al. 2019) or its mean over the batch (Kingma et al.
            2016); the mean lets some sentences have a lower KL if others have a higher one. The batch is the
            micro-batch of one process, so the loss depends on gradient accumulation and on the number of processes.
        samples: K, draws of z in training.
        bag_of_words: w, weight of a second decoder that predicts the words of the sentence, without their order, from
            z alone (Zhao et al. 2017); for models with ``model.bag_of_words``.
        classification: a, weight of the classifier's own loss; for models with classes.

    Raises:
        UserError: if a number is out of range, or ``free_bits_on`` is set without ``free_bits``.

    References:
        Auto-Encoding Variational Bayes (Kingma & Welling 2014), https://arxiv.org/abs/1312.6114
        Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al. 2016),
        https://arxiv.org/abs/1606.04934
        A Surprisingly Effective Fix for Deep Latent Variable Modeling of Text (Li et al. 2019),
        https://arxiv.org/abs/1909.00868
        Semi-supervised Learning with Deep Generative Models (Kingma et al. 2014), https://arxiv.org/abs/1406.5298
        Learning Discourse-level Diversity for Neural Dialog Models (Zhao et al. 2017), https://arxiv.org/abs/1703.10960
    """

    kl_weight: KLWeight = field(default_factory=KLWeight)
    target_rate: Positive | None = None
    samples: Size = 1
    free_bits: Weight = 0.0
    free_bits_on: Literal["sentence", "batch"] = "sentence"
    bag_of_words: Weight = 1.0
    classification: Weight = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.free_bits_on != "sentence" and not self.free_bits:
            raise UserError(
                f"expected free_bits over 0 with free_bits_on, got {self.free_bits} with {self.free_bits_on!r}: set "
                "free_bits, or leave free_bits_on out"
            )

    def draw(self, posterior: Any, samples: int) -> Draws:
        """Reparameterised draws; for a posterior with classes, draws for every class."""
        return pathwise(posterior, samples)

    def __call__(self, output: VAEOutput, kl_weight: float | Tensor) -> Terms:
        """The loss with KL weight beta."""
        reconstruction = -output.expected(output.score)
        kl = kl_per_sentence(output.posterior, output.prior, output.z)
        terms = {"reconstruction": reconstruction, "kl": kl}
        of_class = kl_of_class(output.posterior, output.prior)
        loss = reconstruction + kl_weight * self._charged(output, kl, of_class)
        if of_class is not None:
            terms["class_kl"] = of_class
            loss = loss + of_class
        for name, scores in output.auxiliary.items():
            terms[name] = -output.expected(scores)
            loss = loss + self.auxiliary_weight(name) * terms[name]
        mean = loss.mean()
        surprise = surprise_of_class(output.posterior)
        if surprise is not None:
            terms["classification"] = surprise
            mean = mean + self.classification * surprise.sum() / max(1, len(surprise))
        return Terms(mean, {name: term.detach() for name, term in terms.items()})

    def auxiliary_weight(self, name: str) -> float:
        """The weight of an auxiliary score: the attribute of the same name, or 1."""
        return float(getattr(self, name, 1.0))

    def _charged(self, output: VAEOutput, kl: Tensor, of_class: Tensor | None) -> Tensor:
        """The KL of z after free bits, (B,)."""
        if not self.free_bits or not output.z.shape[-1]:
            return kl if of_class is None else kl - of_class
        each = kl_per_dimension(output.posterior, output.prior, output.z)
        if of_class is not None:  # the KL of the class is the last dimension
            each = each[:, :-1]
        share = self.free_bits / each.shape[-1]
        if self.free_bits_on == "batch":
            each = each.mean(0, keepdim=True).expand_as(each)
        return each.clamp_min(share).sum(-1)


OBJECTIVES: dict[str, Callable[..., Objective]] = {"elbo": ELBO}
"""Losses by name, as recipes give it."""
