"""How much a model uses its latent space: KL and active units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from textvae.evaluation.quantities import PER_SENTENCE, Description, Meter, Setting
from textvae.inference.bounds import Bounds
from textvae.support.options import Size, validated
from textvae.text.batches import Batch

ACTIVE_VARIANCE = 0.01
"""A latent dimension is active if the variance of its posterior mean over the data exceeds this (Burda et al. 2016)."""


@validated
class MomentsOfMeans:
    """Running mean and variance of the posterior means over a data set of any size (Chan et al. 1983).

    Args:
        latent_size: Z.
    """

    def __init__(self, latent_size: Size) -> None:
        self.count = 0
        self.mean = torch.zeros(latent_size, dtype=torch.double)
        self.squares = torch.zeros(latent_size, dtype=torch.double)

    def update(self, mean: Tensor) -> None:
        """Add the posterior means (B, Z) of one batch."""
        mean = mean.cpu().double()
        shift = mean.mean(0) - self.mean
        total = self.count + len(mean)
        between = shift.square() * self.count * len(mean) / total
        self.squares += (mean - mean.mean(0)).square().sum(0) + between
        self.mean += shift * len(mean) / total
        self.count = total

    def active_units(self) -> int:
        """The number of latent dimensions whose posterior mean has a sample variance (n - 1) over 0.01."""
        return int((self.squares / max(1, self.count - 1) > ACTIVE_VARIANCE).sum())


@dataclass(frozen=True)
class _Use:
    """The posteriors of a batch.

    Attributes:
        means: posterior means minus prior means, (n, Z).
        kl: KL, summed over the sentences.
        kl_per_dimension: KL of each dimension, summed over the sentences, (Z,).
        sentences: number of sentences.
    """

    means: Tensor
    kl: float
    kl_per_dimension: Tensor
    sentences: int


class LatentUse(Meter):
    """KL and active units, in memory that does not grow with the data.

    Active units are measured on the posterior mean minus the prior mean, because the prior may depend on a condition.
    If z has a value at each step, each step counts as an observation. A model with classes has the units of z, averaged
    over the classes with q(y | x), and a unit for the probability of each class.
    """

    describes = (
        Description("kl", PER_SENTENCE, progress="KL", panel="nats", curve="validation KL"),
        Description("kl_per_dimension", "nats", shown=False),
        Description("active_units", progress="active units", panel="active units", greater_is_better=True),
    )

    def __init__(self) -> None:
        self.moments: MomentsOfMeans | None = None
        self.kl = 0.0
        self.kl_per_dimension = torch.zeros(())
        self.sentences = 0

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """For models with a latent."""
        return cls() if setting.model.has_latent else None

    def measure(
        self, model: Any, batch: Batch, found: Bounds, number: int, generator: torch.Generator
    ) -> _Use:
        """The posterior means and the KL of a batch."""
        mean = found.reading.posterior.mean - found.prior_mean
        means = mean[batch.mask] if mean.ndim > 2 else mean
        each = found.kl_per_dimension.cpu().double().sum(0)
        return _Use(means.cpu(), float(found.kl.cpu().double().sum()), each, batch.size)

    def add(self, measured: _Use) -> None:
        """Add the measurement of the next batch."""
        self.moments = self.moments or MomentsOfMeans(measured.means.shape[1])
        self.moments.update(measured.means)
        self.kl += measured.kl
        self.kl_per_dimension = self.kl_per_dimension + measured.kl_per_dimension
        self.sentences += measured.sentences

    def results(self) -> dict[str, tuple[Any, str]]:
        """The KL and the active units."""
        assert self.moments is not None
        kl = self.kl / self.sentences
        each = (self.kl_per_dimension / self.sentences).tolist()
        how = f"raw; {min(each):.2f} to {max(each):.2f} per dimension"
        if sum(each) > kl + 1e-3:  # with a mixture prior
            how = f"raw, by Monte Carlo; VaDE's upper bound, which training uses, is {sum(each):.2f}"
        of_how_many = f"of {len(self.moments.mean)}; the posterior mean has a variance over {ACTIVE_VARIANCE}"
        return {
            "kl": (kl, how),
            "kl_per_dimension": (each, ""),
            "active_units": (self.moments.active_units(), of_how_many),
        }
