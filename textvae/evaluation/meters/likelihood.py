"""The bounds on log p(x)."""

from __future__ import annotations

from typing import Any, Self

import torch

from textvae.evaluation.meters.sums import Sums
from textvae.evaluation.quantities import PER_SENTENCE, Description, Setting
from textvae.inference.bounds import Bounds
from textvae.support.options import Size, validated
from textvae.text.batches import Batch


@validated
class Likelihood(Sums):
    """-ELBO and the importance-weighted bound; the exact -log p(x) if the model has no latent.

    Args:
        samples: K; None: the model has no latent.
    """

    describes = (
        Description(
            "neg_elbo",
            PER_SENTENCE,
            progress="validation -ELBO",
            panel=PER_SENTENCE,
            curve=r"validation $-$ELBO",
            greater_is_better=False,
        ),
        Description("iw_nll", PER_SENTENCE, greater_is_better=False),
        Description("iw_samples", "draws", shown=False),
    )

    def __init__(self, samples: Size | None) -> None:
        super().__init__()
        self.samples = samples

    @classmethod
    def of(cls, setting: Setting) -> Self:
        """For every model."""
        return cls(setting.samples if setting.model.has_latent else None)

    def measure(
        self, model: Any, batch: Batch, found: Bounds, number: int, generator: torch.Generator
    ) -> tuple[float, ...]:
        """The sums of both bounds, and the number of examples."""
        neg_elbo, iw_nll = (float(bound.cpu().double().sum()) for bound in (found.neg_elbo, found.iw_nll))
        return neg_elbo, iw_nll, batch.size

    def results(self) -> dict[str, tuple[Any, str]]:
        """The bounds in nats per sentence."""
        neg_elbo, iw_nll, sentences = self.totals
        if self.samples is None:
            how, samples = "exact, because there is no latent", 1
        else:
            how, samples = f"importance-weighted bound, K = {self.samples} draws", self.samples
        return {
            "neg_elbo": (neg_elbo / sentences, "KL weight 1, no free bits, no dropout"),
            "iw_nll": (iw_nll / sentences, how),
            "iw_samples": (samples, ""),
        }
