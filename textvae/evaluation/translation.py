"""How good and how various translations are: BLEU by what z is, and distinct n-grams, self-BLEU and oracle BLEU.

References:
    A Call for Clarity in Reporting BLEU Scores (Post 2018), https://arxiv.org/abs/1804.08771
    Mixture Models for Diverse Machine Translation (Shen et al. 2019), https://arxiv.org/abs/1902.07816
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from textvae.errors import UserError
from textvae.evaluation.sample_quality import bleu_metric, ngrams, self_bleu
from textvae.models.seq2seq import Latent


@dataclass(frozen=True)
class Bleu:
    """A BLEU score, 0 to 100.

    Attributes:
        score: of the corpus.
        signature: how sacreBLEU counted.
    """

    score: float
    signature: str

    def __str__(self) -> str:
        """Score and signature, as they are cited."""
        return f"BLEU {self.score:.2f} ({self.signature})"


def bleu(translations: Sequence[str], references: Sequence[str], tokenize: str = "13a") -> Bleu:
    """The corpus BLEU of translations, each with one reference.

    Args:
        translations: n sentences.
        references: n others.
        tokenize: how sacreBLEU splits both: "13a" for European languages, "char" or, if MeCab is installed, "ja-mecab"
            for Japanese, "none" for text that is split by blanks already.

    Raises:
        UserError: if they are not equally many, or there is no such ``tokenize``.

    Example:
        >>> str(bleu(["the dog sleeps in the sun"], ["the dog sleeps in the sun"]))[:12]
        'BLEU 100.00 '
    """
    if not translations or len(translations) != len(references):
        raise UserError(
            f"expected translations and a reference for each, got {len(translations)} and {len(references)}: compare "
            "the ends of both"
        )
    metric = bleu_metric(tokenize)
    score = metric.corpus_score(list(translations), [list(references)]).score
    return Bleu(score, str(metric.get_signature()))


def bleu_by_latent(
    translate: Callable[[Latent], Sequence[str]],
    references: Sequence[str],
    tokenize: str = "13a",
    *,
    latent: bool = True,
) -> dict[str, Any]:
    """BLEU with z the prior's mean, with z = 0 and with the z of another sentence, by the names in `Evaluation`.

    Where the three are alike, z says nothing of the translation.

    Args:
        translate: gives the n translations.
        references: n sentences.
        tokenize: see `bleu`.
        latent: whether there is a z; without, there is one BLEU.
    """
    latents: dict[str, Latent] = {"bleu": "mean"}
    if latent:
        latents |= {"bleu_zero_z": "zero", "bleu_shuffled_z": "shuffled"}
    scores = {name: bleu(translate(chosen), references, tokenize) for name, chosen in latents.items()}
    return {name: found.score for name, found in scores.items()} | {
        "bleu_signature": scores["bleu"].signature
    }


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
