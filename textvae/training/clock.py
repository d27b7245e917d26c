"""How long a run has trained, over all its interruptions."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState


class Clock(TrainerCallback, ExportableState):
    """Minutes of training and of the evaluations in its midst; what an interruption lost is not counted.

    Args:
        before: minutes that have passed already.
    """

    def __init__(self, before: float = 0.0) -> None:
        self.before = before
        self.started: float | None = None

    @property
    def minutes(self) -> float:
        """Until now, or until training ended."""
        return self.before + (0.0 if self.started is None else (time.monotonic() - self.started) / 60)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, for `transformers` to restore."""
        return {"args": {"before": self.minutes}, "attributes": {}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start."""
        self.started = time.monotonic()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop."""
        self.before, self.started = self.minutes, None
