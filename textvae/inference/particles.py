"""Sentences that are being written, each with a z and a weight."""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import Tensor

from textvae.inference.proposals import DefensiveMixture
from textvae.inference.vocabulary import Vocabulary
from textvae.models.language import TextVAEModel
from textvae.text.blanks import Blank

PIECES = 16
"""Maximum number of tokens in a missing word."""


class Particles:
    """N sentences that are being written, with their weights.

    Attributes:
        z: the z of each particle, (N, Z).
        log_ratio: log(p(z) / r(z)), (N,).
        log_weights: logarithms of the weights, (N,).
        families: number of the first draw of z from which each particle descends, (N,).
        words: words that each particle has written into the blanks so far.

    Args:
        model: model that writes the sentences.
        proposal: r.
        count: N.
    """

    def __init__(self, model: TextVAEModel, proposal: DefensiveMixture, count: int) -> None:
        self.model = model
        self.z = proposal.sample(count)
        self.log_ratio = proposal.log_prior(self.z) - proposal.log_prob(self.z)
        self.log_weights = torch.zeros_like(self.log_ratio)
        self.families = torch.arange(count)  # on the host, like the shares
        self.words: list[tuple[str, ...]] = [()] * count
        begin = self.z.new_full((count, 1), model.config.bos_token_id, dtype=torch.long)
        states, self.cache = model.decoder(begin, self.z[None])
        self.log_next = self._log_next(states)

    def _log_next(self, states: Tensor) -> Tensor:
        """log p(token | prefix, z), (n, V), for decoder states (1, n, 1, D)."""
        return self.model.output_layer.logits(states[0, :, -1]).log_softmax(-1)

    def read(self, rows: Tensor, tokens: Tensor) -> None:
        """Append a token to each of n particles, given their numbers (n,) and the tokens (n,)."""
        past = tuple(tensor[rows] for tensor in self.cache)
        states, past = self.model.decoder(tokens[:, None], self.z[None, rows], past)
        self.log_next[rows] = self._log_next(states)
        for tensor, new in zip(self.cache, past, strict=True):
            tensor[rows] = new

    def weigh(self, following: Tensor) -> None:
        """Multiply each weight by the probability that the next token is one of ``following``, a mask (V,)."""
        self.log_weights += self.log_next[:, following].logsumexp(1)

    def write(self, blank: Blank, vocabulary: Vocabulary, following: Tensor) -> None:
        """Draw a word for a blank; weight it by the probability that a token of ``following`` (V,) comes next."""
        spelt = [b""] * len(self.z)
        rows = torch.arange(len(self.z), device=self.z.device)
        tokens = drawn(self.log_next.masked_fill(~vocabulary.first(blank), -math.inf))
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
            tokens = drawn(options)
            going = tokens < len(vocabulary.spellings)
            rows, tokens = rows[going], tokens[going]
            if not len(rows):
                break
        self.words = [(*words, blank.word(part) or "") for words, part in zip(self.words, spelt, strict=True)]

    def resample(self) -> None:
        """Resample the particles in proportion to their weights (systematic resampling)."""
        count = len(self.z)
        places = (torch.arange(count) + torch.rand(())).double() / count
        ends = self._shares().cumsum(0)
        chosen = torch.searchsorted(ends, places, right=True).clamp(max=count - 1)
        self.log_weights = (self.log_weights.logsumexp(0) - math.log(count)).repeat(count)
        self.z, self.log_next, self.log_ratio = self.z[chosen], self.log_next[chosen], self.log_ratio[chosen]
        self.families = self.families[chosen]
        self.cache = tuple(tensor[chosen] for tensor in self.cache)
        self.words = [self.words[number] for number in chosen.tolist()]

    def weight_evenness(self) -> float:
        """(sum w)² / sum w² of the current weights, from 1 to N; if it is small, the particles are resampled."""
        return float(1 / self._shares().square().sum())

    def effective_sample_size(self) -> float:
        """Number of independent draws of z that would be as exact as the weighted particles, from 1 to N.

            1 / sum_f W_f²,   where W_f is the share of the weight of all particles that descend from the first draw f

        Particles with a common ancestor are not independent, so they count as one (Lee & Whiteley 2018). The standard
        error of a probability estimated from n independent draws is at most 1 / (2 sqrt(n)).

        References:
            Variance estimation in the particle filter (Lee & Whiteley 2018), https://arxiv.org/abs/1509.00394
        """
        shares = self._shares()
        return float(1 / torch.zeros_like(shares).index_add_(0, self.families, shares).square().sum())

    def shares(self) -> Counter[tuple[str, ...]]:
        """p(missing words | known words) of each filling that was drawn; the sum is 1."""
        found: Counter[tuple[str, ...]] = Counter()
        for words, share in zip(self.words, self._shares().tolist(), strict=True):
            found[words] += share
        return found

    def _shares(self) -> Tensor:
        """The weights divided by their sum, (N,), in float64 on the host."""
        return self.log_weights.cpu().double().softmax(0)


def drawn(options: Tensor) -> Tensor:
    """Draw a column for each row of unnormalised log-probabilities (n, M); the last if all columns are impossible."""
    impossible = options.max(1).values == -math.inf
    last = torch.arange(options.shape[1], device=options.device) == options.shape[1] - 1
    possible = options.masked_fill(impossible[:, None] & last, 0.0)
    # Inverse transform sampling: `multinomial` draws a number for each option and is ten times slower.
    ends = possible.softmax(1).cumsum(1)
    total = ends[:, -1:].contiguous()
    places = torch.searchsorted(ends, total * torch.rand_like(total), right=True)
    # If a number is rounded up to the total, it must not choose an impossible option at the end.
    return torch.minimum(places, torch.searchsorted(ends, total))[:, 0]
