"""Summaries become distributions over the latent vector z."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, kl_divergence
from torch.nn import functional


def diagonal_gaussian(mean: Tensor, scale: Tensor) -> Independent:
    """N(mean, diag(scale²)) with event shape (Z,), for a mean and a deviation of shape (..., Z)."""
    # Validation would read the values back from the device at each step; a NaN is caught in the loss.
    return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)


def kl_per_dimension(posterior: Independent, prior: Independent) -> Tensor:
    """KL(q ‖ p) of each latent dimension in nats, (B, Z), for two distributions with independent dimensions."""
    return kl_divergence(posterior.base_dist, prior.base_dist)


class NormalizedMeans(nn.Module):
    """Batch normalisation of the posterior means with a fixed deviation (BN-VAE, Zhu et al. 2020).

        m'_d = gamma (m_d - E[m_d]) / sqrt(V[m_d]) + b_d

    E and V are over the batch in training and running means of these in evaluation. As KL_d >= E[m'_d²] / 2 for means
    whose second moment is gamma² + b_d², the mean KL of the batch is gamma² Z / 2 nats at least, whatever the decoder
    does: the posteriors cannot all become the prior.

    Args:
        latent_size: Z.
        deviation: gamma.

    References:
        A Batch Normalized Inference Network Keeps the KL Vanishing Away (Zhu et al. 2020),
        https://arxiv.org/abs/2004.12585
    """

    def __init__(self, latent_size: int, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation
        # With the usual 1e-5 the means of small initial weights would stay far below gamma, and could vanish.
        self.norm = nn.BatchNorm1d(latent_size, eps=1e-12, affine=False)
        self.bias = nn.Parameter(torch.zeros(latent_size))

    def forward(self, mean: Tensor) -> Tensor:
        """m' for m, both (B, Z)."""
        # One sentence has no variance; the last batch of an epoch may be that small.
        running = self.training and len(mean) == 1
        normalized = (
            functional.batch_norm(mean, self.norm.running_mean, self.norm.running_var, eps=self.norm.eps)
            if running
            else self.norm(mean)
        )
        return self.deviation * normalized + self.bias


class GaussianPosterior(nn.Module):
    """q(z | x) = N(W_m s, diag(exp(W_v s))) for a sentence's summary s (Kingma & Welling 2014).

    Linear layers without bias, as in the published set-ups.

    Args:
        input_size: D of the summaries (B, D).
        latent_size: Z.
        means: what is done to the means (B, Z) at last.
    """

    def __init__(self, input_size: int, latent_size: int, means: nn.Module | None = None) -> None:
        super().__init__()
        self.mean = nn.Linear(input_size, latent_size, bias=False)
        self.log_variance = nn.Linear(input_size, latent_size, bias=False)
        self.means = means or nn.Identity()

    def forward(self, summary: Tensor) -> Independent:
        """The posterior, batch shape (B,), for a summary of shape (B, D)."""
        # Under autocast the products may be bf16; the density is always fp32 or better.
        mean, log_variance = self.mean(summary), self.log_variance(summary)
        precise = torch.promote_types(mean.dtype, torch.float32)
        return diagonal_gaussian(self.means(mean.to(precise)), (0.5 * log_variance.to(precise)).exp())


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
