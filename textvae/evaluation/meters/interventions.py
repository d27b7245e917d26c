"""What the decoder loses without its z: the likelihood given a z that carries no information about the sentence."""

from __future__ import annotations

from typing import Any, Self

import torch

from textvae.evaluation.meters.sums import Sums
from textvae.evaluation.quantities import PER_SENTENCE, Description, Setting
from textvae.inference.bounds import Bounds
from textvae.modules.distributions import sample
from textvae.text.batches import Batch


class ReplacedLatents(Sums):
    """-log p(x | z) with z from the posterior, from the prior, and from another sentence's posterior.

    A decoder that ignores z does equally well with all three. The KL alone does not show this, because a posterior may
    differ from the prior in ways that the decoder ignores. The other sentence is the previous one in the batch; batches
    hold sentences of similar length, so that the difference is not due to length. If a batch has one sentence, its z is
    drawn from the prior.
    """

    describes = (
        Description(
            "reconstruction",
            PER_SENTENCE,
            panel=PER_SENTENCE,
            curve=r"$-\log p(x\,|\,z)$, own $z$",
            greater_is_better=False,
        ),
        Description(
            "reconstruction_prior_z",
            label="… prior z",
            panel=PER_SENTENCE,
            curve=r"$-\log p(x\,|\,z)$, prior $z$",
        ),
        Description(
            "reconstruction_shuffled_z",
            label="… shuffled z",
            panel=PER_SENTENCE,
            curve=r"$-\log p(x\,|\,z)$, shuffled $z$",
        ),
    )

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """For models with a latent."""
        return cls() if setting.model.has_latent else None

    def measure(
        self, model: Any, batch: Batch, found: Bounds, number: int, generator: torch.Generator
    ) -> tuple[float, ...]:
        """The sums of -log p(x | z) for the three kinds of z, and the number of sentences."""
        reading = found.reading
        own, unknowing = (sample(q, 1, generator)[0] for q in (reading.posterior, reading.prior))
        z = torch.stack([unknowing, own.roll(1, dims=0) if len(own) > 1 else unknowing])
        from_prior, shuffled = (-reading.score(z)).cpu().double().sum(1).tolist()
        reconstruction = (found.neg_elbo - found.kl).cpu().double().sum()
        return float(reconstruction), from_prior, shuffled, batch.size

    def results(self) -> dict[str, tuple[Any, str]]:
        """The three means."""
        *totals, sentences = self.totals
        ways = (
            "-log p(x | z) with z from q(z | x)",
            "the same with z from p(z)",
            "the same with another sentence's z",
        )
        names = (description.name for description in self.describes)
        return {name: (total / sentences, how) for name, total, how in zip(names, totals, ways, strict=True)}
