"""Missing words drawn from their posterior given the words around them."""

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
"""The effective sample size below which `Fillings` warn: with 100, a probability is off by .05 or so at most."""


@dataclass(frozen=True)
class Fillings:
    """The likeliest ways to fill the blanks of a text; iterating gives them as pairs (text, probability).

    Attributes:
        texts: the filled texts, the likeliest first.
        probabilities: p(the words of a filling | the known words) of each.
        effective_sample_size: how many independent draws of z the probabilities are worth, from 1 to ``particles``.
        particles: how many were drawn.
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
        """A sentence on probabilities that rest on too few draws; empty if there are enough."""
        size = self.effective_sample_size
        if size >= ENOUGH:
            return ""
        return (
            f"expected an effective sample size of {ENOUGH} or more, got {size:.0f} of {self.particles} particles, so "
            f"probabilities may be off by {0.5 / math.sqrt(size):.2f}: take more particles"
        )


@torch.no_grad()
def fill(model: TextVAEModel, pattern: Pattern, spellings: list[bytes], particles: int) -> Particles:
    """Weighted draws from p(missing words | known words), by a particle filter (Doucet & Johansen 2009).

    The T terms of a sentence, EOS counted, are known tokens and blanks. Each of N particles

    1. draws z from r(z), the `DefensiveMixture` of the prior and q(z | the sentence with UNK in the blanks);
    2. reads the terms with the decoder. At each its weight is multiplied by (p(z) / r(z))^(1/T): the whole ratio at
       once would rule out those z that the words to come speak for. At a known token the weight is multiplied by
       p(token | prefix, z). In a blank the particle draws tokens from p(token | prefix, z), restricted to those that
       may come next and renormalised, and its weight is multiplied by the normaliser. What may come next is any token
       that continues the word and, if the word is whole, the end of it, which is what stands behind: a known token,
       EOS, or a token that begins the next blank;
    3. is drawn anew with the others, in proportion to their weights, which become their mean, whenever
       (sum w)² / sum w² is below N / 2.

    At the end E[mean of w] = p(known words), and the weighted fillings converge to p(missing words | known words), with
    errors of order 1 / sqrt(N), as the weights are bounded.

    Args:
        model: in evaluation mode.
        pattern: the known tokens and the blanks.
        spellings: what each token writes (`text.blanks.spellings`).
        particles: N.

    Returns:
        The particles behind the end of the sentence.

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
                "take more, or leave out what stands right beside the blank"
            )
        if found.weight_evenness() < particles / 2:
            found.resample()
    return found


def proposal_for(model: TextVAEModel, pattern: Pattern) -> DefensiveMixture:
    """What z is drawn from: the prior and the posterior of the sentence with UNK in its blanks."""
    config = model.config
    ids = [config.unk_token_id if isinstance(term, Blank) else term for term in pattern]
    targets, mask = (
        part.to(model.device) for part in padded([[*ids, config.eos_token_id]], config.pad_token_id)
    )
    posterior = model.encode(targets, mask)
    return DefensiveMixture(posterior, model.prior(1, posterior.mean))
