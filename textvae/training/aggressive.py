"""Aggressive training: update the encoder until its loss converges before each update of the decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from textvae.models.base import VAEModel
from textvae.support.options import Size, validated
from textvae.text.batches import Batch
from textvae.text.fields import Fields
from textvae.text.samplers import LengthGroupedSampler, grouping_lengths


@validated
class AggressiveEncoder(TrainerCallback, ExportableState):
    """Aggressive training of the encoder, until the mutual information stops increasing (He et al. 2019).

    Early in training the approximate posterior lags behind the true posterior, and the decoder learns to ignore z.
    Therefore, in the aggressive phase, each step updates the encoder alone on random batches, and then the decoder
    alone on the batch of the step. The encoder updates end when the mean loss per token over ``window`` batches is
    higher than over the ``window`` batches before, or after ``updates`` updates. The phase ends at the first
    evaluation whose mutual information is lower than at the evaluation before; after it, training is normal.

    Args:
        updates: maximum encoder updates before each decoder update.
        window: number of batches whose mean losses are compared.

    References:
        Lagging Inference Networks and Posterior Collapse in Variational Autoencoders (He et al. 2019),
        https://arxiv.org/abs/1901.05534
    """

    def __init__(self, *, updates: Size = 100, window: Size = 15) -> None:
        self.updates, self.window = updates, window
        self.active = True
        self.information = -float("inf")

    def state(self) -> dict[str, Any]:
        """The state that a checkpoint keeps, from which `transformers` restores the callback."""
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
        """Update the encoder alone until its loss stops falling; returns the number of updates.

        Args:
            model: the model whose inference parameters are updated.
            optimizer: the optimiser of all parameters; it skips parameters without a gradient.
            losses: an endless iterator over random batches, which yields the mean loss (with its graph) and the mean
                number of tokens of each batch.
            clip: a function that clips the gradients.
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
        """In the aggressive phase, update only the decoder in this step."""
        if self.active:
            forget_gradients(kwargs["model"].inference_parameters())

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the aggressive phase if the mutual information has decreased."""
        information = kwargs["metrics"]["eval_mutual_information"]
        if information < self.information:
            self.active = False
        self.information = information


def random_batches(
    rows: Any, fields: Fields, batch_size: int, seed: int, mixed: bool = False
) -> Iterator[Batch]:
    """An endless series of batches of similar length, drawn with replacement by the global generator of torch.

    Checkpoints keep the state of that generator.

    Args:
        rows: the prepared train split.
        fields: the fields that collate the batches.
        batch_size: sentences of a batch.
        seed: seed of the order of the sentences in the groups from which batches are drawn.
        mixed: whether a batch holds sentences of all lengths instead.
    """
    lengths = grouping_lengths(rows, fields.length_columns, mixed)
    order = torch.tensor(list(LengthGroupedSampler(lengths, batch_size, seed=seed)))
    groups = order.split(batch_size)
    while True:
        places = groups[int(torch.randint(len(groups), ()))]
        yield fields.collate([rows[place] for place in places.tolist()])


def forget_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Delete the gradients of parameters, so that the optimiser skips them."""
    for parameter in parameters:
        parameter.grad = None
