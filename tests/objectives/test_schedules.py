import math

import pytest

from textvae.objectives.schedules import KLWeight
from textvae.support.errors import UserError

SCHEDULES = {
    "constant": KLWeight("constant", end=0.7),
    "linear": KLWeight("linear", start=0.1, steps=10),
    "sigmoid": KLWeight("sigmoid", start=0.2, end=2.0, steps=10),
    "tanh": KLWeight("tanh", start=0.5, end=2.5, steps=6),
    "cyclical": KLWeight("cyclical", steps=40, cycles=4),
}
EACH = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("constant", {0: 0.7, 1: 0.7, 1000: 0.7}),
        ("linear", {0: 0.1, 1: 0.19, 5: 0.55, 9: 0.91, 10: 1.0, 1000: 1.0}),
        ("sigmoid", {0: 0.2, 5: 1.1, 10: 2.0, 11: 2.0}),
        ("tanh", {0: 0.5, 2: 0.5 + 2 * math.tanh(1) / math.tanh(3), 6: 2.5, 7: 2.5}),
        ("cyclical", {0: 0.0, 1: 0.2, 4: 0.8, 5: 1.0, 9: 1.0, 10: 0.0, 11: 0.2, 35: 1.0, 39: 1.0, 40: 1.0}),
    ],
)
def test_weights_by_hand(name, weights):
    assert {step: SCHEDULES[name](step) for step in weights} == pytest.approx(weights)


def test_sigmoid_is_the_logistic_curve_between_its_ends():
    """At u = 1/4, the logistic curve of 6 (2u - 1), scaled to run from 0 to 1."""
    low, quarter = 1 / (1 + math.exp(6)), 1 / (1 + math.exp(3))
    assert KLWeight("sigmoid", steps=4)(1) == pytest.approx((quarter - low) / (1 - 2 * low))


@EACH
def test_weights_stay_between_start_and_end(schedule):
    weights = [schedule(step) for step in range(60)]
    assert min(weights) >= min(schedule.start, schedule.end)
    assert max(weights) <= schedule.end
    assert weights[-1] == schedule.end


@pytest.mark.parametrize("name", ["constant", "linear", "sigmoid", "tanh"])
def test_ramps_rise(name):
    weights = [SCHEDULES[name](step) for step in range(15)]
    assert weights == sorted(weights)


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "cyclical"])
def test_ramps_have_no_jumps(name):
    """A ramp of 1,000 steps changes little in each step; a cyclical one jumps down only where a cycle begins."""
    schedule = KLWeight(name, steps=1000)
    weights = [schedule(step) for step in range(1100)]
    jumps = [step + 1 for step in range(1099) if abs(weights[step + 1] - weights[step]) > 0.01]
    assert jumps == ([250, 500, 750] if name == "cyclical" else [])


def test_a_falling_weight_is_allowed():
    assert KLWeight("linear", start=4.0, end=1.0, steps=3)(1) == pytest.approx(3.0)


@EACH
def test_the_weight_depends_on_the_step_alone(schedule):
    """Hence a resumed run continues without any state."""
    forwards = [schedule(step) for step in range(50)]
    assert [schedule(step) for step in reversed(range(50))][::-1] == forwards


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": -0.1}, "start: expected greater than or equal to 0, got -0.1"),
        ({"end": -1.0}, "end: expected greater than or equal to 0, got -1.0"),
        ({"schedule": "linear"}, "steps of 1 or more for the linear KL weight, got 0"),
        (
            {"schedule": "cyclical", "steps": 5, "cycles": 0},
            "cycles: expected greater than or equal to 1, got 0",
        ),
    ],
    ids=str,
)
def test_weights_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        KLWeight(**options)
