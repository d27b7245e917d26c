"""The learning-rate schedule for SGD of He et al. 2019: if validation stalls, restore the best weights and decay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_model
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from textvae.support.options import Count, Part, Size, Weight, validated
from textvae.training.judged import Metric


@validated
class DecayOnPlateau(TrainerCallback, ExportableState):
    """Decays the learning rate when the validation bound stops improving, and finally stops training.

    After ``patience`` evaluations without a new best value, the best weights are loaded and the learning rate is
    multiplied by ``factor``, but not before ``start_epoch``. After ``decays`` decays, training ends when the next decay
    is due (He et al. 2019). The schedule needs a checkpoint at each evaluation.

    Args:
        metric: name of the evaluated quantity to minimise.
        patience: evaluations without a new best value before a decay.
        factor: factor of the learning rate at a decay, below 1.
        start_epoch: first epoch in which a decay is possible.
        decays: maximum number of decays.
    """

    def __init__(
        self,
        metric: Metric = "eval_neg_elbo",
        *,
        patience: Size = 2,
        factor: Part = 0.5,
        start_epoch: Weight = 15,
        decays: Count = 5,
    ) -> None:
        self.metric = f"eval_{metric.removeprefix('eval_')}"
        self.patience, self.factor = patience, factor
        self.start_epoch, self.decays = start_epoch, decays
        self.best = float("inf")
        self.stale = self.decayed = 0

    def state(self) -> dict[str, Any]:
        """The state that a checkpoint keeps, from which `transformers` restores the callback."""
        names = ("metric", "patience", "factor", "start_epoch", "decays")
        counters = ("best", "stale", "decayed")
        return {
            "args": {name: getattr(self, name) for name in names},
            "attributes": {name: getattr(self, name) for name in counters},
        }

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Count evaluations without a new best value, and decay or stop when it is due."""
        value = kwargs["metrics"][self.metric]
        if value < self.best:
            self.best, self.stale = value, 0
            return
        self.stale += 1
        if self.stale < self.patience or (state.epoch or 0) < self.start_epoch:
            return
        if self.decayed == self.decays:
            control.should_training_stop = True
            return
        self.stale, self.decayed = 0, self.decayed + 1
        scheduler = kwargs["lr_scheduler"]
        scheduler.base_lrs = [rate * self.factor for rate in scheduler.base_lrs]
        for group, rate in zip(kwargs["optimizer"].param_groups, scheduler.base_lrs, strict=True):
            group["lr"] = rate
        best = Path(str(args.output_dir)) / f"checkpoint-{state.best_global_step}" / "model.safetensors"
        load_model(kwargs["model"], best)
