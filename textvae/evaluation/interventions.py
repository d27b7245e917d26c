"""What the decoder loses when its z is taken away: the likelihood under a z that says nothing about the sentence."""

from __future__ import annotations

from typing import Any

import torch

from textvae.evaluation.likelihood import Model, reading_of
from textvae.modules.latents import drawn
from textvae.text.batches import Batch


class ReplacedLatents:
    """-log p(x | z) in nats per sentence with z from the prior, and with the z of another sentence.

    A decoder that ignores z does not notice either; the KL alone does not show this, since a posterior may differ from
    the prior in ways that the decoder does not read. The other sentence is the one before in the batch, whose sentences
    evaluation takes of like length, so that the gap is not what z says of the length; a sentence that is a batch alone
    takes the z from the prior. A z with values at each step is handed on step by step.
    """

    def __init__(self) -> None:
        self.reconstruction, self.prior, self.shuffled = 0.0, 0.0, 0.0
        self.sentences = 0

    def measure(
        self, model: Model, batch: Batch, found: dict[str, Any], number: int
    ) -> tuple[int, float, float, float]:
        """The number of sentences, and what each z costs them all."""
        reading = reading_of(model, batch, found["posterior"])
        own, unknowing = drawn(reading.posterior), drawn(reading.prior)
        z = torch.stack([unknowing, own.roll(1, dims=0) if len(own) > 1 else unknowing])
        from_prior, shuffled = -reading.log_likelihood(z).double().sum(1)
        reconstruction = (found["neg_elbo"] - found["kl"]).double().sum()
        return len(own), float(reconstruction), float(from_prior), float(shuffled)

    def add(self, measured: tuple[int, float, float, float]) -> None:
        """Take in what was measured of the next batch."""
        sentences, reconstruction, from_prior, shuffled = measured
        self.sentences += sentences
        self.reconstruction += reconstruction
        self.prior += from_prior
        self.shuffled += shuffled

    def quantities(self) -> dict[str, float]:
        """-log p(x | z) in nats per sentence with z from the posterior, the prior and another sentence's posterior."""
        return {
            "reconstruction": self.reconstruction / self.sentences,
            "reconstruction_prior_z": self.prior / self.sentences,
            "reconstruction_shuffled_z": self.shuffled / self.sentences,
        }
