"""What the decoder loses when its z is taken away: the likelihood under a z that says nothing about the sentence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textvae.evaluation.likelihood import Model, reading_of
from textvae.modules.latents import drawn
from textvae.text.batches import Batch


class ReplacedLatents:
    """-log p(x | z) in nats per sentence with z from the prior, and with the z of another sentence.

    A decoder that ignores z does not notice either; the KL alone does not show this, since a posterior may differ from
    the prior in ways that the decoder does not read. The other sentence is the one before in the order of the data,
    which evaluation sorts by length, so that the gap is not what z says of the length. A z with values at each step is
    handed on step by step, and only between batches of one width.

    Args:
        seed: of the draws, which are apart from the global random state.
    """

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.before: Tensor | None = None
        self.prior, self.shuffled = 0.0, 0.0
        self.sentences, self.reconstruction = 0, 0.0

    def update(self, model: Model, batch: Batch, found: dict[str, Any]) -> None:
        """Take in what `bounds` found of a batch."""
        reading = reading_of(model, batch, found["posterior"])
        from_prior = drawn(reading.prior, self.generator)
        own = drawn(reading.posterior, self.generator)
        before = self.before
        if before is None or before.shape[1:] != own.shape[1:]:
            before = own[-1:]
        others = torch.cat([before, own[:-1]])
        self.before = own[-1:]
        z = torch.stack([from_prior, others])
        lost = -reading.log_likelihood(z).double().sum(1)
        self.prior += float(lost[0])
        self.shuffled += float(lost[1])
        self.reconstruction += float((found["neg_elbo"] - found["kl"]).double().sum())
        self.sentences += len(own)

    def quantities(self) -> dict[str, float]:
        """-log p(x | z) in nats per sentence with z from the posterior, the prior and another sentence's posterior."""
        return {
            "reconstruction": self.reconstruction / self.sentences,
            "reconstruction_prior_z": self.prior / self.sentences,
            "reconstruction_shuffled_z": self.shuffled / self.sentences,
        }
