"""Summaries become distributions over the latent vector z."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, kl_divergence


def diagonal_gaussian(mean: Tensor, scale: Tensor) -> Independent:
    """N(mean, diag(scale²)) with event shape (Z,), for a mean and a deviation of shape (..., Z)."""
    # Validation would read the values back from the device at each step; a NaN is caught in the loss.
    return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)


def kl_per_dimension(posterior: Independent, prior: Independent) -> Tensor:
    """KL(q ‖ p) of each latent dimension in nats, (B, Z), for two distributions with independent dimensions."""
    return kl_divergence(posterior.base_dist, prior.base_dist)


class GaussianPosterior(nn.Module):
    """q(z | x) = N(W_m s, diag(exp(W_v s))) for a sentence's summary s (Kingma & Welling 2014).

    Linear layers without bias, as in the published set-ups.

    Args:
        input_size: D of the summaries (B, D).
        latent_size: Z.
    """

    def __init__(self, input_size: int, latent_size: int) -> None:
        super().__init__()
        self.mean = nn.Linear(input_size, latent_size, bias=False)
        self.log_variance = nn.Linear(input_size, latent_size, bias=False)

    def forward(self, summary: Tensor) -> Independent:
        """The posterior, batch shape (B,), for a summary of shape (B, D)."""
        # Under autocast the products may be bf16; the density is always fp32 or better.
        mean, log_variance = self.mean(summary), self.log_variance(summary)
        precise = torch.promote_types(mean.dtype, torch.float32)
        return diagonal_gaussian(mean.to(precise), (0.5 * log_variance.to(precise)).exp())


class StandardNormalPrior(nn.Module):
    """p(z) = N(0, I).

    Args:
        latent_size: Z; 0 makes z empty, which turns every model into the one without a latent variable.
    """

    def __init__(self, latent_size: int) -> None:
        super().__init__()
        self.latent_size = latent_size

    def forward(self, batch_size: int, like: Tensor) -> Independent:
        """The prior, batch shape (batch_size,), on the device and in the dtype of ``like``."""
        mean = like.new_zeros(batch_size, self.latent_size)
        return diagonal_gaussian(mean, torch.ones_like(mean))


def sample(distribution: Distribution, samples: int) -> Tensor:
    """``samples`` reparameterised draws, (K, B, Z)."""
    return distribution.rsample((samples,))
