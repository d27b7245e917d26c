"""Refines the posterior of each sentence by gradient steps that start from the encoder's output.

    lambda_0 = encoder(x)
    lambda_{k+1} = lambda_k - alpha clipped(g_k)
    g_k = d(-ELBO(x; lambda_k, theta)) / d lambda_k

lambda is the mean and log-variance of a sentence's posterior; theta are the decoder's parameters. `refined` improves
the posteriors of a trained model when it is measured. `refined_with_gradient` trains encoder and decoder through the
steps (semi-amortised VAE, Kim et al. 2018). K steps cost K forward and backward passes of the decoder, and one forward
pass that evaluates the last step; training through them costs 2K more.

References:
    Semi-Amortized Variational Autoencoders (Kim et al. 2018), https://arxiv.org/abs/1802.02550
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import kl_divergence

from textvae.models.outputs import Reading
from textvae.modules.distributions import diagonal_gaussian, gaussians_of, noise
from textvae.support.errors import UserError
from textvae.support.held import evaluation_mode
from textvae.support.options import Positive, Size, check_fields

Bound = Callable[[Tensor, Tensor], Tensor]
"""A function from the mean (B, Z) and log-variance (B, Z) of the posteriors to -ELBO in nats, (B,).

It is called many times and must be deterministic. Therefore the caller fixes the noise, and turns dropout off inside
*every* call: some calls happen in the backward pass, when the model may be in training mode again.
"""


@dataclass(frozen=True)
class Refinement:
    """The options of the refinement.

    Attributes:
        steps: K, the number of gradient steps.
        learning_rate: alpha, applied to the gradient of each sentence's bound in nats. The published code applies it
            to the gradient of the batch mean: its rate of 1 is 1/B here, or 2/B with its momentum of 0.5.
        gradient_clip: maximum L2 norm of a sentence's gradient with respect to mean and log-variance together; a
            longer gradient is scaled down to this norm.

    Raises:
        UserError: if a number is out of its range.
    """

    steps: Size = 20
    learning_rate: Positive = 0.1
    gradient_clip: Positive = 5.0

    def __post_init__(self) -> None:
        check_fields(self)


def refined_reading(
    model: Any,
    reading: Reading,
    options: Refinement,
    kl_weight: float = 1.0,
    generator: torch.Generator | None = None,
) -> Reading:
    """The reading with a refined posterior: gradient steps have raised the ELBO of each sentence.

    The steps run without dropout and always use the same two draws, which are symmetric about the mean. If gradients
    are enabled, they flow back through the steps to the encoder and the decoder.

    Args:
        model: the `VAEModel` that returned the reading.
        reading: a reading whose posterior is one Gaussian z for each sentence, batch shape (B,).
        options: the options of the steps.
        kl_weight: weight of the KL divergence in the bound.
        generator: random generator; None: the global random state.

    Raises:
        UserError: if the posterior is not one Gaussian z for each sentence.
    """
    found = gaussians_of(reading.posterior)
    if found is None or found.mean.shape[1] > 1:
        raise UserError(
            "expected a model with one Gaussian z for each sentence, as refinement needs, got one with "
            f"{type(reading.posterior).__name__}: leave refinement out"
        )
    mean, scale = found.mean[:, 0], found.scale[:, 0]
    half = torch.randn_like(mean) if generator is None else noise(tuple(mean.shape), mean, generator)
    draws = torch.stack([half, -half])

    def negative_elbo(mean: Tensor, log_variance: Tensor) -> Tensor:
        q = diagonal_gaussian(mean, (0.5 * log_variance).exp())
        # cuDNN's LSTM cannot compute gradients in evaluation mode.
        with evaluation_mode(model), torch.backends.cudnn.flags(enabled=False):
            scores = reading.score(mean + q.stddev * draws)
        return kl_weight * kl_divergence(q, reading.prior) - scores.mean(0)

    start = mean, 2 * scale.log()
    if torch.is_grad_enabled():
        parameters = list(model.generative_parameters())
        mean, log_variance = refined_with_gradient(negative_elbo, *start, parameters, options)
    else:
        mean, log_variance = refined(negative_elbo, *start, options)
    return replace(reading, posterior=diagonal_gaussian(mean, (0.5 * log_variance).exp()))


def refined(
    negative_elbo: Bound, mean: Tensor, log_variance: Tensor, options: Refinement
) -> tuple[Tensor, Tensor]:
    """For each sentence, the one of lambda_0 ... lambda_K with the lowest -ELBO, so that no bound gets worse.

    No parameter receives a gradient. The function also works under ``torch.no_grad``.

    Args:
        negative_elbo: the bound.
        mean: mean of the encoder's posterior, (B, Z).
        log_variance: log-variance of the encoder's posterior, (B, Z).
        options: the options of the steps.

    Returns:
        Mean and log-variance, each (B, Z), detached from the graph.
    """
    point = torch.cat([mean, log_variance], -1).detach()
    best, lowest = point, point.new_full((len(point),), float("inf"))
    for _ in range(options.steps):
        bounds, gradient = _bounds_and_gradient(negative_elbo, point)
        best, lowest = _better(best, lowest, point, bounds)
        point = point - options.learning_rate * _clipped(gradient, options.gradient_clip)
    with torch.no_grad():
        best, _ = _better(best, lowest, point, negative_elbo(*_halves(point)))
    return _halves(best)


def refined_with_gradient(
    negative_elbo: Bound,
    mean: Tensor,
    log_variance: Tensor,
    parameters: Sequence[Tensor],
    options: Refinement,
) -> tuple[Tensor, Tensor]:
    """lambda_K, differentiable (once) with respect to lambda_0 and theta.

    The steps and their gradients are computed without autocast, because differences of bf16 gradients are noise.

    Args:
        negative_elbo: the bound.
        mean: mean of the encoder's posterior, (B, Z).
        log_variance: log-variance of the encoder's posterior, (B, Z).
        parameters: theta, the tensors that receive a gradient from the bound; no others do.
        options: the options of the steps.

    Returns:
        Mean and log-variance, each (B, Z).
    """
    start = torch.cat([mean, log_variance], -1)
    return _halves(_Steps.apply(negative_elbo, options, start, *parameters))


class _Steps(torch.autograd.Function):
    """lambda_K as a function of lambda_0 and theta.

    The backward pass uses finite differences, because LSTM kernels have no second derivative. It starts from a_K =
    dL / d lambda_K. At lambda_k, C_k is the Jacobian of the clipping, H_k the Hessian of -ELBO with respect to lambda,
    and M_k = d²(-ELBO) / d theta d lambda:

        u = C_k a_{k+1}
        a_k = a_{k+1} - alpha H_k u
        dL / d theta -= alpha M_k u

    Both products are the gradient of one number, the slope of the bounds along u. The slope is a difference between two
    points, whose distance 2 eps is the same for every sentence, whatever the length of its u_i:

        sum_i |u_i| / (2 eps) [-ELBO(x_i; lambda_i + eps u_i / |u_i|) + ELBO(x_i; lambda_i - eps u_i / |u_i|)]
    """

    @staticmethod
    def forward(
        ctx: Any, negative_elbo: Bound, options: Refinement, start: Tensor, *parameters: Tensor
    ) -> Tensor:
        point, points, gradients = start.detach(), [], []
        with torch.autocast(point.device.type, enabled=False):
            for _ in range(options.steps):
                _, gradient = _bounds_and_gradient(negative_elbo, point)
                points.append(point)
                gradients.append(gradient)
                point = point - options.learning_rate * _clipped(gradient, options.gradient_clip)
        ctx.negative_elbo, ctx.options = negative_elbo, options
        ctx.save_for_backward(torch.stack(points), torch.stack(gradients), *parameters)
        return point

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        points, gradients, *parameters = ctx.saved_tensors
        rate, clip = ctx.options.learning_rate, ctx.options.gradient_clip
        needed = ctx.needs_input_grad[3:]
        theta = [parameter for parameter, needs in zip(parameters, needed, strict=True) if needs]
        d_theta: list[Tensor | None] = [None] * len(theta)
        with torch.autocast(adjoint.device.type, enabled=False):
            for point, gradient in zip(points.flip(0), gradients.flip(0), strict=True):
                direction = _through_clipping(adjoint, gradient, clip)
                d_point, *products = _hessian_product(ctx.negative_elbo, point, direction, theta)
                adjoint = adjoint if d_point is None else adjoint - rate * d_point
                d_theta = [_sum(total, part, -rate) for total, part in zip(d_theta, products, strict=True)]
        of_theta = iter(d_theta)
        return None, None, adjoint, *(next(of_theta) if needs else None for needs in needed)


def _halves(point: Tensor) -> tuple[Tensor, Tensor]:
    """Splits a point (B, 2Z) into mean and log-variance, each (B, Z)."""
    mean, log_variance = point.chunk(2, -1)
    return mean, log_variance


def _bounds_and_gradient(negative_elbo: Bound, point: Tensor) -> tuple[Tensor, Tensor]:
    """The bounds (B,), and the gradient (B, 2Z) of each with respect to its own row of ``point`` (B, 2Z)."""
    with torch.enable_grad():
        point = point.detach().requires_grad_()
        bounds = negative_elbo(*_halves(point))
        # Each bound depends on its own row only, so the gradient of the sum holds the gradient of each bound.
        # The graph of the prior and of the encoded source is used again in every step, so it is retained.
        (gradient,) = torch.autograd.grad(bounds.sum(), point, retain_graph=True)
    return bounds.detach(), gradient


def _better(best: Tensor, lowest: Tensor, point: Tensor, bounds: Tensor) -> tuple[Tensor, Tensor]:
    """``best`` (B, 2Z) and ``lowest`` (B,), updated where the bound (B,) of ``point`` is lower; NaN is never lower."""
    lower = bounds < lowest
    return torch.where(lower[:, None], point, best), torch.where(lower, bounds, lowest)


def _clipped(gradient: Tensor, longest: float) -> Tensor:
    """The rows of the gradient (B, 2Z), scaled down to length ``longest`` if they are longer."""
    return gradient * (longest / gradient.norm(dim=-1, keepdim=True)).clamp_max(1)


def _through_clipping(adjoint: Tensor, gradient: Tensor, longest: float) -> Tensor:
    """The adjoint a (B, 2Z) multiplied by C, the Jacobian of `_clipped` at the gradient g (B, 2Z).

    C is symmetric: C = longest / |g| (I - g g^T / |g|²) if |g| > longest, because the length of g then has no effect;
    otherwise C = I.
    """
    length = gradient.norm(dim=-1, keepdim=True)
    unit = gradient / length.clamp_min(torch.finfo(length.dtype).tiny)
    across = adjoint - unit * (unit * adjoint).sum(-1, keepdim=True)
    return torch.where(length > longest, longest / length * across, adjoint)


def _hessian_product(
    negative_elbo: Bound, point: Tensor, direction: Tensor, parameters: Sequence[Tensor]
) -> list[Tensor | None]:
    """H u (B, 2Z), and M u for each parameter (see `_Steps`), given u (B, 2Z); None if the bound does not use it."""
    precision = torch.finfo(point.dtype)
    # This eps balances the rounding error, precision / eps, and the error of central differences, eps².
    eps = precision.eps ** (1 / 3)
    length = direction.norm(dim=-1, keepdim=True)
    # A direction of length 0 also has the weight 0 below.
    unit = direction / length.clamp_min(precision.tiny)
    change: list[Tensor | None] = [None] * (1 + len(parameters))
    for side in (1, -1):
        with torch.enable_grad():
            beside = (point + side * eps * unit).detach().requires_grad_()
            weighted = length.squeeze(-1) / (2 * eps) * negative_elbo(*_halves(beside))
            parts = torch.autograd.grad(
                weighted.sum(), [beside, *parameters], allow_unused=True, retain_graph=True
            )
        change = [_sum(total, part, side) for total, part in zip(change, parts, strict=True)]
    return change


def _sum(total: Tensor | None, part: Tensor | None, weight: float) -> Tensor | None:
    """total + weight · part; None counts as zero."""
    if part is None:
        return total
    return weight * part if total is None else total.add_(part, alpha=weight)
