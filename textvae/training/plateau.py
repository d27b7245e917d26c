"""The published learning-rate rule for SGD: when validation stalls, go back to the best weights at a smaller rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_model
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from textvae.support.options import Count, Positive, Size, Weight


class DecayOnPlateau(TrainerCallback, ExportableState):
    """Multiplies the learning rate when the bound has not improved for some evaluations, and stops in the end.

    After ``patience`` evaluations without a new best, from ``start_epoch`` on, the best weights are loaded again
    and the learning rate is multiplied by ``factor``; after ``decays`` of these, the next one ends training
    (He et al. 2019). Needs a checkpoint at each evaluation.

    Args:
        metric: the quantity that should fall, as the evaluation names it.
        patience: evaluations without a new best before a decay.
        factor: of the learning rate.
        start_epoch: no decay before this epoch.
        decays: how many there are before training ends.
    """

    def __init__(
        self,
        metric: str = "eval_neg_elbo",
        *,
        patience: Size = 2,
        factor: Positive = 0.5,
        start_epoch: Weight = 15,
        decays: Count = 5,
    ) -> None:
        self.metric, self.patience, self.factor = metric, patience, factor
        self.start_epoch, self.decays = start_epoch, decays
        self.best = float("inf")
        self.stale = self.decayed = 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, for `transformers` to restore."""
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
        """Count, and decay or stop where it is time."""
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
