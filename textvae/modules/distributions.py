"""Distributions over the latent vector z: draws from them, and KL divergences between them."""

from __future__ import annotations

from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
    kl_divergence,
    register_kl,
)

from textvae.support.randomness import seeded


def diagonal_gaussian(mean: Tensor, scale: Tensor) -> Independent:
    """N(mean, diag(scale²)) with event shape (Z,), for a mean and a standard deviation of shape (..., Z)."""
    # Validation would read the values back from the device at each step; a NaN is caught in the loss.
    return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)


class DiagonalGaussianMixture(MixtureSameFamily):
    """p(z) = sum_c pi_c N(z; m_c, diag(s_c²)) with event shape (Z,).

    The KL divergence from a Gaussian q to it has no closed form, so `kl_divergence` returns an upper bound (Hershey &
    Olsen 2007). It is the minimum of KL(q(z) q(c) ‖ p(z, c)) over q(c), that is, the KL term of VaDE (Jiang et al.
    2017) with the best q(c) = r_c:

        - log sum_c pi_c exp(-KL(q ‖ p_c)) = sum_c r_c KL(q ‖ p_c) + KL(r ‖ pi),    r_c ∝ pi_c exp(-KL(q ‖ p_c))

    A lower bound on log p(x) that uses it is still a lower bound. It is exact if q overlaps with one component only.

    Args:
        logits: logits of pi, (C,).
        mean: m, (C, Z).
        scale: s, (C, Z).
        batch_size: B; the batch shape is (B,).
    """

    def __init__(self, logits: Tensor, mean: Tensor, scale: Tensor, batch_size: int) -> None:
        choice = Categorical(logits=logits.expand(batch_size, -1), validate_args=False)
        self.components = diagonal_gaussian(mean.expand(batch_size, -1, -1), scale.expand(batch_size, -1, -1))
        super().__init__(choice, self.components, validate_args=False)


def _shares(posterior: Independent, prior: DiagonalGaussianMixture) -> tuple[Tensor, Tensor]:
    """log pi_c - KL(q ‖ p_c), (B, C), and KL(q ‖ p_c) for each dimension, (B, C, Z)."""
    q = posterior.base_dist
    own = Normal(q.mean[:, None], q.stddev[:, None], validate_args=False)
    each = kl_divergence(own, prior.components.base_dist)
    return prior.mixture_distribution.logits - each.sum(-1), each


@register_kl(Independent, DiagonalGaussianMixture)
def _kl_to_mixture(posterior: Independent, prior: DiagonalGaussianMixture) -> Tensor:
    return -_shares(posterior, prior)[0].logsumexp(-1)


def kl_per_sentence(posterior: Any, prior: Any, z: Tensor | None = None) -> Tensor:
    """KL(q ‖ p) in nats as used in training, (B,); evaluation reports `reported_kl`.

    It is exact if torch has a closed form for the two kinds of distribution, an upper bound for a mixture prior
    (`DiagonalGaussianMixture`), and otherwise the Monte Carlo estimate 1/K sum_k [log q(z_k | x) - log p(z_k)].

    Args:
        posterior: q, batch shape (B,), or (K, B) if it depends on draws.
        prior: p, with the same batch shape.
        z: draws from q, (K, B, ...), for the estimate; may be None if there is a closed form.
    """
    kl = _closed_kl(posterior, prior)
    if kl is None:
        assert z is not None
        kl = posterior.log_prob(z) - prior.log_prob(z)
    return kl.mean(0) if kl.ndim > 1 else kl


def reported_kl(posterior: Any, prior: Any, z: Tensor) -> Tensor:
    """KL(q ‖ p) in nats without bias, (B,).

    For a mixture prior, where `kl_per_sentence` is an upper bound, this is the Monte Carlo estimate
    1/K sum_k [log q(z_k | x) - log p(z_k)]. For other priors it equals `kl_per_sentence`.

    Args:
        posterior: q, batch shape (B,), or (K, B) if it depends on draws.
        prior: p, with the same batch shape.
        z: draws from q, (K, B, ...).
    """
    if isinstance(prior, DiagonalGaussianMixture):
        return (posterior.log_prob(z) - prior.log_prob(z)).mean(0)
    return kl_per_sentence(posterior, prior, z)


def _closed_kl(posterior: Distribution, prior: Distribution) -> Tensor | None:
    """KL(q ‖ p), or an upper bound, computed without draws; None if none is registered for these two kinds."""
    try:
        return kl_divergence(posterior, prior)
    except NotImplementedError:
        return None


@singledispatch
def kl_of_class(posterior: Any, prior: Any) -> Tensor | None:
    """KL(q(y) ‖ p(y)) of a latent class in nats, a part of `kl_per_sentence`, (B,); None if there is no class."""
    return None


@singledispatch
def surprise_of_class(posterior: Any) -> Tensor | None:
    """-log q(y | x) in nats for each of the N known labels, (N,); None if there are no classes or no labels."""
    return None


@singledispatch
def possible(posterior: Any, z: Tensor) -> Tensor | None:
    """True for the draws (K, B, ...) that the posterior allows, (K, B); None if it allows all.

    Draws that it does not allow have weight 0.
    """
    return None


@singledispatch
def kl_per_dimension(posterior: Any, prior: Any, z: Tensor | None = None) -> Tensor:
    """KL(q ‖ p) for each latent dimension in nats, (B, Z), for distributions whose dimensions are independent.

    The sum over the dimensions is `kl_per_sentence`; with a mixture prior, that is VaDE's upper bound.

    If z has a value at each of T steps, the result is the sum over the steps. If the distributions depend on draws,
    batch shape (K, B), it is the mean over the draws. For a mixture prior it is the mean over the components, weighted
    by r; KL(r ‖ pi), which belongs to no dimension, is divided equally among them.

    Args:
        posterior: q, batch shape (B,), or (K, B).
        prior: p, with the same batch shape.
        z: draws from q, (K, B, ...); may be None if there is a closed form.
    """
    if isinstance(prior, DiagonalGaussianMixture):
        return _kl_to_mixture_per_dimension(posterior, prior)
    q, p = posterior.base_dist, prior.base_dist
    each = _closed_kl(q, p)
    if each is None:
        assert z is not None
        each = q.log_prob(z) - p.log_prob(z)
    each = each.sum(-2) if len(posterior.event_shape) > 1 else each
    return each.mean(0) if each.ndim > 2 else each


def _kl_to_mixture_per_dimension(posterior: Independent, prior: DiagonalGaussianMixture) -> Tensor:
    shares, each = _shares(posterior, prior)
    mean = (shares.softmax(-1)[:, :, None] * each).sum(1)
    rest = -shares.logsumexp(-1, keepdim=True) - mean.sum(-1, keepdim=True)
    return mean + rest / mean.shape[-1]


class Gaussians(NamedTuple):
    """A distribution over classes, and a Gaussian for each class; a model without classes has C = 1.

    Attributes:
        log_weights: log q(y), (B, C).
        mean: means of z given y, (B, C, Z).
        scale: standard deviations of z given y, (B, C, Z).
    """

    log_weights: Tensor
    mean: Tensor
    scale: Tensor


@singledispatch
def gaussians_of(distribution: Any) -> Gaussians | None:
    """The parts of a distribution made of diagonal Gaussians with event shape (Z,); None for other distributions."""
    return None


@gaussians_of.register
def _gaussian_of_independent(distribution: Independent) -> Gaussians | None:
    if not isinstance(distribution.base_dist, Normal) or len(distribution.event_shape) != 1:
        return None
    mean, scale = distribution.base_dist.mean, distribution.base_dist.stddev
    return Gaussians(mean.new_zeros(len(mean), 1), mean[:, None], scale[:, None])


@singledispatch
def along(distribution: Any, z: Tensor) -> Any:
    """The distribution at each step given the z before it, z (K, B, T, Z); most do not depend on it."""
    return distribution


class Draws(NamedTuple):
    """Draws of z, and how much each counts in an expectation.

    Attributes:
        z: (K, B, ...).
        weights: weights that sum to 1 over the draws, (K, B); None: all draws count equally.
    """

    z: Tensor
    weights: Tensor | None = None


@singledispatch
def pathwise(posterior: Any, samples: int) -> Draws:
    """Reparameterised draws: the gradient flows through z into the posterior (Kingma & Welling 2014).

    Args:
        posterior: q(z | x), batch shape (B,).
        samples: K.
    """
    return Draws(sample(posterior, samples))


@singledispatch
def sample(distribution: Distribution, samples: int, generator: torch.Generator | None = None) -> Tensor:
    """Reparameterised draws (K, B, ...) from a distribution with batch shape (B,).

    Args:
        distribution: a distribution with batch shape (B,).
        samples: K.
        generator: random generator on the CPU, so that every device draws the same; None: the global random state.
    """
    if generator is None:
        return (
            distribution.rsample((samples,)) if distribution.has_rsample else distribution.sample((samples,))
        )
    with seeded(generator):  # torch's distributions take no generator
        return sample(distribution, samples)


@sample.register
def _sample_independent(
    distribution: Independent, samples: int, generator: torch.Generator | None = None
) -> Tensor:
    if generator is None or not isinstance(distribution.base_dist, Normal):
        return sample.dispatch(Distribution)(distribution, samples, generator)
    return distribution.mean + distribution.stddev * noise(
        (samples, *distribution.mean.shape), distribution.mean, generator
    )


@sample.register
def _sample_mixture(
    distribution: DiagonalGaussianMixture, samples: int, generator: torch.Generator | None = None
) -> Tensor:
    probabilities = distribution.mixture_distribution.probs
    choice = torch.multinomial(probabilities.cpu(), samples, replacement=True, generator=generator).T
    parts, rows = distribution.components, torch.arange(choice.shape[1])
    chosen = diagonal_gaussian(parts.mean[rows, choice], parts.stddev[rows, choice])
    return sample(chosen, 1, generator)[0]


def noise(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal noise of this shape, in the dtype and on the device of ``like``; it is drawn on the CPU."""
    return torch.randn(shape, generator=generator, dtype=like.dtype).to(like.device)
