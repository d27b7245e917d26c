"""How much of the latent space a model uses: mutual information and active units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from textvae.models.base import VAEModel
from textvae.modules.latents import as_gaussian
from textvae.text.batches import Batch

POSTERIORS = 20_000
"""Posteriors kept for the mutual information, whose cost grows with the square of their number."""

ACTIVE_VARIANCE = 0.01
"""A latent dimension is active if its posterior mean varies more than this over the data (Burda et al. 2016)."""


def mutual_information(mean: Tensor, scale: Tensor, generator: torch.Generator, chunk: int = 1024) -> float:
    """I_q(x; z) in nats, for N posteriors N(mean_n, diag(scale_n²)).

        I = 1/N sum_n [ log q(z_n | x_n) - log q(z_n) ],   z_n ~ q(z | x_n),   q(z) = 1/N sum_m q(z | x_m)

    The aggregate posterior is the mean over the whole set, x_n counted (leave-in), so the estimate is at most
    log N. Its memory is that of ``chunk`` x N densities.

    Args:
        mean: (N, Z).
        scale: (N, Z).
        generator: of the draws z_n.
        chunk: how many z_n are compared with all posteriors at once.
    """
    if not mean.shape[1]:
        return 0.0
    mean, scale = mean.double().cpu(), scale.double().cpu()
    z = mean + scale * torch.randn(mean.shape, generator=generator, dtype=torch.double)
    # log N(z; m, s) = -(z² · 1/s² - 2 z · m/s²)/2 + constant(m, s): two products in place of an (n, N, Z) tensor.
    precision = scale.pow(-2)
    constant = -0.5 * (mean.square() * precision).sum(1) - scale.log().sum(1)
    total = 0.0
    for start in range(0, len(z), chunk):
        part = z[start : start + chunk]
        densities = constant + part @ (mean * precision).T - 0.5 * (part.square() @ precision.T)
        own = densities.diagonal(start)
        total += float((own - densities.logsumexp(1)).sum())
    return total / len(z) + math.log(len(z))


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
        mean = mean.double().cpu()
        shift = mean.mean(0) - self.mean
        total = self.count + len(mean)
        self.squares += (mean - mean.mean(0)).square().sum(0) + shift.square() * self.count * len(
            mean
        ) / total
        self.mean += shift * len(mean) / total
        self.count = total

    def active_units(self) -> int:
        """Latent dimensions whose posterior mean has sample variance (n - 1) over 0.01."""
        return int((self.squares / max(1, self.count - 1) > ACTIVE_VARIANCE).sum())


@dataclass(frozen=True)
class _Use:
    """The posteriors of a batch.

    Attributes:
        means: of the posteriors, less those of a learnt prior, (n, Z).
        kl: of all sentences together, for each dimension, (Z,).
        sentences: how many.
        scales: the posteriors' standard deviations, (n, Z), if they are asked for.
    """

    means: Tensor
    kl: Tensor
    sentences: int
    scales: Tensor | None = None

    @classmethod
    def of(cls, means: Tensor, found: dict[str, Any], scales: Tensor | None = None) -> _Use:
        """By what `bounds` found."""
        kl = found["kl_per_dimension"]
        scales = None if scales is None else scales.cpu()
        return cls(means.cpu(), kl.double().sum(0).cpu(), len(kl), scales)


class ConditionalLatentUse:
    """KL and active units of a model that is given a source, in memory that does not grow with the data.

    A unit is active by how far its posterior mean lies from the prior's, which differs from source to source; where z
    has values at several steps, each step counts.

    The information I(y; z | x) that z has of a target beyond its source is not estimated: it is taken against
    q(z | x), the mean of q(z | x, y) over all targets of one source, and corpora have one. Of one z a pair, the mean KL
    over the pairs is at least that large.
    """

    def __init__(self) -> None:
        self.moments: MomentsOfMeans | None = None
        self.kl = torch.zeros(())
        self.sentences = 0

    def measure(self, model: VAEModel, batch: Batch, found: dict[str, Any], number: int) -> _Use:
        """What the posteriors of a batch are."""
        mean = found["posterior"].mean - found["prior_mean"]
        return _Use.of(mean[batch.mask] if mean.ndim > 2 else mean, found)

    def add(self, measured: _Use) -> None:
        """Take in what was measured of the next batch."""
        self.moments = self.moments or MomentsOfMeans(measured.means.shape[1])
        self.moments.update(measured.means)
        self.kl = self.kl + measured.kl
        self.sentences += measured.sentences

    def quantities(self) -> dict[str, Any]:
        """The quantities of `Evaluation` that say how much of z is used."""
        assert self.moments is not None
        kl = self.kl / self.sentences
        return {
            "kl": float(kl.sum()),
            "kl_per_dimension": kl.tolist(),
            "mutual_information": None,
            "active_units": self.moments.active_units(),
        }


class LatentUse(ConditionalLatentUse):
    """KL, mutual information and active units of a data set, in memory that does not grow with it.

    Args:
        seed: of the draws of the mutual information.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.kept: list[tuple[Tensor, Tensor]] = []

    def measure(self, model: VAEModel, batch: Batch, found: dict[str, Any], number: int) -> _Use:
        """What the posteriors of a batch are."""
        gaussian = as_gaussian(found["posterior"])
        return _Use.of(gaussian.mean, found, gaussian.stddev)

    def add(self, measured: _Use) -> None:
        """Take in what was measured of the next batch."""
        if self.sentences < POSTERIORS and measured.scales is not None:
            self.kept.append((measured.means, measured.scales))
        super().add(measured)

    def quantities(self) -> dict[str, Any]:
        """The quantities of `Evaluation` that say how much of z is used."""
        mean, scale = (torch.cat(parts)[:POSTERIORS] for parts in zip(*self.kept, strict=True))
        information = mutual_information(mean, scale, torch.Generator().manual_seed(self.seed))
        return super().quantities() | {
            "mutual_information": information,
            "mutual_information_sentences": len(mean),
        }
