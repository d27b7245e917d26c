"""Summaries become distributions over the latent vector z."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
    kl_divergence,
    register_kl,
)
from torch.nn import functional


def diagonal_gaussian(mean: Tensor, scale: Tensor) -> Independent:
    """N(mean, diag(scale²)) with event shape (Z,), for a mean and a deviation of shape (..., Z)."""
    # Validation would read the values back from the device at each step; a NaN is caught in the loss.
    return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)


class DiagonalGaussianMixture(MixtureSameFamily):
    """p(z) = sum_c pi_c N(z; m_c, diag(s_c²)) with event shape (Z,).

    Its KL from a Gaussian q has no closed form. `kl_divergence` gives an upper bound that has one (Hershey & Olsen
    2007), the least that q(c) = r_c can make of KL(q(z) q(c) ‖ p(z, c)), which is the KL term of VaDE (Jiang et al.
    2017) with the best q(c):

        - log sum_c pi_c exp(-KL(q ‖ p_c)) = sum_c r_c KL(q ‖ p_c) + KL(r ‖ pi),    r_c ∝ pi_c exp(-KL(q ‖ p_c))

    So a bound on log p(x) that is made with it is one. It is exact where q lies in one component alone.

    Args:
        logits: of pi, (C,).
        mean: m, (C, Z).
        scale: s, (C, Z).
        batch_size: B, the batch shape.
    """

    def __init__(self, logits: Tensor, mean: Tensor, scale: Tensor, batch_size: int) -> None:
        choice = Categorical(logits=logits.expand(batch_size, -1), validate_args=False)
        self.components = diagonal_gaussian(mean.expand(batch_size, -1, -1), scale.expand(batch_size, -1, -1))
        super().__init__(choice, self.components, validate_args=False)


Prior = Independent | DiagonalGaussianMixture
"""Batch shape (B,), event shape (Z,)."""


def _shares(posterior: Independent, prior: DiagonalGaussianMixture) -> tuple[Tensor, Tensor]:
    """log pi_c - KL(q ‖ p_c), (B, C), and KL(q ‖ p_c) of each dimension, (B, C, Z)."""
    q = posterior.base_dist
    own = Normal(q.mean[:, None], q.stddev[:, None], validate_args=False)
    each = kl_divergence(own, prior.components.base_dist)
    return prior.mixture_distribution.logits - each.sum(-1), each


@register_kl(Independent, DiagonalGaussianMixture)
def _kl_to_mixture(posterior: Independent, prior: DiagonalGaussianMixture) -> Tensor:
    return -_shares(posterior, prior)[0].logsumexp(-1)


def kl_per_sentence(posterior: Any, prior: Any) -> Tensor:
    """KL(q ‖ p) in nats, (B,); of distributions that depend on draws, batch shape (K, B), the mean over these."""
    kl = kl_divergence(posterior, prior)
    return kl.mean(0) if kl.ndim > 1 else kl


@singledispatch
def kl_of_class(posterior: Any, prior: Any) -> Tensor | None:
    """KL(q(y) ‖ p(y)) of a latent class in nats, a part of `kl_per_sentence`, (B,); None: there is no class."""
    return None


@singledispatch
def kl_per_dimension(posterior: Any, prior: Any) -> Tensor:
    """KL(q ‖ p) of each latent dimension in nats, (B, Z), for a posterior with independent dimensions.

    Of a z with values at T steps it is the sum over them, and of distributions that depend on draws, batch shape
    (K, B), the mean over these. Of a mixture it is the mean over the components, by r; KL(r ‖ pi), the choice of the
    component, belongs to no dimension and is shared equally. So the sum is always `kl_divergence`.
    """
    if not isinstance(prior, DiagonalGaussianMixture):
        each = kl_divergence(posterior.base_dist, prior.base_dist)
        each = each.sum(-2) if len(posterior.event_shape) > 1 else each
        return each.mean(0) if len(posterior.batch_shape) > 1 else each
    shares, each = _shares(posterior, prior)
    mean = (shares.softmax(-1)[:, :, None] * each).sum(1)
    rest = -shares.logsumexp(-1, keepdim=True) - mean.sum(-1, keepdim=True)
    return mean + rest / mean.shape[-1]


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


class MixturePrior(nn.Module):
    """p(z) = sum_c pi_c N(m_c, diag(s_c²)), learnt with the model (VaDE, Jiang et al. 2017).

    So clusters are part of the model: c ~ pi, z ~ p(z | c), x ~ p(x | z).

    Args:
        latent_size: Z.
        components: C.

    References:
        Variational Deep Embedding (Jiang et al. 2017), https://arxiv.org/abs/1611.05148
    """

    def __init__(self, latent_size: int, components: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, latent_size))
        self.log_variances = nn.Parameter(torch.zeros(components, latent_size))

    @torch.no_grad()
    def start_from(self, weights: Tensor, means: Tensor, variances: Tensor) -> None:
        """Become the mixture with these weights (C,), means (C, Z) and variances (C, Z)."""
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


def sample(distribution: Distribution, samples: int) -> Tensor:
    """``samples`` reparameterised draws, (K, B, Z)."""
    return distribution.rsample((samples,))


@singledispatch
def as_gaussian(posterior: Any) -> Independent:
    """q(z | x) as a Gaussian, batch shape (B,); with classes that of the likeliest class."""
    return posterior


@singledispatch
def drawn(distribution: Any, generator: torch.Generator | None = None) -> Tensor:
    """One draw of each in the batch, (B, Z), its randomness from the CPU, so that every device draws alike.

    Args:
        distribution: B of them, diagonal Gaussians or mixtures.
        generator: where the randomness is from; None: the global random state.
    """
    noise = torch.randn(distribution.mean.shape, generator=generator, dtype=distribution.mean.dtype)
    return distribution.mean + distribution.stddev * noise.to(distribution.mean.device)


@drawn.register
def _drawn_of_mixture(
    distribution: DiagonalGaussianMixture, generator: torch.Generator | None = None
) -> Tensor:
    choice = torch.multinomial(distribution.mixture_distribution.probs.cpu(), 1, generator=generator)[:, 0]
    parts, rows = distribution.components, torch.arange(len(choice))
    return drawn(diagonal_gaussian(parts.mean[rows, choice], parts.stddev[rows, choice]), generator)
