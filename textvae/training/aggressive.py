"""An encoder that is trained until it has caught up with the decoder, before each of the decoder's steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from textvae.models.base import VAEModel
from textvae.support.options import Size, check_value


class AggressiveEncoder(TrainerCallback, ExportableState):
    """Aggressive training of the encoder, until the mutual information stops to rise (He et al. 2019).

    Early in training the posterior lags behind what the decoder could use of it, and the decoder learns to do without
    z. So, while the phase lasts, every step is: update the encoder alone on random batches until the loss per token no
    longer falls from one ``window`` of them to the next, or ``updates`` times; then update the decoder alone on the
    step's own batch. The phase ends at the first evaluation whose mutual information is below that of the one before;
    from there on training is plain.

    Args:
        updates: of the encoder before one of the decoder, at most.
        window: batches whose mean losses are compared.

    References:
        Lagging Inference Networks and Posterior Collapse in Variational Autoencoders (He et al. 2019),
        https://arxiv.org/abs/1901.05534
    """

    def __init__(self, *, updates: Size = 100, window: Size = 15) -> None:
        self.updates = check_value(updates, Size, "updates")
        self.window = check_value(window, Size, "window")
        self.active = True
        self.information = -float("inf")

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, for `transformers` to restore."""
        return {
            "args": {"updates": self.updates, "window": self.window},
            "attributes": {"active": self.active, "information": self.information},
        }

    def catch_up(
        self,
        model: VAEModel,
        optimizer: torch.optim.Optimizer,
        losses: Iterator[tuple[Tensor, float]],
        clip: Callable[[], Any],
    ) -> int:
        """Update the encoder alone until it has caught up; returns how many updates that were.

        Args:
            model: the `VAEModel` whose inference parameters are updated.
            optimizer: of all its parameters; it leaves those without a gradient as they are.
            losses: the mean loss of a batch, with its graph, and its mean number of tokens, for as many random
                batches as are asked for.
            clip: the gradients, as for any step.
        """
        before, tokens = float("inf"), 0.0
        total: Tensor | float = 0.0
        for update in range(1, self.updates + 1):
            optimizer.zero_grad()
            loss, length = next(losses)
            loss.backward()
            clip()
            forget_gradients(model.generative_parameters())
            optimizer.step()
            total, tokens = total + loss.detach(), tokens + length
            if update % self.window == 0:
                mean = float(total) / tokens
                if mean > before:
                    break
                before, total, tokens = mean, 0.0, 0.0
        optimizer.zero_grad()
        return update

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """While the phase lasts, the step is the decoder's alone."""
        if self.active:
            forget_gradients(kwargs["model"].inference_parameters())

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the phase where the mutual information has fallen."""
        information = kwargs["metrics"]["eval_mutual_information"]
        if information < self.information:
            self.active = False
        self.information = information


def forget_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Leave parameters without a gradient; an optimiser skips those."""
    for parameter in parameters:
        parameter.grad = None
