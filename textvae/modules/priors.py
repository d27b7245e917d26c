"""Priors p(z)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Independent

from textvae.modules.classes import ClassGaussian
from textvae.modules.distributions import DiagonalGaussianMixture, diagonal_gaussian
from textvae.support.options import Count, Size, validated


@validated
class StandardNormalPrior(nn.Module):
    """p(z) = N(0, I).

    Args:
        latent_size: Z; with 0, z is empty, and the model has no latent variable.
    """

    def __init__(self, latent_size: Count) -> None:
        super().__init__()
        self.latent_size = latent_size

    def forward(self, batch_size: int, like: Tensor) -> Independent:
        """The prior, batch shape (batch_size,), on the device and in the dtype of ``like``."""
        mean = like.new_zeros(batch_size, self.latent_size)
        return diagonal_gaussian(mean, torch.ones_like(mean))


@validated
class MixturePrior(nn.Module):
    """p(z) = sum_c pi_c N(m_c, diag(s_c²)), learnt with the model (VaDE, Jiang et al. 2017).

    Its components are clusters of the texts: c ~ pi, z ~ p(z | c), x ~ p(x | z).

    Args:
        latent_size: Z.
        components: C.

    References:
        Variational Deep Embedding (Jiang et al. 2017), https://arxiv.org/abs/1611.05148
    """

    def __init__(self, latent_size: Size, components: Size = 10) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, latent_size))
        self.log_variances = nn.Parameter(torch.zeros(components, latent_size))

    @torch.no_grad()
    def start_from(self, weights: Tensor, means: Tensor, variances: Tensor) -> None:
        """Set the weights (C,), means (C, Z) and variances (C, Z) of the mixture."""
        self.logits.copy_(weights.log())
        self.means.copy_(means)
        self.log_variances.copy_(variances.log())

    def forward(self, batch_size: int, like: Tensor) -> DiagonalGaussianMixture:
        """The prior, batch shape (batch_size,), on the device of the parameters, in the dtype of ``like``."""
        logits, means = self.logits.to(like.dtype), self.means.to(like.dtype)
        return DiagonalGaussianMixture(
            logits, means, (0.5 * self.log_variances.to(like.dtype)).exp(), batch_size
        )

    def responsibilities(self, z: Tensor) -> Tensor:
        """p(c | z), (N, C), for z of shape (N, Z)."""
        prior = self(len(z), z)
        joint = prior.mixture_distribution.logits + prior.components.log_prob(z[:, None])
        return joint.softmax(-1)


@validated
class ClassPrior(nn.Module):
    """p(y) = 1 / C and p(z) = N(0, I).

    Args:
        latent_size: Z.
        classes: C.
    """

    def __init__(self, latent_size: Count, classes: Size) -> None:
        super().__init__()
        self.latent_size, self.classes = latent_size, classes

    def forward(self, batch_size: int, like: Tensor) -> ClassGaussian:
        """The prior, batch shape (batch_size,), on the device and in the dtype of ``like``."""
        mean = like.new_zeros(batch_size, self.classes, self.latent_size)
        uniform = like.new_full((batch_size, self.classes), -math.log(self.classes))
        return ClassGaussian(uniform, mean, torch.ones_like(mean))


PRIORS: dict[str, type[nn.Module]] = {
    "standard_normal": StandardNormalPrior,
    "mixture": MixturePrior,
    "classes": ClassPrior,
}
"""The priors, by the kind that a configuration names."""
