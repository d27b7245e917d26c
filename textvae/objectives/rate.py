"""A KL weight that finds itself: the multiplier of a constraint on the rate, which is the KL in nats per sentence."""

from __future__ import annotations

from torch import Tensor

START = 0.1
"""The multiplier at step 0: a KL that is cheap while the decoder learns its language, as in annealing."""
SPEED = 0.01
"""Change of the multiplier's logarithm in one step at the largest error; a factor of e takes 100 steps or more."""
LOWEST, HIGHEST = 1e-4, 100.0
"""Bounds of the multiplier, so that it finds back in time from where it ran to."""


def ascended(multiplier: Tensor, kl: Tensor, target: float) -> Tensor:
    """The multiplier after one step of ascent.

    Training under the constraint KL = target is the saddle point

        min_(p, q) max_beta   E_q[ -log p(x | z) ] + beta (KL(q(z | x) ‖ p(z)) - target),   beta > 0

    whose beta stands where the KL weight does: it falls while the rate is below its target and rises while it is
    above. This is the minimum desired rate of Pelsmaeker & Aziz, whose Lagrangian -ELBO + lambda (target - KL) is the
    same with beta = 1 - lambda. There lambda >= 0, so that the rate may lie above the target; here it is held from both
    sides. There beta may become negative, which rewards a KL whether or not it carries information; here it cannot,
    since the ascent is on its logarithm, by the relative error of the rate, cut at 1.

    Args:
        multiplier: beta, ().
        kl: mean KL of the step's sentences in nats, ().
        target: nats per sentence.

    References:
        Effective Estimation of Deep Generative Language Models (Pelsmaeker & Aziz 2020),
        https://arxiv.org/abs/1904.08194
    """
    error = (kl / target - 1).clamp(-1, 1)
    return (multiplier * (SPEED * error).exp()).clamp(LOWEST, HIGHEST)
