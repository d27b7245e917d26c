"""Proposal distributions: z is drawn from them to estimate p(z | known words)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily

from textvae.modules.distributions import diagonal_gaussian

POWERS = (1.0, 0.5, 0.25)
"""Powers of the posterior in a `DefensiveMixture`; each has the same share."""

PRIOR_SHARE = 0.25
"""Share of the prior in a `DefensiveMixture`."""


def tempered(posterior: Any, prior: Any, power: float) -> Independent:
    """The Gaussian proportional to p(z) (q(z) / p(z))^a: the posterior if a = 1, the prior if a = 0.

    A mixture prior is replaced by the Gaussian with the same mean and standard deviations.

    Args:
        posterior: q, a diagonal Gaussian with batch shape (B,) and event shape (Z,).
        prior: p, batch shape (B,), event shape (Z,).
        power: a.
    """
    own, rest = power / posterior.variance, (1 - power) / prior.variance
    precision = own + rest
    return diagonal_gaussian((own * posterior.mean + rest * prior.mean) / precision, precision.rsqrt())


class DefensiveMixture:
    """r(z) = s p(z) + (1 - s) mean_a N_a(z), where N_a are the `tempered` posteriors with the powers a in `POWERS`.

    The importance weights p(z) / r(z) are at most 1 / s. With the posterior alone they would have no bound, and could
    have infinite variance, because variational posteriors are often narrower than the true posterior. Posteriors with
    lower powers are wider.

    Args:
        posterior: q, a diagonal Gaussian with batch shape (1,) and event shape (Z,).
        prior: p, batch shape (1,), event shape (Z,).

    References:
        Weighted Average Importance Sampling and Defensive Mixture Distributions (Hesterberg 1995),
        https://doi.org/10.1080/00401706.1995.10484303
    """

    def __init__(self, posterior: Any, prior: Any) -> None:
        self.prior = prior
        parts = [tempered(posterior, prior, power) for power in POWERS]
        mean, scale = torch.cat([part.mean for part in parts]), torch.cat([part.stddev for part in parts])
        equal = Categorical(logits=mean.new_zeros(len(parts)), validate_args=False)
        self.posteriors = MixtureSameFamily(equal, diagonal_gaussian(mean, scale), validate_args=False)

    def sample(self, count: int) -> Tensor:
        """Independent draws, (N, Z)."""
        z = self.posteriors.sample((count,))
        from_prior = torch.rand(count, 1, device=z.device) < PRIOR_SHARE
        return torch.where(from_prior, self.prior.sample((count,))[:, 0], z)

    def log_prob(self, z: Tensor) -> Tensor:
        """log r(z), (N,), for z of shape (N, Z)."""
        return torch.logaddexp(
            math.log1p(-PRIOR_SHARE) + self.posteriors.log_prob(z), math.log(PRIOR_SHARE) + self.log_prior(z)
        )

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z), (N,), for z of shape (N, Z)."""
        return self.prior.log_prob(z[:, None])[:, 0]
