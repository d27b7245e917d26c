"""Posteriors refined sentence by sentence: gradient steps that start where the encoder ends.

    lambda_0 = encoder(x)
    lambda_{k+1} = lambda_k - alpha clipped(g_k)
    g_k = d(-ELBO(x; lambda_k, theta)) / d lambda_k

lambda is a sentence's mean and log-variance, theta the decoder's parameters. What the encoder lacks is made good by
`refined` when a model is measured; or the model is trained through the steps by `refined_with_gradient`, encoder and
decoder both (semi-amortised VAE, Kim et al. 2018). K steps are K forward and backward passes of the decoder, and one
forward pass to judge the last; training through them takes 2K more.

References:
    Semi-Amortized Variational Autoencoders (Kim et al. 2018), https://arxiv.org/abs/1802.02550
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from textvae.errors import UserError

Bound = Callable[[Tensor, Tensor], Tensor]
"""-ELBO in nats of each sentence, (B,), of posteriors' mean (B, Z) and log-variance (B, Z).

It is called many times and must always give the same: the caller holds the noise fixed, and dropout switched off in
*every* call, for some are made during the backward pass, when the model may be in another mode again.
"""


@dataclass(frozen=True)
class Refinement:
    """How posteriors are refined.

    Attributes:
        steps: K.
        learning_rate: alpha, for the gradient of a sentence's bound in nats. The published code takes that of a
            batch's mean, so that its rate of 1 is 1/B here, and twice as much with its momentum of a half.
        gradient_clip: the longest gradient of a sentence, L2 over mean and log-variance together; longer ones are
            scaled down to it.

    Raises:
        UserError: if a number is out of its range.
    """

    steps: int = 20
    learning_rate: float = 0.1
    gradient_clip: float = 5.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"expected refinement steps of 1 or more, got {self.steps}")
        if self.learning_rate <= 0:
            raise UserError(f"expected a refinement learning_rate of more than 0, got {self.learning_rate}")
        if self.gradient_clip <= 0:
            raise UserError(f"expected a refinement gradient_clip of more than 0, got {self.gradient_clip}")


def refined(
    negative_elbo: Bound, mean: Tensor, log_variance: Tensor, options: Refinement
) -> tuple[Tensor, Tensor]:
    """The best of lambda_0 ... lambda_K for each sentence by its bound, so that no bound gets worse.

    Nothing else gets a gradient; ``torch.no_grad`` around it does no harm.

    Args:
        negative_elbo: the bound.
        mean: the encoder's, (B, Z).
        log_variance: the encoder's, (B, Z).
        options: of the steps.

    Returns:
        Mean and log-variance, each (B, Z), without graph.
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

    The steps and their gradients are computed without autocast: differences of bf16 gradients would be noise.

    Args:
        negative_elbo: the bound.
        mean: the encoder's, (B, Z).
        log_variance: the encoder's, (B, Z).
        parameters: theta, the tensors by which the bound gets a gradient; it would not reach others.
        options: of the steps.

    Returns:
        Mean and log-variance, each (B, Z).
    """
    start = torch.cat([mean, log_variance], -1)
    return _halves(_Steps.apply(negative_elbo, options, start, *parameters))


class _Steps(torch.autograd.Function):
    """lambda_K of lambda_0 and theta, the backward pass by finite differences, as LSTM kernels have no second one.

    From a_K = dL / d lambda_K, with the Jacobian C_k of clipping, the Hessian H_k of -ELBO with respect to lambda, and
    M_k = d²(-ELBO) / d theta d lambda, all at lambda_k:

        u = C_k a_{k+1}
        a_k = a_{k+1} - alpha H_k u
        dL / d theta -= alpha M_k u

    Both products are the gradient of one number, the slope of the bounds along u. It is taken between two points that
    are equally far apart for every sentence, however long its u_i:

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
    """Mean and log-variance, each (B, Z), of both side by side (B, 2Z)."""
    mean, log_variance = point.chunk(2, -1)
    return mean, log_variance


def _bounds_and_gradient(negative_elbo: Bound, point: Tensor) -> tuple[Tensor, Tensor]:
    """The bounds (B,), and the gradient (B, 2Z) of each with respect to its own row of ``point`` (B, 2Z)."""
    with torch.enable_grad():
        point = point.detach().requires_grad_()
        bounds = negative_elbo(*_halves(point))
        # A sentence's bound knows no other's row, so the sum's gradient is each one's own.
        (gradient,) = torch.autograd.grad(bounds.sum(), point)
    return bounds.detach(), gradient


def _better(best: Tensor, lowest: Tensor, point: Tensor, bounds: Tensor) -> tuple[Tensor, Tensor]:
    """``best`` (B, 2Z) and ``lowest`` (B,) with the rows of ``point`` whose bounds (B,) are lower; a NaN is not."""
    lower = bounds < lowest
    return torch.where(lower[:, None], point, best), torch.where(lower, bounds, lowest)


def _clipped(gradient: Tensor, longest: float) -> Tensor:
    """Rows (B, 2Z) of length ``longest`` at most."""
    return gradient * (longest / gradient.norm(dim=-1, keepdim=True)).clamp_max(1)


def _through_clipping(adjoint: Tensor, gradient: Tensor, longest: float) -> Tensor:
    """The adjoint (B, 2Z) of `_clipped`, C a for its Jacobian C at the gradient g (B, 2Z), which is symmetric.

    C = longest / |g| (I - g g^T / |g|²) where g is longer than ``longest``: its length no longer counts; else I.
    """
    length = gradient.norm(dim=-1, keepdim=True)
    unit = gradient / length.clamp_min(torch.finfo(length.dtype).tiny)
    across = adjoint - unit * (unit * adjoint).sum(-1, keepdim=True)
    return torch.where(length > longest, longest / length * across, adjoint)


def _hessian_product(
    negative_elbo: Bound, point: Tensor, direction: Tensor, parameters: Sequence[Tensor]
) -> list[Tensor | None]:
    """H u (B, 2Z) and M u, one per parameter, of `_Steps`, for u (B, 2Z); None for what the bound does not use."""
    precision = torch.finfo(point.dtype)
    # Where the errors of rounding, precision / eps, and of central differences, eps², are about as small.
    eps = precision.eps ** (1 / 3)
    length = direction.norm(dim=-1, keepdim=True)
    # A direction of no length has no weight either.
    unit = direction / length.clamp_min(precision.tiny)
    change: list[Tensor | None] = [None] * (1 + len(parameters))
    for side in (1, -1):
        with torch.enable_grad():
            beside = (point + side * eps * unit).detach().requires_grad_()
            weighted = length.squeeze(-1) / (2 * eps) * negative_elbo(*_halves(beside))
            parts = torch.autograd.grad(weighted.sum(), [beside, *parameters], allow_unused=True)
        change = [_sum(total, part, side) for total, part in zip(change, parts, strict=True)]
    return change


def _sum(total: Tensor | None, part: Tensor | None, weight: float) -> Tensor | None:
    """total + weight part, where None is nothing yet, or nothing at all."""
    if part is None:
        return total
    return weight * part if total is None else total.add_(part, alpha=weight)
