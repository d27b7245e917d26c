"""Missing words drawn from their posterior given the words around them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from textvae.models.language import TextVAEModel
from textvae.support.errors import UserError
from textvae.text.batches import padded
from textvae.text.blanks import Blank, Pattern

PIECES = 16
"""Tokens that a missing word has at most."""

SENTENCES = 64
"""Filled sentences whose posteriors make the second proposal, at most."""


@torch.no_grad()
def fill(
    model: TextVAEModel, pattern: Pattern, spellings: list[bytes], particles: int
) -> tuple[list[tuple[str, ...]], Tensor]:
    """Draws from p(missing words | known words), and their weights, by a particle filter.

    Of the T terms of a sentence, EOS counted, some are known tokens and the others blanks. Each of N particles

    1. draws z from a proposal r(z);
    2. goes through the terms with the decoder. At each its weight is multiplied by (p(z) / r(z))^(1/T): all at once,
       it would rule out those z that the words to come speak for. At a known token the weight is multiplied by
       p(token | prefix, z). In a blank the particle draws tokens from p(token | prefix, z), restricted to those that
       may come next and renormalised, and its weight is multiplied by the normaliser. What may come next is any token
       that goes on with the word and, if the word is whole, the end of it, which is what stands behind: a known token,
       EOS, or a token that begins the next blank;
    3. is drawn anew with the others, in proportion to their weights, which become their mean, whenever the effective
       sample size (sum w)² / sum w² is below N / 2.

    So in the end E[mean of w] = p(known words), and the weighted fillings converge to p(missing words | known words).

    The proposal is found in two rounds. In the first r(z) = q(z | sentence with UNK in the blanks); in the second it is
    the mean of q(z | x) over the sentences that the first has filled, so that the encoder reads sentences like those
    that it was trained with. (Sampling in turns from q(z | x) and p(x | z), Rezende et al. 2014, appendix F, is exact
    only if q is.)

    Args:
        model: in evaluation mode.
        pattern: the known tokens and the blanks.
        spellings: what each token writes (`text.blanks.spellings`).
        particles: N.

    Returns:
        N tuples, a word for each blank, and the logarithms of the weights, (N,).

    Raises:
        UserError: if no particle finds words that fit.

    References:
        A Tutorial on Particle Filtering and Smoothing (Doucet & Johansen 2009),
        https://www.stats.ox.ac.uk/~doucet/doucet_johansen_tutorialPF2011.pdf
        Stochastic Backpropagation and Approximate Inference in Deep Generative Models (Rezende et al. 2014),
        https://arxiv.org/abs/1401.4082
    """
    vocabulary = _Vocabulary(spellings, model.device)
    unknown = [model.config.unk_token_id if isinstance(term, Blank) else term for term in pattern]
    first = _filtered(model, pattern, vocabulary, _posterior(model, [unknown]), particles)
    first.resample()
    sentences = first.ids[:: -(-particles // SENTENCES)]
    second = _filtered(model, pattern, vocabulary, _posterior(model, sentences), particles)
    return second.words, second.log_weights


class _Vocabulary:
    """Which tokens may come next.

    Args:
        spellings: what each token writes.
        device: of the masks (V,), True on such tokens.
    """

    def __init__(self, spellings: list[bytes], device: torch.device) -> None:
        self.spellings, self.device = spellings, device
        self.begins = self._mask(spelt.startswith(b" ") for spelt in spellings)
        self.fitting = cache(self._fitting)

    def first(self, term: int | Blank) -> Tensor:
        """The tokens that a term of the pattern begins with."""
        if isinstance(term, Blank):
            return self.fitting(term.before) & self.begins
        return self._mask(number == term for number in range(len(self.spellings)))

    def behind(self, spelt: bytes, blank: Blank) -> Tensor:
        """The tokens that go on with a blank of which ``spelt`` is written."""
        return self.fitting(blank.before[len(spelt) :]) & ~self.begins

    def _fitting(self, needed: bytes) -> Tensor:
        """The tokens that write what is ``needed`` next, or a part of it."""
        return self._mask(
            bool(spelt) and (spelt.startswith(needed) or needed.startswith(spelt)) for spelt in self.spellings
        )

    def _mask(self, chosen: Iterable[bool]) -> Tensor:
        return torch.tensor(list(chosen), device=self.device)


class _Particles:
    """N sentences that are being written, with their weights.

    Args:
        model: what writes them.
        proposal: r, with event shape (Z,).
        count: N.
    """

    def __init__(self, model: TextVAEModel, proposal: Distribution, count: int) -> None:
        self.model = model
        self.z = proposal.sample((count,))
        self.log_ratio = model.prior(count, self.z).log_prob(self.z) - proposal.log_prob(self.z)
        self.log_weights = torch.zeros_like(self.log_ratio)
        self.ids: list[list[int]] = [[] for _ in range(count)]
        self.words: list[tuple[str, ...]] = [()] * count
        begin = self.z.new_full((count, 1), model.config.bos_token_id, dtype=torch.long)
        states, self.cache = model.decoder(begin, self.z[None])
        self.log_next = self._log_next(states)

    def _log_next(self, states: Tensor) -> Tensor:
        """log p(token | prefix, z), (n, V), for decoder states (1, n, 1, D)."""
        return self.model.output_layer.logits(states[0, :, -1]).log_softmax(-1)

    def read(self, rows: Tensor, tokens: Tensor) -> None:
        """Put a token (n,) behind each of n particles."""
        past = tuple(tensor[rows] for tensor in self.cache)
        states, past = self.model.decoder(tokens[:, None], self.z[None, rows], past)
        self.log_next[rows] = self._log_next(states)
        for tensor, new in zip(self.cache, past, strict=True):
            tensor[rows] = new
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            self.ids[row].append(token)

    def weigh(self, following: Tensor) -> None:
        """Multiply the weights by the probability that the next token is one of ``following`` (V,)."""
        self.log_weights += self.log_next[:, following].logsumexp(1)

    def write(self, blank: Blank, vocabulary: _Vocabulary, following: Tensor) -> None:
        """Draw a word for a blank, and weigh what may stand behind it, ``following`` (V,)."""
        spelt = [b""] * len(self.z)
        rows = torch.arange(len(self.z), device=self.z.device)
        tokens = _drawn(self.log_next.masked_fill(~vocabulary.first(blank), -math.inf))
        for piece in range(PIECES):
            self.read(rows, tokens)
            for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
                spelt[row] += vocabulary.spellings[token]
            written = [spelt[row] for row in rows.tolist()]
            whole = torch.tensor([blank.word(part) is not None for part in written], device=rows.device)
            goes_on = torch.stack([vocabulary.behind(part, blank) for part in written])
            log_next = self.log_next[rows]
            end = log_next[:, following].logsumexp(1).masked_fill(~whole, -math.inf)
            on = log_next.masked_fill(~goes_on if piece + 1 < PIECES else torch.ones_like(goes_on), -math.inf)
            options = torch.cat([on, end[:, None]], 1)
            self.log_weights[rows] += options.logsumexp(1)
            tokens = _drawn(options)
            going = tokens < len(vocabulary.spellings)
            rows, tokens = rows[going], tokens[going]
            if not len(rows):
                break
        self.words = [(*words, blank.word(part) or "") for words, part in zip(self.words, spelt, strict=True)]

    def effective(self) -> float:
        """The effective sample size."""
        return float(1 / self.log_weights.softmax(0).square().sum())

    def resample(self) -> None:
        """Draw the particles anew in proportion to their weights, systematically."""
        count = len(self.z)
        places = (torch.arange(count, device=self.z.device) + torch.rand((), device=self.z.device)) / count
        ends = self.log_weights.double().softmax(0).cumsum(0)
        chosen = torch.searchsorted(ends, places.double(), right=True).clamp(max=count - 1)
        self.log_weights = (self.log_weights.logsumexp(0) - math.log(count)).repeat(count)
        self.z, self.log_next, self.log_ratio = self.z[chosen], self.log_next[chosen], self.log_ratio[chosen]
        self.cache = tuple(tensor[chosen] for tensor in self.cache)
        self.ids = [list(self.ids[number]) for number in chosen.tolist()]
        self.words = [self.words[number] for number in chosen.tolist()]


def _filtered(
    model: TextVAEModel, pattern: Pattern, vocabulary: _Vocabulary, proposal: Distribution, count: int
) -> _Particles:
    """The particles behind the end of the sentence; every weight is one ahead of what is written."""
    particles = _Particles(model, proposal, count)
    everyone = torch.arange(count, device=model.device)
    terms = [*pattern, model.config.eos_token_id]
    particles.weigh(vocabulary.first(terms[0]))
    particles.log_weights += particles.log_ratio / len(terms)
    for term, following in pairwise(terms):
        if isinstance(term, Blank):
            particles.write(term, vocabulary, vocabulary.first(following))
        else:
            particles.read(everyone, torch.full_like(everyone, term))
            particles.weigh(vocabulary.first(following))
        particles.log_weights += particles.log_ratio / len(terms)
        if particles.log_weights.max() == -math.inf:
            raise UserError(
                f"expected blanks that the model can fill, found no word that fits with {count} particles: "
                "take more, or leave out what stands right beside the blank"
            )
        if particles.effective() < count / 2:
            particles.resample()
    return particles


def _posterior(model: TextVAEModel, sentences: list[list[int]]) -> MixtureSameFamily:
    """The mean of q(z | x) over sentences, given as ids without BOS and EOS."""
    config = model.config
    targets, mask = padded([[*ids, config.eos_token_id] for ids in sentences], config.pad_token_id)
    equal = Categorical(torch.ones(len(sentences), device=model.device))
    posterior = model.encode(targets.to(model.device), mask.to(model.device))
    return MixtureSameFamily(equal, posterior, validate_args=False)


def _drawn(options: Tensor) -> Tensor:
    """A draw of each row of log-probabilities (n, M) that need not sum to one; the last where there is no choice."""
    impossible = options.max(1).values == -math.inf
    last = torch.arange(options.shape[1], device=options.device) == options.shape[1] - 1
    possible = options.masked_fill(impossible[:, None] & last, 0.0)
    # By the inverse of the distribution function: `multinomial` draws a number for each option, ten times slower.
    ends = possible.softmax(1).cumsum(1, dtype=torch.double)
    places = ends[:, -1:] * torch.rand_like(ends[:, -1:])
    return torch.searchsorted(ends, places, right=True).clamp(max=options.shape[1] - 1)[:, 0]
