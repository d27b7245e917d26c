"""What a person sees while a model trains: a bar with the remaining time on a terminal, plain lines elsewhere."""

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
"""What a line shows of training, in this order; everything that is logged goes to TensorBoard and the checkpoints."""


def shown() -> dict[str, str]:
    """What a line shows, by the names in the logs: of training, and of evaluations what meters mark for it."""
    measured = {f"eval_{name}": each.progress for name, each in descriptions().items() if each.progress}
    return SHOWN | measured


class Progress(TrainerCallback):
    """Writes a line for each log on standard error, above a progress bar if that is a terminal.

    Args:
        quiet: write nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.bar: tqdm | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar at the step where training starts or goes on."""
        if state.is_world_process_zero and not self.quiet and sys.stderr.isatty():
            self.bar = tqdm(
                total=state.max_steps, initial=state.global_step, unit="step", dynamic_ncols=True, leave=False
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the bar."""
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
        """Write a line."""
        written = [f"{words} {logs[name]:.4g}" for name, words in shown().items() if logs and name in logs]
        if written and state.is_world_process_zero and not self.quiet:
            place = f"step {state.global_step:,}/{state.max_steps:,}, epoch {state.epoch or 0:.2f}: "
            tqdm.write(place + ", ".join(written), file=sys.stderr)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the verdict on the latent."""
        verdict = kwargs.get("metrics", {}).get("eval_verdict")
        if verdict and state.is_world_process_zero and not self.quiet:
            tqdm.write(verdict, file=sys.stderr)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
