"""How various several translations of one source are, and how good: distinct n-grams, self-BLEU and oracle BLEU.

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
    """How various N translations of each source are, and how good.

    Attributes:
        translations: N; all of the following depend on it.
        bleu: mean of the corpus BLEUs of the first, second, ... translations.
        oracle_bleu: of each source's best translation, the one of the highest sentence BLEU.
        self_bleu: of the translations of one source with each other, mean over the sources; the lower the more various.
        distinct_1: share of different words among those of one source's translations, mean over the sources.
        distinct_2: the same of pairs of words.
        bleu_signature: how sacreBLEU counted; words are its words, and pairs do not cross sentences.
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
        translations: N of each of n sources.
        references: one of each source.
        tokenize: see `bleu`.

    Raises:
        UserError: if there are not two translations or more of each source, of each equally many.
    """
    counts = {len(own) for own in translations}
    if len(counts) != 1 or min(counts) < 2:
        raise UserError(
            f"expected 2 translations or more of each source, of each equally many, got {sorted(counts)}"
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
    """The corpus BLEU of each source's best translation, that of the highest sentence BLEU.

    Args:
        translations: one or more of each of n sources.
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
    """The mean share of different n-grams in one source's translations, of the sources that have any."""
    found = [ngrams(own, n, tokenize) for own in translations]
    return fmean([len(set(own)) / len(own) for own in found if own] or [0.0])
