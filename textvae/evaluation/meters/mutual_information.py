"""The mutual information of sentence and z under q."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor

from textvae.evaluation.quantities import Description, Meter, Setting
from textvae.inference.bounds import Bounds
from textvae.modules.distributions import Gaussians, gaussians_of
from textvae.text.batches import Batch

MOST_POSTERIORS = 20_000
"""The most posteriors kept, a random sample if there are more: the cost grows with the square of their number."""


def mutual_information(posteriors: Gaussians, generator: torch.Generator, chunk: int = 1024) -> float:
    """I_q(x; y, z) in nats for N posteriors q(y | x_n) N(z; m_ny, diag(s_ny²)); I_q(x; z) if there are no classes.

        I = 1/N sum_n [ log q(y_n, z_n | x_n) - log q(y_n, z_n) ],   (y_n, z_n) ~ q(y, z | x_n)
        q(y, z) = 1/N sum_m q(y, z | x_m)

    The aggregate posterior is the mean over the whole set including x_n, so the expected estimate is at most log N. It
    needs memory for ``chunk`` x N densities.

    Args:
        posteriors: posteriors of N sentences, (N, C) and (N, C, Z).
        generator: generator for the draws.
        chunk: number of draws compared with all posteriors at once.
    """
    log_weights, mean, scale = (part.cpu().double() for part in posteriors)
    if not mean.shape[-1]:
        return 0.0
    rows = torch.arange(len(mean))
    y = torch.zeros_like(rows)
    if mean.shape[1] > 1:
        y = torch.multinomial(log_weights.exp(), 1, generator=generator)[:, 0]
    noise = torch.randn(mean[:, 0].shape, generator=generator, dtype=torch.double)
    z = mean[rows, y] + scale[rows, y] * noise
    total = 0.0
    for number in y.unique().tolist():
        chosen = rows[y == number]
        own = Gaussians(log_weights[:, number], mean[:, number], scale[:, number])
        total += sum(_information(z[part], part, own) for part in chosen.split(chunk))
    return total / len(z) + math.log(len(z))


def _information(z: Tensor, rows: Tensor, posteriors: Gaussians) -> float:
    """The sum of log q(y, z_n | x_n) - log sum_m q(y, z_n | x_m) over rows n, for posteriors of one class y."""
    log_weights, mean, scale = posteriors
    # log N(z; m, s) = -(z² · 1/s² - 2 z · m/s²)/2 + constant(m, s): two products instead of an (n, N, Z) tensor.
    precision = scale.pow(-2)
    constant = log_weights - 0.5 * (mean.square() * precision).sum(1) - scale.log().sum(1)
    densities = constant + z @ (mean * precision).T - 0.5 * (z.square() @ precision.T)
    own = densities[torch.arange(len(rows)), rows]
    return float((own - densities.logsumexp(1)).sum())


class MutualInformation(Meter):
    """I_q(x; z) over the data set, from all posteriors or a random sample of `MOST_POSTERIORS`.

    With a condition c, the information I(x; z | c) needs q(z | c), the mean over all x with the same c. Corpora have
    one x for each c, so it is not estimated; the mean KL is an upper bound on it.

    Args:
        seed: seeds the sample and the draws.
    """

    describes = (
        Description(
            "mutual_information",
            "nats",
            progress="MI",
            panel="nats",
            curve="validation MI",
            greater_is_better=True,
        ),
        Description("mutual_information_sentences", shown=False),
    )

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.sampling = torch.Generator().manual_seed(seed)
        self.kept: list[tuple[Tensor, Gaussians]] = []
        self.seen = 0

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """For models with a latent and no condition."""
        return cls(setting.seed) if setting.model.has_latent and not setting.has_condition else None

    def measure(
        self, model: Any, batch: Batch, found: Bounds, number: int, generator: torch.Generator
    ) -> Gaussians | None:
        """The posteriors of a batch; None if they are not Gaussian."""
        gaussians = gaussians_of(found.reading.posterior)
        return None if gaussians is None else Gaussians(*(part.cpu() for part in gaussians))

    def add(self, measured: Gaussians | None) -> None:
        """Keep the posteriors, or a random sample of all so far."""
        if measured is None:
            return
        count = len(measured.mean)
        self.seen += count
        self.kept.append((torch.rand(count, generator=self.sampling), measured))
        if sum(len(keys) for keys, _ in self.kept) > 2 * MOST_POSTERIORS:
            self.kept = [self._sampled()]

    def _sampled(self) -> tuple[Tensor, Gaussians]:
        """The kept posteriors with the smallest keys, at most `MOST_POSTERIORS`, in their order."""
        keys = torch.cat([keys for keys, _ in self.kept])
        parts = zip(*(gaussians for _, gaussians in self.kept), strict=True)
        chosen = keys.argsort()[:MOST_POSTERIORS].sort().values
        return keys[chosen], Gaussians(*(torch.cat(part)[chosen] for part in parts))

    def results(self) -> dict[str, tuple[Any, str]]:
        """The mutual information, if the posteriors were Gaussian."""
        if not self.kept:
            return {}
        _, posteriors = self._sampled()
        n = len(posteriors.mean)
        information = mutual_information(posteriors, torch.Generator().manual_seed(self.seed))
        sample = f"a random sample of {n:,}" if n < self.seen else f"N = {n:,}"
        how = f"posteriors of {sample} sentences, at most log N = {math.log(n):.2f}"
        return {"mutual_information": (information, how), "mutual_information_sentences": (n, "")}
