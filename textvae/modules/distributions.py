"""Distributions over the latent vector z: how they are drawn from, and how far they lie apart."""

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


def _shares(posterior: Independent, prior: DiagonalGaussianMixture) -> tuple[Tensor, Tensor]:
    """log pi_c - KL(q ‖ p_c), (B, C), and KL(q ‖ p_c) of each dimension, (B, C, Z)."""
    q = posterior.base_dist
    own = Normal(q.mean[:, None], q.stddev[:, None], validate_args=False)
    each = kl_divergence(own, prior.components.base_dist)
    return prior.mixture_distribution.logits - each.sum(-1), each


@register_kl(Independent, DiagonalGaussianMixture)
def _kl_to_mixture(posterior: Independent, prior: DiagonalGaussianMixture) -> Tensor:
    return -_shares(posterior, prior)[0].logsumexp(-1)


def kl_per_sentence(posterior: Any, prior: Any, z: Tensor | None = None) -> Tensor:
    """KL(q ‖ p) in nats as training takes it, (B,); `reported_kl` is what evaluation reports.

    It is exact where torch has a closed form for the two kinds of distribution, an upper bound for a mixture prior
    (`DiagonalGaussianMixture`), and otherwise the Monte Carlo estimate 1/K sum_k [log q(z_k | x) - log p(z_k)].

    Args:
        posterior: q, batch shape (B,), or (K, B) if it depends on draws.
        prior: p, of the same shape.
        z: draws from q, (K, B, ...), for the estimate; None: there must be a closed form.
    """
    kl = _closed_kl(posterior, prior)
    if kl is None:
        assert z is not None
        kl = posterior.log_prob(z) - prior.log_prob(z)
    return kl.mean(0) if kl.ndim > 1 else kl


def reported_kl(posterior: Any, prior: Any, z: Tensor) -> Tensor:
    """KL(q ‖ p) in nats without bias, (B,): `kl_per_sentence` but for a mixture prior, of which that is a bound.

    The KL to a mixture is the Monte Carlo estimate 1/K sum_k [log q(z_k | x) - log p(z_k)].

    Args:
        posterior: q, batch shape (B,), or (K, B) if it depends on draws.
        prior: p, of the same shape.
        z: draws from q, (K, B, ...).
    """
    if isinstance(prior, DiagonalGaussianMixture):
        return (posterior.log_prob(z) - prior.log_prob(z)).mean(0)
    return kl_per_sentence(posterior, prior, z)


def _closed_kl(posterior: Distribution, prior: Distribution) -> Tensor | None:
    """KL(q ‖ p), or a bound on it, that torch computes without draws; None: it knows none for these two."""
    try:
        return kl_divergence(posterior, prior)
    except NotImplementedError:
        return None


@singledispatch
def kl_of_class(posterior: Any, prior: Any) -> Tensor | None:
    """KL(q(y) ‖ p(y)) of a latent class in nats, a part of `kl_per_sentence`, (B,); None: there is no class."""
    return None


@singledispatch
def surprise_of_class(posterior: Any) -> Tensor | None:
    """-log q(y | x) in nats of the labels that are known, (N,); None: there is no class."""
    return None


@singledispatch
def possible(posterior: Any, z: Tensor) -> Tensor | None:
    """Which draws (K, B, ...) the posterior does not exclude, (K, B); None: all. The others have the weight 0."""
    return None


@singledispatch
def kl_per_dimension(posterior: Any, prior: Any, z: Tensor | None = None) -> Tensor:
    """KL(q ‖ p) of each latent dimension in nats, (B, Z), for distributions whose dimensions are independent.

    Their sum is `kl_per_sentence`, with a mixture prior VaDE's bound on the KL.

    If z has a value at each of T steps, it is the sum over the steps. If the
    distributions depend on draws, batch shape (K, B), it is the mean over the draws. Of a mixture prior it is the mean
    over its components, weighted by r; KL(r ‖ pi), the choice of the component, belongs to no dimension and is shared
    equally.

    Args:
        posterior: q, batch shape (B,), or (K, B).
        prior: p, of the same shape.
        z: draws from q, (K, B, ...), for distributions without a closed form; None: there must be one.
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
    """A distribution over classes and a Gaussian for each of them; one class if there are none.

    Attributes:
        log_weights: log q(y), (B, C).
        mean: of z given y, (B, C, Z).
        scale: deviations of z given y, (B, C, Z).
    """

    log_weights: Tensor
    mean: Tensor
    scale: Tensor


@singledispatch
def gaussians_of(distribution: Any) -> Gaussians | None:
    """The parts of a distribution that is made of diagonal Gaussians with event shape (Z,); None: it is not."""
    return None


@gaussians_of.register
def _gaussian_of_independent(distribution: Independent) -> Gaussians | None:
    if not isinstance(distribution.base_dist, Normal) or len(distribution.event_shape) != 1:
        return None
    mean, scale = distribution.base_dist.mean, distribution.base_dist.stddev
    return Gaussians(mean.new_zeros(len(mean), 1), mean[:, None], scale[:, None])


@singledispatch
def along(distribution: Any, z: Tensor) -> Any:
    """The distribution given the values of z before each step, (K, B, T, Z); most do not depend on them."""
    return distribution


class Draws(NamedTuple):
    """Draws of z, and how much each counts in an expectation.

    Attributes:
        z: (K, B, ...).
        weights: (K, B), which sum to 1 over the draws; None: all draws count alike.
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
    """Reparameterised draws (K, B, ...) of a distribution of batch shape (B,).

    Args:
        distribution: B of them.
        samples: K.
        generator: of the randomness, on the CPU, so that every device draws alike; None: the global random state.
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
    """Standard normal noise of a shape, in the dtype and on the device of ``like``, drawn on the CPU."""
    return torch.randn(shape, generator=generator, dtype=like.dtype).to(like.device)
