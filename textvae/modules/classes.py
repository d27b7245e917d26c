"""A latent variable of two parts: the class y of a sentence, where it is not known, and the rest, z."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, kl_divergence, register_kl
from torch.distributions.constraints import Constraint
from torch.nn import functional

from textvae.modules.latents import as_gaussian, diagonal_gaussian, drawn, kl_of_class, kl_per_dimension

UNLABELLED = -1
"""The label of a sentence whose class is not known."""


class ClassGaussian(Distribution):
    """q(y, z) = q(y) N(z; m_y, diag(s_y²)), its values [z, onehot(y)] of event shape (Z + C,).

    So decoders, which are given one vector, need not know of classes. Where the label is known, q(y) is 1 there.

    Args:
        log_probabilities: log q(y) for those without a label, (B, C).
        mean: m, (B, C, Z).
        scale: s, (B, C, Z).
        labels: y, or `UNLABELLED`, (B,); None: no label is known.
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012

    def __init__(
        self, log_probabilities: Tensor, mean: Tensor, scale: Tensor, labels: Tensor | None = None
    ) -> None:
        self.log_probabilities = log_probabilities
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
        """Of each coordinate, (B, Z + C)."""
        p = self.probabilities
        second = (p[:, :, None] * (self.given.variance + self.given.mean.square())).sum(1)
        z = second - self.mean[:, : second.shape[-1]].square()
        return torch.cat([z, p * (1 - p)], -1)

    @property
    def mode(self) -> Tensor:
        """[m_y, onehot(y)] of the likeliest y, (B, Z + C)."""
        return self.at(self.probabilities.argmax(-1), self.given.mean)

    def entropy(self) -> Tensor:
        """Of q(y) alone, in nats, (B,); 0 where the label is known."""
        entropy = -(self.log_probabilities.exp() * self.log_probabilities).sum(-1)
        return entropy.masked_fill(self.known, 0)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Draws (*sample_shape, B, Z + C); the gradient flows through z but not through the choice of y."""
        z = self.given.rsample(torch.Size(sample_shape))
        choice = self.probabilities.expand(*sample_shape, -1, -1)
        y = torch.multinomial(choice.flatten(0, -2), 1).view(choice.shape[:-1])
        return self.at(y, z)

    def enumerated(self, samples: int = 1) -> tuple[Tensor, Tensor]:
        """Draws of z for every y, and how much each counts: the expectation over y without noise.

        Returns:
            [z, onehot(y)], (K · C, B, Z + C), and q(y) / K, (K · C, B).
        """
        z = self.given.rsample(torch.Size([samples])).transpose(1, 2)
        classes = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)[None, :, None].expand(
            *z.shape[:3], -1
        )
        weights = self.probabilities.T.expand(samples, -1, -1) / samples
        return torch.cat([z, classes], -1).flatten(0, 1), weights.flatten(0, 1)

    def relaxed(self, temperature: float, samples: int = 1) -> Tensor:
        """Draws whose y is onehot, but has the gradient of a Gumbel-softmax (Jang et al. 2017), (K, B, Z + C)."""
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
        """[z_y, onehot(y)], (..., B, Z + C), for classes (..., B) and a z of each class, (..., B, C, Z)."""
        classes = z.shape[-2]
        onehot = functional.one_hot(y, classes).to(z.dtype)
        return torch.cat([(onehot[..., None] * z).sum(-2), onehot], -1)


@register_kl(ClassGaussian, ClassGaussian)
def _kl_with_classes(posterior: ClassGaussian, prior: ClassGaussian) -> Tensor:
    return _kl_parts(posterior, prior).sum(-1)


@kl_per_dimension.register
def _kl_parts(posterior: ClassGaussian, prior: ClassGaussian) -> Tensor:
    """sum_y q(y) KL(q(z | y) ‖ p(z | y)) of each dimension of z and, last, KL(q(y) ‖ p(y)), (B, Z + 1)."""
    each = kl_divergence(posterior.given.base_dist, prior.given.base_dist)
    z = (posterior.probabilities[:, :, None] * each).sum(1)
    return torch.cat([z, _kl_of_class(posterior, prior)[:, None]], -1)


@kl_of_class.register
def _kl_of_class(posterior: ClassGaussian, prior: ClassGaussian) -> Tensor:
    return -(posterior.probabilities * prior.log_probabilities).sum(-1) - posterior.entropy()


@as_gaussian.register
def _of_likeliest_class(posterior: ClassGaussian) -> Independent:
    rows, y = torch.arange(len(posterior.probabilities)), posterior.probabilities.argmax(-1)
    return diagonal_gaussian(posterior.given.mean[rows, y], posterior.given.stddev[rows, y])


@drawn.register
def _drawn_with_class(distribution: ClassGaussian, generator: torch.Generator | None = None) -> Tensor:
    y = torch.multinomial(distribution.probabilities.cpu(), 1, generator=generator)[:, 0]
    given = distribution.given
    noise = torch.randn(given.mean.shape, generator=generator, dtype=given.mean.dtype)
    return distribution.at(y.to(given.mean.device), given.mean + given.stddev * noise.to(given.mean.device))


class ClassPosterior(nn.Module):
    """q(y | x) = softmax(V s), q(z | x, y) = N(W_m h_y, diag(exp(W_v h_y))), h_y = tanh(U s + e_y), of a summary s.

    The recognition model of M2 (Kingma et al. 2014, section 3.1.2).

    Args:
        input_size: D of the summaries (B, D), and the size of h.
        latent_size: Z.
        classes: C.
        dropout: on what the classifier reads.

    References:
        Semi-supervised Learning with Deep Generative Models (Kingma et al. 2014), https://arxiv.org/abs/1406.5298
    """

    def __init__(self, input_size: int, latent_size: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(input_size, classes)
        self.hidden = nn.Linear(input_size, input_size)
        self.embedding = nn.Embedding(classes, input_size)
        self.mean = nn.Linear(input_size, latent_size)
        self.log_variance = nn.Linear(input_size, latent_size)

    def forward(self, summary: Tensor, labels: Tensor | None = None) -> ClassGaussian:
        """q(y, z | x), batch shape (B,), for a summary (B, D) and the labels that are known (B,)."""
        scores = self.classifier(self.dropout(summary))
        hidden = (self.hidden(summary)[:, None] + self.embedding.weight).tanh()
        precise = torch.promote_types(scores.dtype, torch.float32)
        scale = (0.5 * self.log_variance(hidden).to(precise)).exp()
        log_probabilities = functional.log_softmax(scores.to(precise), -1)
        return ClassGaussian(log_probabilities, self.mean(hidden).to(precise), scale, labels)


class ClassPrior(nn.Module):
    """p(y) = 1 / C and p(z) = N(0, I).

    Args:
        latent_size: Z.
        classes: C.
    """

    def __init__(self, latent_size: int, classes: int) -> None:
        super().__init__()
        self.latent_size, self.classes = latent_size, classes

    def forward(self, batch_size: int, like: Tensor) -> ClassGaussian:
        """The prior, batch shape (batch_size,), on the device and in the dtype of ``like``."""
        mean = like.new_zeros(batch_size, self.classes, self.latent_size)
        uniform = like.new_full((batch_size, self.classes), -math.log(self.classes))
        return ClassGaussian(uniform, mean, torch.ones_like(mean))
