"""What objectives share: the contract, and the terms of a loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from textvae.models.outputs import VAEOutput
from textvae.modules.distributions import Draws


@dataclass(frozen=True)
class Terms:
    """A loss and what it is made of.

    Attributes:
        loss: what is minimised, mean over the batch, ().
        per_sentence: terms by name, each in nats per sentence, (B,), or those it applies to;
            logged under their names.
    """

    loss: Tensor
    per_sentence: dict[str, Tensor]

    @property
    def rate(self) -> Tensor:
        """What beta weighs and a target rate holds: the KL without that of a class, (B,)."""
        kl = self.per_sentence["kl"]
        return kl - self.per_sentence["class_kl"] if "class_kl" in self.per_sentence else kl


class Objective(Protocol):
    """A loss: how z is drawn in training, and a function of what the model returns."""

    @property
    def samples(self) -> int:
        """K, draws of z in training."""

    @property
    def target_rate(self) -> float | None:
        """KL in nats per sentence at which the trainer holds the model by moving the KL weight; None: no such rate."""

    def draw(self, posterior: Any, samples: int) -> Draws:
        """Draws of z, and what flows back through them."""

    def kl_weight(self, step: int) -> float:
        """The weight of the KL at an optimiser step."""

    def __call__(self, output: VAEOutput, kl_weight: float | Tensor) -> Terms:
        """The loss of a batch at a KL weight."""
