"""A distribution over a latent variable with two parts: the class y of a sentence, and z."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence, register_kl
from torch.distributions.constraints import Constraint
from torch.nn import functional

from textvae.modules.distributions import (
    Draws,
    Gaussians,
    diagonal_gaussian,
    gaussians_of,
    kl_of_class,
    kl_per_dimension,
    noise,
    pathwise,
    possible,
    sample,
    surprise_of_class,
)

UNLABELLED = -1
"""The label of a sentence whose class is not known."""


class ClassGaussian(Distribution):
    """q(y, z) = q(y) N(z; m_y, diag(s_y²)), with values [z, onehot(y)] of event shape (Z + C,).

    A value is one vector, so decoders need not know about classes. If the label of a sentence is known, its q(y) is 1.

    Args:
        log_probabilities: log q(y) of a sentence without a label, (B, C).
        mean: m, (B, C, Z).
        scale: s, (B, C, Z).
        labels: y, or `UNLABELLED`, (B,); None: no label is known.
        temperature: temperature of the Gumbel-softmax that draws y in training (`relaxed`); None: training tries every
            y and weights it by q(y) (`enumerated`).
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012

    def __init__(
        self,
        log_probabilities: Tensor,
        mean: Tensor,
        scale: Tensor,
        labels: Tensor | None = None,
        temperature: float | None = None,
    ) -> None:
        self.log_probabilities, self.labels, self.temperature = log_probabilities, labels, temperature
        self.given = diagonal_gaussian(mean, scale)
        classes = mean.shape[1]
        self.known = torch.zeros_like(mean[:, 0, 0], dtype=torch.bool) if labels is None else labels >= 0
        onehot = functional.one_hot(self.known.long() if labels is None else labels.clamp_min(0), classes)
        self.probabilities = torch.where(self.known[:, None], onehot.to(mean.dtype), log_probabilities.exp())
        super().__init__(mean.shape[:1], torch.Size([mean.shape[2] + classes]), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """[E z, q(y)], (B, Z + C)."""
        z = (self.probabilities[:, :, None] * self.given.mean).sum(1)
        return torch.cat([z, self.probabilities], -1)

    @property
    def variance(self) -> Tensor:
        """The variance of each coordinate, (B, Z + C)."""
        p = self.probabilities
        second = (p[:, :, None] * (self.given.variance + self.given.mean.square())).sum(1)
        z = second - self.mean[:, : second.shape[-1]].square()
        return torch.cat([z, p * (1 - p)], -1)

    @property
    def mode(self) -> Tensor:
        """[m_y, onehot(y)] for the likeliest y, (B, Z + C)."""
        return self.at(self.probabilities.argmax(-1), self.given.mean)

    def entropy(self) -> Tensor:
        """The entropy of q(y) in nats, (B,), without that of z; 0 if the label is known."""
        entropy = -(self.log_probabilities.exp() * self.log_probabilities).sum(-1)
        return entropy.masked_fill(self.known, 0)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Draws (*sample_shape, B, Z + C); the gradient flows through z, but not through the choice of y."""
        z = self.given.rsample(torch.Size(sample_shape))
        choice = self.probabilities.expand(*sample_shape, -1, -1)
        y = torch.multinomial(choice.flatten(0, -2), 1).view(choice.shape[:-1])
        return self.at(y, z)

    def enumerated(self, samples: int = 1) -> tuple[Tensor, Tensor]:
        """K draws of z for every y, with weights; together they give the expectation over y without noise.

        Returns:
            The draws [z, onehot(y)], (K · C, B, Z + C), and their weights q(y) / K, (K · C, B).
        """
        z = self.given.rsample(torch.Size([samples])).transpose(1, 2)
        classes = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)[None, :, None].expand(
            *z.shape[:3], -1
        )
        weights = self.probabilities.T.expand(samples, -1, -1) / samples
        return torch.cat([z, classes], -1).flatten(0, 1), weights.flatten(0, 1)

    def relaxed(self, temperature: float, samples: int = 1) -> Tensor:
        """Draws (K, B, Z + C) with a one-hot y that has the gradient of a Gumbel-softmax (Jang et al. 2017)."""
        logits = self.log_probabilities.expand(samples, -1, -1)
        y = functional.gumbel_softmax(logits, temperature, hard=True)
        y = torch.where(self.known[:, None], self.probabilities, y)
        z = (y[..., None] * self.given.rsample(torch.Size([samples]))).sum(2)
        return torch.cat([z, y], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """log q(y) + log q(z | y) of values (K, B, Z + C), (K, B)."""
        z, onehot = value.split([self.given.mean.shape[-1], self.probabilities.shape[-1]], -1)
        y = onehot.argmax(-1, keepdim=True)
        class_part = self.log_probabilities.expand(*y.shape[:-1], -1).gather(-1, y).squeeze(-1)
        class_part = class_part.masked_fill(self.known, 0)
        return class_part + self.given.log_prob(z[..., None, :]).gather(-1, y).squeeze(-1)

    def at(self, y: Tensor, z: Tensor) -> Tensor:
        """[z_y, onehot(y)], (..., B, Z + C), given classes (..., B) and a z for each class, (..., B, C, Z)."""
        classes = z.shape[-2]
        onehot = functional.one_hot(y, classes).to(z.dtype)
        return torch.cat([(onehot[..., None] * z).sum(-2), onehot], -1)


def with_likeliest_class(vectors: Tensor, classes: int) -> Tensor:
    """Vectors [z, w] whose w is replaced by the one-hot vector of its largest entry, since decoders expect one class.

    Args:
        vectors: vectors (N, Z + C), such as means [E z, q(y)], or sums and differences of means.
        classes: C.
    """
    z, weights = vectors.split([vectors.shape[-1] - classes, classes], -1)
    return torch.cat([z, functional.one_hot(weights.argmax(-1), classes).to(z.dtype)], -1)


@register_kl(ClassGaussian, ClassGaussian)
def _kl_with_classes(posterior: ClassGaussian, prior: ClassGaussian) -> Tensor:
    return _kl_parts(posterior, prior).sum(-1)


@kl_per_dimension.register
def _kl_parts(posterior: ClassGaussian, prior: ClassGaussian, z: Tensor | None = None) -> Tensor:
    """sum_y q(y) KL(q(z | y) ‖ p(z | y)) for each dimension of z, and KL(q(y) ‖ p(y)) last, (B, Z + 1)."""
    each = kl_divergence(posterior.given.base_dist, prior.given.base_dist)
    of_z = (posterior.probabilities[:, :, None] * each).sum(1)
    return torch.cat([of_z, _kl_of_class(posterior, prior)[:, None]], -1)


@kl_of_class.register
def _kl_of_class(posterior: ClassGaussian, prior: ClassGaussian) -> Tensor:
    return -(posterior.probabilities * prior.log_probabilities).sum(-1) - posterior.entropy()


@possible.register
def _possible_classes(posterior: ClassGaussian, z: Tensor) -> Tensor | None:
    """True for the draws whose class is the label, and for all draws of sentences without a label, (K, B)."""
    if posterior.labels is None:
        return None
    y = z[..., -posterior.probabilities.shape[-1] :].argmax(-1)
    return ~posterior.known | (y == posterior.labels)


@surprise_of_class.register
def _surprise_of_class(posterior: ClassGaussian) -> Tensor | None:
    if posterior.labels is None:
        return None
    known = posterior.known
    return -posterior.log_probabilities[known].gather(-1, posterior.labels[known, None]).squeeze(-1)


@gaussians_of.register
def _gaussians_of_classes(distribution: ClassGaussian) -> Gaussians:
    given = distribution.given
    return Gaussians(distribution.probabilities.log(), given.mean, given.stddev)


@pathwise.register
def _pathwise_with_class(posterior: ClassGaussian, samples: int) -> Draws:
    """K draws for every class, (K · C, B, Z + C); with a temperature, K draws in total, (K, B, Z + C)."""
    if posterior.temperature is None:
        return Draws(*posterior.enumerated(samples))
    return Draws(posterior.relaxed(posterior.temperature, samples))


@sample.register
def _sample_with_class(
    distribution: ClassGaussian, samples: int, generator: torch.Generator | None = None
) -> Tensor:
    if generator is None:
        return distribution.rsample((samples,))
    given = distribution.given
    z = given.mean + given.stddev * noise((samples, *given.mean.shape), given.mean, generator)
    probabilities = distribution.probabilities.expand(samples, -1, -1)
    y = torch.multinomial(probabilities.flatten(0, 1).cpu(), 1, generator=generator).view(z.shape[:2])
    return distribution.at(y.to(z.device), z)
