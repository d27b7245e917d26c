"""The multiplier of a target rate, which lives as long as the run and is saved with its checkpoints."""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import reduce
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from textvae.objectives.rate import START, ascended


class RateMultiplier(TrainerCallback, ExportableState):
    """The KL weight that holds the KL at a target (`objectives.rate`), moved once in each optimiser step.

    Args:
        target: nats per sentence.
    """

    def __init__(self, target: float) -> None:
        self.target = target
        self.value: Tensor | float = START
        self._seen: Tensor | None = None

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, for `transformers` to restore."""
        return {"args": {"target": self.target}, "attributes": {"value": float(self.value)}}

    def observe(self, kl: Tensor) -> None:
        """Take in the KL of a batch, (B,); nothing is read from the device."""
        pair = torch.stack([kl.sum(), kl.new_tensor(float(len(kl)))])
        self._seen = pair if self._seen is None else self._seen + pair

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the multiplier by the mean KL of the step, over all its batches and processes."""
        if self._seen is None:
            return
        total, count = reduce(self._seen, "sum")
        self._seen = None
        value = torch.as_tensor(self.value, dtype=total.dtype, device=total.device)
        self.value = ascended(value, total / count, self.target)
