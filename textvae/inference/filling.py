"""Draw missing words from their posterior given the words around them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch

from textvae.inference.particles import Particles
from textvae.inference.proposals import DefensiveMixture
from textvae.inference.vocabulary import Vocabulary
from textvae.models.language import TextVAEModel
from textvae.support.errors import UserError
from textvae.text.batches import padded
from textvae.text.blanks import Blank, Pattern

ENOUGH = 100
"""Below this effective sample size, `Fillings` warn. At 100, the standard error of a probability is at most 0.05."""


@dataclass(frozen=True)
class Fillings:
    """The likeliest ways to fill the blanks of a text; iteration yields pairs (text, probability).

    Attributes:
        texts: the filled texts, the likeliest first.
        probabilities: p(missing words | known words) of each filling.
        effective_sample_size: number of independent draws of z that would be as exact, from 1 to ``particles``.
        particles: number of particles.
    """

    texts: list[str]
    probabilities: list[float]
    effective_sample_size: float
    particles: int

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return iter(zip(self.texts, self.probabilities, strict=True))

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def warning(self) -> str:
        """A warning that the effective sample size is too small; empty if it is not."""
        size = self.effective_sample_size
        if size >= ENOUGH:
            return ""
        return (
            f"expected an effective sample size of {ENOUGH} or more, got {size:.0f} from {self.particles} particles, "
            f"so probabilities may be off by {0.5 / math.sqrt(size):.2f}: use more particles"
        )


@torch.no_grad()
def fill(model: TextVAEModel, pattern: Pattern, spellings: list[bytes], particles: int) -> Particles:
    """Weighted draws from p(missing words | known words), by a particle filter (Doucet & Johansen 2009).

    A sentence consists of T terms: known tokens, blanks, and EOS. There are N particles.

    1. Each particle draws z from r(z), the `DefensiveMixture` of the prior and q(z | the sentence with UNK in the
       blanks).
    2. It reads the terms with the decoder. At each term, its weight w is multiplied by (p(z) / r(z))^(1/T). The whole
       ratio at once could remove a z that later words support. At a known token, w is multiplied by
       p(token | prefix, z). In a blank, the particle draws tokens from p(token | prefix, z), restricted to the possible
       tokens and renormalised, and w is multiplied by the normaliser. Possible are the tokens that continue the word
       and, if the word is complete, those that end it: the next known token, EOS, or a token that begins the next
       blank.
    3. Whenever (sum w)² / sum w² is below N / 2, the particles are resampled in proportion to their weights, and each
       weight becomes the mean weight.

    At the end, E[mean of w] = p(known words), and the weighted fillings converge to p(missing words | known words). The
    weights are bounded, so the errors are of order 1 / sqrt(N).

    Args:
        model: a model in evaluation mode.
        pattern: the known tokens and the blanks.
        spellings: bytes that each token stands for (`text.blanks.spellings`).
        particles: N.

    Returns:
        The particles at the end of the sentence.

    Raises:
        UserError: if no particle finds words that fit.

    References:
        A Tutorial on Particle Filtering and Smoothing (Doucet & Johansen 2009),
        https://www.stats.ox.ac.uk/~doucet/doucet_johansen_tutorialPF2011.pdf
    """
    vocabulary = Vocabulary(spellings, model.device)
    found = Particles(model, proposal_for(model, pattern), particles)
    everyone = torch.arange(particles, device=model.device)
    terms = [*pattern, model.config.eos_token_id]
    found.weigh(vocabulary.first(terms[0]))
    found.log_weights += found.log_ratio / len(terms)
    for term, following in pairwise(terms):
        if isinstance(term, Blank):
            found.write(term, vocabulary, vocabulary.first(following))
        else:
            found.read(everyone, torch.full_like(everyone, term))
            found.weigh(vocabulary.first(following))
        found.log_weights += found.log_ratio / len(terms)
        if found.log_weights.max() == -math.inf:
            raise UserError(
                f"expected blanks that the model can fill, found no word that fits with {particles} particles: "
                "use more particles, or leave out what stands right beside the blank"
            )
        if found.weight_evenness() < particles / 2:
            found.resample()
    return found


def proposal_for(model: TextVAEModel, pattern: Pattern) -> DefensiveMixture:
    """The proposal r(z): a mixture of the prior and of posteriors of the sentence with UNK in its blanks."""
    config = model.config
    ids = [config.unk_token_id if isinstance(term, Blank) else term for term in pattern]
    targets, mask = (
        part.to(model.device) for part in padded([[*ids, config.eos_token_id]], config.pad_token_id)
    )
    posterior = model.encode(targets, mask)
    return DefensiveMixture(posterior, model.prior(1, posterior.mean))
