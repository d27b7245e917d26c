"""Diversity and quality of several translations of each source: distinct n-grams, self-BLEU and oracle BLEU.

References:
    Mixture Models for Diverse Machine Translation (Shen et al. 2019), https://arxiv.org/abs/1902.07816
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from textvae.evaluation.bleu import Bleu, bleu, bleu_metric, ngrams, self_bleu
from textvae.support.errors import UserError


@dataclass(frozen=True)
class Diversity:
    """Diversity and quality of N translations of each source.

    Attributes:
        translations: N; all other scores depend on it.
        bleu: mean of the corpus BLEUs of the first, second, ... translations.
        oracle_bleu: corpus BLEU of each source's best translation, the one with the highest sentence BLEU.
        self_bleu: self-BLEU of the translations of each source, mean over the sources; lower means more diverse.
        distinct_1: share of different words in the translations of each source, mean over the sources.
        distinct_2: the same share for pairs of words; pairs do not cross sentences.
        bleu_signature: sacreBLEU's signature of its settings; its tokenizer splits the words.
    """

    translations: int
    bleu: float
    oracle_bleu: float
    self_bleu: float
    distinct_1: float
    distinct_2: float
    bleu_signature: str

    def to_dict(self) -> dict[str, Any]:
        """The quantities by name."""
        return asdict(self)


def diversity(
    translations: Sequence[Sequence[str]], references: Sequence[str], tokenize: str = "13a"
) -> Diversity:
    """The `Diversity` of several translations of each source.

    Args:
        translations: N translations for each of n sources.
        references: n sentences, one for each source.
        tokenize: see `bleu`.

    Raises:
        UserError: if a source has fewer than two translations, or their numbers differ between sources.
    """
    counts = {len(own) for own in translations}
    if len(counts) != 1 or min(counts) < 2:
        raise UserError(
            f"expected the same number of translations, 2 or more, for each source, got {sorted(counts)}"
        )
    scores = [bleu(column, references, tokenize) for column in zip(*translations, strict=True)]
    return Diversity(
        translations=counts.pop(),
        bleu=fmean(found.score for found in scores),
        oracle_bleu=oracle_bleu(translations, references, tokenize).score,
        self_bleu=fmean(self_bleu(own, tokenize) for own in translations),
        distinct_1=_distinct(translations, 1, tokenize),
        distinct_2=_distinct(translations, 2, tokenize),
        bleu_signature=scores[0].signature,
    )


def oracle_bleu(
    translations: Sequence[Sequence[str]], references: Sequence[str], tokenize: str = "13a"
) -> Bleu:
    """The corpus BLEU of each source's best translation, the one with the highest sentence BLEU.

    Args:
        translations: one or more translations for each of n sources.
        references: n sentences.
        tokenize: see `bleu`.

    Raises:
        UserError: as `bleu`.
    """
    metric = bleu_metric(tokenize, effective_order=True)
    best = []
    for own, reference in zip(translations, references, strict=True):
        scores = [metric.sentence_score(text, [reference]).score for text in own]
        best.append(own[scores.index(max(scores))])
    return bleu(best, references, tokenize)


def _distinct(translations: Sequence[Sequence[str]], n: int, tokenize: str) -> float:
    """The share of different n-grams in each source's translations, mean over the sources that have n-grams."""
    found = [ngrams(own, n, tokenize) for own in translations]
    return fmean([len(set(own)) / len(own) for own in found if own] or [0.0])
