"""The multiplier of the rate constraint: one step by hand, and the saddle point of a toy with a known answer."""

import math

import pytest
import torch

from textvae.objectives.rate import HIGHEST, LOWEST, SPEED, START, ascended


def tensor(value):
    return torch.tensor(value, dtype=torch.double)


@pytest.mark.parametrize(
    ("kl", "error"), [(8.0, 0.0), (9.0, 1 / 8), (6.0, -1 / 4), (0.0, -1.0), (16.0, 1.0), (800.0, 1.0)]
)
def test_a_step_by_hand(kl, error):
    moved = ascended(tensor(0.5), tensor(kl), 8.0)
    assert float(moved) == pytest.approx(0.5 * math.exp(SPEED * error))


def test_the_multiplier_stays_in_its_bounds():
    assert float(ascended(tensor(LOWEST), tensor(0.0), 8.0)) == LOWEST
    assert float(ascended(tensor(HIGHEST), tensor(99.0), 8.0)) == HIGHEST


@pytest.mark.slow
def test_the_constraint_holds_at_the_saddle_point():
    """A mean m has KL m² / 2 and distortion w (reach - m)².

    At the saddle point m = sqrt(2 target) for any w, and beta is the slope of the distortion divided by that of the KL.
    The toys are independent, so one optimiser serves them all.
    """
    targets, wanted = (
        values.flatten().double()
        for values in torch.meshgrid(torch.tensor([0.5, 3.0, 20.0]), torch.tensor([0.2, 3.0]), indexing="ij")
    )
    reach = (2 * targets).sqrt() + 2
    m = torch.full_like(targets, 0.1).requires_grad_()
    multiplier = torch.full_like(targets, START)
    optimizer = torch.optim.Adam([m], 0.02)
    for _ in range(6000):
        loss = (wanted * (reach - m).square() + multiplier * m.square() / 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates = m.detach().square() / 2
        steps = zip(multiplier, rates, targets.tolist(), strict=True)
        multiplier = torch.stack([ascended(*step) for step in steps])
    torch.testing.assert_close(rates, targets, rtol=0.01, atol=0)
    torch.testing.assert_close(multiplier, 4 * wanted / (2 * targets).sqrt(), rtol=0.05, atol=0)
