"""What every model returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.distributions import Distribution


@dataclass(frozen=True)
class Reading:
    """What a model makes of the sentences of a batch before it draws z.

    Attributes:
        posterior: q(z | x), batch shape (B,).
        prior: p(z), batch shape (B,).
        log_likelihood: gives log p(x | z) in nats, summed over the real tokens, (K, B), for z of K samples.
    """

    posterior: Distribution
    prior: Distribution
    log_likelihood: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class VAEOutput:
    """The pieces from which every objective and every estimate is made.

    Of a conditional model all is given its source, too. A latent with a value at each of T steps has the event shape
    (T, Z); if its distribution at a step depends on the z before, it is that along z, of batch shape (K, B).

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

    posterior: Distribution
    prior: Distribution
    z: Tensor
    log_likelihood: Tensor
    tokens: Tensor
    bag_of_words: Tensor | None = None
    weights: Tensor | None = None
    classification: Tensor | None = None

    def expected(self, scores: Tensor) -> Tensor:
        """The mean over the draws of scores (K, B), by their weights, (B,)."""
        return scores.mean(0) if self.weights is None else (self.weights * scores).sum(0)
