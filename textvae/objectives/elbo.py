"""The evidence lower bound as a loss."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor
from torch.distributions import kl_divergence

from textvae.errors import UserError
from textvae.models.outputs import VAEOutput
from textvae.modules.latents import kl_per_dimension
from textvae.objectives.schedules import KLWeight


@dataclass(frozen=True)
class Terms:
    """A loss and what it is made of.

    Attributes:
        loss: what is minimised, mean over the batch, ().
        per_sentence: terms by name, each in nats per sentence, (B,); logged under their names.
    """

    loss: Tensor
    per_sentence: dict[str, Tensor]


@dataclass(frozen=True)
class ELBO:
    """The negative evidence lower bound with a weighted KL.

        loss = mean_x [ - E_q log p(x | z) + beta(step) KL(q(z | x) ‖ p(z)) ]

    At beta = 1 and without free bits it is ``neg_elbo``, the bound that evaluation reports.

    Attributes:
        kl_weight: beta, a function of the step.
        free_bits: nats of KL per sentence that cost nothing, shared equally by the latent dimensions: each counts
            as max(KL_d, free_bits / Z), so that its gradient vanishes below its share (Kingma et al. 2016, in the
            variant of Li et al. 2019). The KL that is logged is always the raw one.

    References:
        Auto-Encoding Variational Bayes (Kingma & Welling 2014), https://arxiv.org/abs/1312.6114
        A Surprisingly Effective Fix for Deep Latent Variable Modeling of Text (Li et al. 2019),
        https://arxiv.org/abs/1909.00868
    """

    kl_weight: KLWeight = field(default_factory=KLWeight)
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        if self.free_bits < 0:
            raise UserError(f"expected free_bits of 0 nats or more, got {self.free_bits}")

    def __call__(self, output: VAEOutput, step: int) -> Terms:
        """The loss at optimiser step ``step``."""
        reconstruction = -output.log_likelihood.mean(0)
        kl = kl_divergence(output.posterior, output.prior)
        loss = (reconstruction + self.kl_weight(step) * self._charged(output, kl)).mean()
        return Terms(loss, {"reconstruction": reconstruction.detach(), "kl": kl.detach()})

    def _charged(self, output: VAEOutput, kl: Tensor) -> Tensor:
        """The KL that is paid for, (B,)."""
        if not self.free_bits or not output.z.shape[-1]:
            return kl
        share = self.free_bits / output.z.shape[-1]
        return kl_per_dimension(output.posterior, output.prior).clamp_min(share).sum(-1)
