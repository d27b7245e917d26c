"""The interface of objectives, and the terms of a loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from textvae.models.outputs import VAEOutput
from textvae.modules.distributions import Draws


@dataclass(frozen=True)
class Terms:
    """A loss and its terms.

    Attributes:
        loss: the loss to minimise, mean over the batch, ().
        per_sentence: terms by name, logged under it, in nats per sentence; (B,), or fewer if a term does not apply to
            all sentences.
    """

    loss: Tensor
    per_sentence: dict[str, Tensor]

    @property
    def rate(self) -> Tensor:
        """The KL without the KL of the class, (B,); beta weighs it and a target rate holds it."""
        kl = self.per_sentence["kl"]
        return kl - self.per_sentence["class_kl"] if "class_kl" in self.per_sentence else kl


class Objective(Protocol):
    """A loss: how z is drawn in training, and a function of the model's output."""

    @property
    def samples(self) -> int:
        """K, draws of z in training."""

    @property
    def target_rate(self) -> float | None:
        """KL in nats per sentence that the trainer holds by moving the KL weight; None: no target."""

    def draw(self, posterior: Any, samples: int) -> Draws:
        """Draws of z, and how gradients flow through them."""

    def kl_weight(self, step: int) -> float:
        """The KL weight at an optimiser step."""

    def __call__(self, output: VAEOutput, kl_weight: float | Tensor) -> Terms:
        """The loss of a batch with this KL weight."""
