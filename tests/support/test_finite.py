"""NaN and infinity are found, immediately or later."""

import math

import pytest
import torch

from textvae.support.finite import FiniteWatch, not_finite


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_each_tensor_that_is_not_finite_is_named(dtype, value):
    largest = torch.full((3, 2), torch.finfo(dtype).max, dtype=dtype)
    broken = largest.clone()
    broken[2, 1] = value
    tensors = {"b": broken, "large": largest, "a": broken[2:], "empty": broken[:0], "count": torch.tensor(3)}
    assert not_finite(tensors) == ["b", "a"]
    assert not_finite({"count": torch.tensor([True])}) == not_finite({}) == []


@pytest.mark.parametrize(
    ("losses", "fault"),
    [
        ([1.0, 2.0], 0),
        ([1.0, math.nan, 2.0], 1),
        ([math.inf, 1.0], 1),
        ([1.0, -math.inf], 1),
        ([1e308, -1e308], 0),
    ],
)
def test_a_watch_remembers_a_loss_that_was_not_finite(losses, fault):
    watch = FiniteWatch()
    assert watch.faults is None
    for loss in losses:
        watch.observe(torch.tensor(loss, dtype=torch.float64, requires_grad=True))
    assert (watch.faults.item(), watch.faults.requires_grad) == (fault, False)


def test_a_watch_reads_nothing_from_the_device():
    """A tensor on the meta device has no values to read."""
    watch = FiniteWatch()
    for _ in range(2):
        watch.observe(torch.zeros((), device="meta"))
    assert watch.faults.device.type == "meta"
