"""Show the progress of training: a bar with the remaining time on a terminal, and a line for each log."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from textvae.evaluation.meters.table import descriptions

SHOWN = {
    "loss": "loss",
    "reconstruction": "reconstruction",
    "kl": "KL",
    "class_kl": "KL of the class",
    "kl_weight": "KL weight",
    "learning_rate": "learning rate",
}
"""Names and labels of the training quantities in a line, in order. TensorBoard and the checkpoints get all logs."""


def shown() -> dict[str, str]:
    """Names and labels of all quantities in a line: those of training, and those that meters choose for it."""
    measured = {f"eval_{name}": each.progress for name, each in descriptions().items() if each.progress}
    return SHOWN | measured


class Progress(TrainerCallback):
    """Writes a line for each log to standard error, with a progress bar below if that is a terminal.

    Args:
        quiet: whether to write nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.bar: tqdm | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar at the step where training starts or resumes."""
        if state.is_world_process_zero and not self.quiet and sys.stderr.isatty():
            self.bar = tqdm(
                total=state.max_steps, initial=state.global_step, unit="step", dynamic_ncols=True, leave=False
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Advance the bar."""
        if self.bar is not None:
            self.bar.update()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write a line with the logged quantities."""
        written = [f"{words} {logs[name]:.4g}" for name, words in shown().items() if logs and name in logs]
        if written and state.is_world_process_zero and not self.quiet:
            place = f"step {state.global_step:,}/{state.max_steps:,}, epoch {state.epoch or 0:.2f}: "
            tqdm.write(place + ", ".join(written), file=sys.stderr)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the diagnosis of posterior collapse."""
        verdict = kwargs.get("metrics", {}).get("eval_verdict")
        if verdict and state.is_world_process_zero and not self.quiet:
            tqdm.write(verdict, file=sys.stderr)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
