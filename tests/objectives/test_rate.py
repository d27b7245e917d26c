"""The multiplier of the rate's constraint: a step by hand, and the saddle point of a toy whose answer is known."""

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


@pytest.mark.parametrize("target", [0.5, 3.0, 20.0])
@pytest.mark.parametrize("wanted", [0.2, 3.0], ids=["rises-too-far", "would-stay-away"])
def test_the_constraint_holds_at_the_saddle_point(target, wanted):
    """A mean m costs KL m² / 2, and the distortion w (reach - m)² falls with it.

    At the saddle point m = sqrt(2 target), whatever w is, and beta is the slope of the distortion over that of the KL.
    """
    reach = math.sqrt(2 * target) + 2
    m = torch.tensor(0.1, dtype=torch.double, requires_grad=True)
    multiplier = tensor(START)
    optimizer = torch.optim.Adam([m], 0.02)
    for _ in range(6000):
        loss = wanted * (reach - m).square() + multiplier * m.square() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        multiplier = ascended(multiplier, m.detach().square() / 2, target)
    assert float(m.detach() ** 2 / 2) == pytest.approx(target, rel=0.01)
    assert float(multiplier) == pytest.approx(2 * wanted * 2 / math.sqrt(2 * target), rel=0.05)
