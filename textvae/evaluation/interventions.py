"""What the decoder loses when its z is taken away: the likelihood under a z that says nothing about the sentence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textvae.models.language import TextVAEModel
from textvae.modules.latents import drawn
from textvae.text.batches import Batch


class ReplacedLatents:
    """-log p(x | z) in nats per sentence with z from the prior, and with the z of another sentence.

    A decoder that ignores z does not notice either; the KL alone does not show this, since a posterior may differ from
    the prior in ways that the decoder does not read. The other sentence is the one before in the order of the data,
    which evaluation sorts by length, so that the gap is not what z says of the length.

    Args:
        seed: of the draws, which are apart from the global random state.
    """

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.before: Tensor | None = None
        self.prior, self.shuffled = 0.0, 0.0
        self.sentences, self.reconstruction = 0, 0.0

    def update(self, model: TextVAEModel, batch: Batch, found: dict[str, Any]) -> None:
        """Take in what `bounds` found of a batch."""
        posterior = found["posterior"]
        from_prior = drawn(model.prior(len(batch.inputs), posterior.mean), self.generator)
        own = drawn(posterior, self.generator)
        before = own[-1:] if self.before is None else self.before
        others = torch.cat([before, own[:-1]])
        self.before = own[-1:]
        z = torch.stack([from_prior, others])
        lost = -model.log_likelihood(z, batch.inputs, batch.targets, batch.mask).double().sum(1)
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
