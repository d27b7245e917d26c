"""The evidence lower bound as a loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from textvae.errors import UserError
from textvae.models.outputs import VAEOutput
from textvae.modules.latents import kl_of_class, kl_per_dimension, kl_per_sentence
from textvae.objectives.schedules import KLWeight


@dataclass(frozen=True)
class Terms:
    """A loss and what it is made of.

    Attributes:
        loss: what is minimised, mean over the batch, ().
        per_sentence: terms by name, each in nats per sentence, (B,), or those it applies to;
            logged under their names.
    """

    loss: Tensor
    per_sentence: dict[str, Tensor]

    @property
    def rate(self) -> Tensor:
        """What beta weighs and a target rate holds: the KL without that of a class, (B,)."""
        kl = self.per_sentence["kl"]
        return kl - self.per_sentence["class_kl"] if "class_kl" in self.per_sentence else kl


@dataclass(frozen=True)
class ELBO:
    """The negative evidence lower bound with a weighted KL, and terms that help to keep it from vanishing.

        loss = mean_x [ - E_q log p(x | z) + beta charged(KL(q(z | x) ‖ p(z))) - w E_q log p_bag(x | z) ]
               - a mean_(x with label y) log q(y | x)

    At beta = 1, without free bits, bag of words and labels, it is ``neg_elbo``, the bound that evaluation reports. With
    classes the loss is that of M2 (Kingma et al. 2014), whose latent is (y, z). The KL of y counts in full, log C nats
    where it is known and KL(q(y | x) ‖ p(y)) where it is not; all that is said of the KL here is about z alone. So,
    once beta is above 1, what y can tell is told by y, as it costs less there.

    Attributes:
        kl_weight: beta, a function of the step; unused with a target rate.
        target_rate: KL in nats per sentence at which beta holds the model, see `rate.ascended`; None: no such target.
        free_bits: nats of KL per sentence that cost nothing, shared equally by the latent dimensions: each counts
            as max(KL_d, free_bits / Z), so that its gradient vanishes below its share. The KL that is logged is
            always the raw one.
        free_bits_on: whether KL_d is that of each sentence (Li et al. 2019) or its mean over the batch (Kingma et al.
            2016), where some sentences may say less if others say more.
        bag_of_words: w, the weight of a second decoder that predicts the words of the sentence from z alone, in no
            order (Zhao et al. 2017); for models that have one, ``model.bag_of_words``.
        classification: a, the weight of the classifier's own loss; for models with classes.

    Raises:
        UserError: if a number is out of its range.

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
    target_rate: float | None = None
    free_bits: float = 0.0
    free_bits_on: Literal["sentence", "batch"] = "sentence"
    bag_of_words: float = 1.0
    classification: float = 1.0

    def __post_init__(self) -> None:
        if self.free_bits < 0:
            raise UserError(f"expected free_bits of 0 nats or more, got {self.free_bits}")
        if self.free_bits_on not in ("sentence", "batch"):
            raise UserError(f"expected free_bits_on to be one of sentence, batch, got {self.free_bits_on!r}")
        if self.target_rate is not None and self.target_rate <= 0:
            raise UserError(f"expected a target_rate of more than 0 nats, got {self.target_rate}")
        if self.bag_of_words < 0:
            raise UserError(f"expected a bag_of_words weight of 0 or more, got {self.bag_of_words}")
        if self.classification < 0:
            raise UserError(f"expected a classification weight of 0 or more, got {self.classification}")

    def __call__(self, output: VAEOutput, kl_weight: float | Tensor) -> Terms:
        """The loss at the KL weight beta."""
        reconstruction = -output.expected(output.log_likelihood)
        kl = kl_per_sentence(output.posterior, output.prior)
        terms = {"reconstruction": reconstruction, "kl": kl}
        of_class = kl_of_class(output.posterior, output.prior)
        loss = reconstruction + kl_weight * self._charged(output, kl, of_class)
        if of_class is not None:
            terms["class_kl"] = of_class
            loss = loss + of_class
        if output.bag_of_words is not None:
            terms["bag_of_words"] = -output.expected(output.bag_of_words)
            loss = loss + self.bag_of_words * terms["bag_of_words"]
        mean = loss.mean()
        if output.classification is not None:
            terms["classification"] = output.classification
            mean = mean + self.classification * output.classification.sum() / max(
                1, len(output.classification)
            )
        return Terms(mean, {name: term.detach() for name, term in terms.items()})

    def _charged(self, output: VAEOutput, kl: Tensor, of_class: Tensor | None) -> Tensor:
        """The KL of z that is paid for, (B,)."""
        if not self.free_bits or not output.z.shape[-1]:
            return kl if of_class is None else kl - of_class
        each = kl_per_dimension(output.posterior, output.prior)
        if of_class is not None:  # it is the last
            each = each[:, :-1]
        share = self.free_bits / each.shape[-1]
        if self.free_bits_on == "batch":
            each = each.mean(0, keepdim=True).expand_as(each)
        return each.clamp_min(share).sum(-1)
