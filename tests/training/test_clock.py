"""The minutes of training, summed across interruptions."""

import json

import pytest
import tiny

from textvae.training import clock
from textvae.training.clock import Clock


@pytest.fixture
def now(monkeypatch):
    """A clock that the test sets, in seconds."""
    time = [0.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: time[0])
    return time


def test_only_training_counts(now):
    found = Clock(before=2.0)
    now[0] = 600
    assert found.minutes == 2
    found.on_train_begin(None, None, None)
    now[0] += 90
    assert found.minutes == 3.5
    found.on_train_end(None, None, None)
    now[0] += 90
    assert found.minutes == 3.5


@pytest.mark.slow
def test_a_resumed_run_goes_on_counting(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 2}
    first = tiny.trainer(tmp_path, max_steps=2, **options)
    first.add_callback(Clock(before=100.0))
    first.train()
    state = json.loads((tmp_path / "checkpoint-2" / "trainer_state.json").read_text())
    assert state["stateful_callbacks"]["Clock"]["args"]["before"] > 100
    again = tiny.trainer(tmp_path, max_steps=4, **options)
    again.add_callback(Clock())
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    found = next(one for one in again.callback_handler.callbacks if isinstance(one, Clock))
    assert 100 < found.minutes < 101
