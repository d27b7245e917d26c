"""How much of the latent space a model uses: KL and active units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from textvae.evaluation.quantities import PER_SENTENCE, Description, Meter, Setting
from textvae.inference.bounds import Bounds
from textvae.text.batches import Batch

ACTIVE_VARIANCE = 0.01
"""A latent dimension is active if its posterior mean varies more than this over the data (Burda et al. 2016)."""


class MomentsOfMeans:
    """Running mean and variance of the posterior means over a data set of any size (Chan et al. 1983).

    Args:
        latent_size: Z.
    """

    def __init__(self, latent_size: int) -> None:
        self.count = 0
        self.mean = torch.zeros(latent_size, dtype=torch.double)
        self.squares = torch.zeros(latent_size, dtype=torch.double)

    def update(self, mean: Tensor) -> None:
        """Take in the posterior means (B, Z) of one batch."""
        mean = mean.cpu().double()
        shift = mean.mean(0) - self.mean
        total = self.count + len(mean)
        between = shift.square() * self.count * len(mean) / total
        self.squares += (mean - mean.mean(0)).square().sum(0) + between
        self.mean += shift * len(mean) / total
        self.count = total

    def active_units(self) -> int:
        """Latent dimensions whose posterior mean has sample variance (n - 1) over 0.01."""
        return int((self.squares / max(1, self.count - 1) > ACTIVE_VARIANCE).sum())


@dataclass(frozen=True)
class _Use:
    """The posteriors of a batch.

    Attributes:
        means: of the posteriors, less those of the prior, (n, Z).
        kl: of all sentences together.
        kl_per_dimension: of all sentences together, (Z,).
        sentences: how many.
    """

    means: Tensor
    kl: float
    kl_per_dimension: Tensor
    sentences: int


class LatentUse(Meter):
    """KL and active units, in memory that does not grow with the data.

    A unit is active by how far its posterior mean lies from the prior's, which may differ from condition to condition.
    If z has values at several steps, each step counts. A model with classes has units for z, averaged over the classes
    by q(y | x), and one for the probability of each class.
    """

    describes = (
        Description("kl", PER_SENTENCE, progress="KL", panel="nats", curve="validation KL"),
        Description("kl_per_dimension", "nats", shown=False),
        Description("active_units", progress="active units", panel="active units"),
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
        """What the posteriors of a batch are."""
        mean = found.reading.posterior.mean - found.prior_mean
        means = mean[batch.mask] if mean.ndim > 2 else mean
        each = found.kl_per_dimension.cpu().double().sum(0)
        return _Use(means.cpu(), float(found.kl.cpu().double().sum()), each, batch.size)

    def add(self, measured: _Use) -> None:
        """Take in what was measured of the next batch."""
        self.moments = self.moments or MomentsOfMeans(measured.means.shape[1])
        self.moments.update(measured.means)
        self.kl += measured.kl
        self.kl_per_dimension = self.kl_per_dimension + measured.kl_per_dimension
        self.sentences += measured.sentences

    def results(self) -> dict[str, tuple[Any, str]]:
        """KL and active units."""
        assert self.moments is not None
        kl = self.kl / self.sentences
        each = (self.kl_per_dimension / self.sentences).tolist()
        how = f"raw; of one dimension {min(each):.2f} to {max(each):.2f}"
        if sum(each) > kl + 1e-3:  # with a mixture prior
            how = f"raw, by Monte Carlo; VaDE's bound on it, which training takes, is {sum(each):.2f}"
        of_how_many = f"of {len(self.moments.mean)}; posterior mean varies over {ACTIVE_VARIANCE}"
        return {
            "kl": (kl, how),
            "kl_per_dimension": (each, ""),
            "active_units": (self.moments.active_units(), of_how_many),
        }
