"""The Lagrange multiplier of a target rate, which is saved in the checkpoints of a run."""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import reduce
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from textvae.objectives.rate import START, ascended
from textvae.support.options import Positive, validated


@validated
class RateMultiplier(TrainerCallback, ExportableState):
    """The KL weight that keeps the KL at a target (`objectives.rate`), updated once in each optimiser step.

    Args:
        target: the target KL in nats per sentence.
    """

    def __init__(self, target: Positive) -> None:
        self.target = target
        self.value: Tensor | float = START
        self._seen: Tensor | None = None

    def state(self) -> dict[str, Any]:
        """The state that a checkpoint keeps, from which `transformers` restores the callback."""
        return {"args": {"target": self.target}, "attributes": {"value": float(self.value)}}

    def observe(self, kl: Tensor) -> None:
        """Add the KL of a batch, (B,), to the sums of this step, without synchronising the device."""
        pair = torch.stack([kl.sum(), kl.new_tensor(float(len(kl)))])
        self._seen = pair if self._seen is None else self._seen + pair

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Update the multiplier with the mean KL of the step over all its batches and processes."""
        if self._seen is None:
            return
        total, count = reduce(self._seen, "sum")
        self._seen = None
        value = torch.as_tensor(self.value, dtype=total.dtype, device=total.device)
        self.value = ascended(value, total / count, self.target)
