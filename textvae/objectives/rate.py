"""A KL weight that adapts: the Lagrange multiplier of a constraint on the rate, the KL in nats per sentence."""

from __future__ import annotations

from torch import Tensor

START = 0.1
"""The multiplier at step 0: as in annealing, the KL is cheap while the decoder learns the language."""
SPEED = 0.01
"""Largest change of the multiplier's logarithm in one step; a factor of e takes 100 steps or more."""
LOWEST, HIGHEST = 1e-4, 100.0
"""Bounds of the multiplier, so that it can return in time after a long error in one direction."""


def ascended(multiplier: Tensor, kl: Tensor, target: float) -> Tensor:
    """The multiplier after one step of ascent.

    Training with the constraint KL = target is the saddle point

        min_(p, q) max_beta   E_q[ -log p(x | z) ] + beta (KL(q(z | x) ‖ p(z)) - target),   beta > 0

    Beta is the KL weight: it falls while the rate is below the target and rises while it is above. This is the minimum
    desired rate of Pelsmaeker & Aziz, whose Lagrangian -ELBO + lambda (target - KL) is the same with beta = 1 - lambda,
    with two differences. Their lambda >= 0 lets the rate exceed the target; here it is held from both sides. Their beta
    may become negative and reward a KL without information; here it stays positive, because the ascent is on its
    logarithm. The step is the relative error of the rate, clipped to [-1, 1].

    Args:
        multiplier: beta, ().
        kl: mean KL of the sentences of this step in nats, ().
        target: target KL in nats per sentence.

    References:
        Effective Estimation of Deep Generative Language Models (Pelsmaeker & Aziz 2020),
        https://arxiv.org/abs/1904.08194
    """
    error = (kl / target - 1).clamp(-1, 1)
    return (multiplier * (SPEED * error).exp()).clamp(LOWEST, HIGHEST)
