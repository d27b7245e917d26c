"""What every model returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.distributions import Independent

from textvae.modules.classes import ClassGaussian
from textvae.modules.latents import Prior


@dataclass(frozen=True)
class VAEOutput:
    """The pieces from which every objective and every estimate is made.

    Attributes:
        posterior: q(z | x), batch shape (B,), event shape (Z,).
        prior: p(z), batch shape (B,), event shape (Z,).
        z: draws from the posterior, (K, B, Z).
        log_likelihood: log p(x | z) in nats, summed over the real tokens, (K, B).
        tokens: number of targets of each sentence, EOS counted, (B,).
        bag_of_words: log p_bag(x | z) of the bag-of-words decoder in nats, (K, B); None where there is none, and in
            evaluation mode.
        weights: how much each draw counts, (K, B), of sum 1 over the draws; None: all alike.
        classification: -log q(y | x) in nats of the sentences whose label is known, (N,); None without classes.
    """

    posterior: Independent | ClassGaussian
    prior: Prior | ClassGaussian
    z: Tensor
    log_likelihood: Tensor
    tokens: Tensor
    bag_of_words: Tensor | None = None
    weights: Tensor | None = None
    classification: Tensor | None = None

    def expected(self, scores: Tensor) -> Tensor:
        """The mean over the draws of scores (K, B), by their weights, (B,)."""
        return scores.mean(0) if self.weights is None else (self.weights * scores).sum(0)
