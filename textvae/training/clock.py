"""Measure the training time of a run across interruptions."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from textvae.support.options import Weight, validated


@validated
class Clock(TrainerCallback, ExportableState):
    """Counts the minutes of training, including evaluations; steps that an interruption lost do not count.

    Args:
        before: minutes trained before an interruption.
    """

    def __init__(self, before: Weight = 0.0) -> None:
        self.before = before
        self.started: float | None = None

    @property
    def minutes(self) -> float:
        """Minutes of training until now, or until training ended."""
        return self.before + (0.0 if self.started is None else (time.monotonic() - self.started) / 60)

    def state(self) -> dict[str, Any]:
        """The state that a checkpoint keeps, from which `transformers` restores the callback."""
        return {"args": {"before": self.minutes}, "attributes": {}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop the clock."""
        self.before, self.started = self.minutes, None
