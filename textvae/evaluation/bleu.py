"""BLEU, self-BLEU and distinct n-grams of texts, computed by sacreBLEU.

One of sacreBLEU's tokenizers splits the words, by default 13a; case is kept.

References:
    A Call for Clarity in Reporting BLEU Scores (Post 2018), https://arxiv.org/abs/1804.08771
    Texygen: A Benchmarking Platform for Text Generation Models (Zhu et al. 2018), https://arxiv.org/abs/1802.01886
    A Diversity-Promoting Objective Function for Neural Conversation Models (Li et al. 2016),
    https://arxiv.org/abs/1510.03055
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sacrebleu.metrics.bleu import BLEU

from textvae.support.errors import UserError


def bleu_metric(tokenize: str = "13a", *, effective_order: bool = False) -> BLEU:
    """SacreBLEU's BLEU with one of its tokenizers.

    Args:
        tokenize: name of the tokenizer, such as "13a", "char", or "none" for text that is already split by blanks.
        effective_order: for single sentences: uses shorter n-grams if a sentence has fewer than 4 words.

    Raises:
        UserError: if there is no such tokenizer, or it needs a package that is not installed.
    """
    if tokenize not in BLEU.TOKENIZERS:
        raise UserError(f"expected tokenize to be one of {', '.join(BLEU.TOKENIZERS)}, got {tokenize!r}")
    try:
        # force=True silences the warning about text that is already split.
        return BLEU(tokenize=tokenize, effective_order=effective_order, force=True)
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"expected the packages that sacreBLEU needs for tokenize={tokenize!r}, found none: install sacrebleu[ja] "
            "or sacrebleu[ko], or use char"
        ) from error


def self_bleu(samples: Sequence[str], tokenize: str = "13a") -> float:
    """The mean BLEU-4 of each sample with all others as its references, 0 to 100; lower means more diverse.

    It is sacreBLEU's sentence BLEU with exponential smoothing; shorter samples use shorter n-grams. It rises with the
    number of samples, so compare equal numbers. The cost grows with the square of that number.

    Args:
        samples: n sentences.
        tokenize: see `bleu_metric`.

    Raises:
        UserError: if there are fewer than two samples.

    Example:
        >>> round(self_bleu(["a dog runs home", "a dog runs home", "the cat sleeps there now"]), 1)
        66.7
    """
    if len(samples) < 2:
        raise UserError(
            f"expected 2 samples or more, got {len(samples)}: the other samples are the references"
        )
    metric = bleu_metric(tokenize, effective_order=True)
    scores = [
        metric.sentence_score(sample, [*samples[:place], *samples[place + 1 :]]).score
        for place, sample in enumerate(samples)
    ]
    return sum(scores) / len(scores)


def distinct_n(samples: Sequence[str], n: int = 2) -> float:
    """The number of different n-grams over the number of all n-grams of the samples, 0 to 1 (Li et al. 2016).

    N-grams do not cross sentences. The share falls with the number of samples, so compare equal numbers.

    Args:
        samples: sentences.
        n: words in an n-gram.

    Raises:
        UserError: if no sample has n words.

    Example:
        >>> distinct_n(["a b a b", "b a"], n=2)
        0.5
    """
    found = ngrams(samples, n)
    if not found:
        raise UserError(f"expected samples of {n} words or more, got none: use a smaller n")
    return len(set(found)) / len(found)


def ngrams(samples: Sequence[str], n: int, tokenize: str = "13a") -> list[tuple[str, ...]]:
    """The word n-grams of the samples; none crosses sentences.

    Args:
        samples: sentences.
        n: words in an n-gram.
        tokenize: see `bleu_metric`.
    """
    split = bleu_metric(tokenize).tokenizer
    words = [split(sample).split() for sample in samples]
    return [tuple(row[start : start + n]) for row in words for start in range(len(row) - n + 1)]


@dataclass(frozen=True)
class Bleu:
    """A BLEU score, 0 to 100.

    Attributes:
        score: corpus BLEU.
        signature: sacreBLEU's signature of its settings.
    """

    score: float
    signature: str

    def __str__(self) -> str:
        """Score and signature, for citing."""
        return f"BLEU {self.score:.2f} ({self.signature})"


def bleu(translations: Sequence[str], references: Sequence[str], tokenize: str = "13a") -> Bleu:
    """The corpus BLEU of translations, each with one reference.

    Args:
        translations: n sentences.
        references: n sentences.
        tokenize: sacreBLEU's tokenizer: "13a" for European languages, "char" or, if MeCab is installed, "ja-mecab" for
            Japanese, "none" for text that is already split by blanks.

    Raises:
        UserError: if their numbers differ or are 0, or there is no such ``tokenize``.

    Example:
        >>> str(bleu(["the dog sleeps in the sun"], ["the dog sleeps in the sun"]))[:12]
        'BLEU 100.00 '
    """
    if not translations or len(translations) != len(references):
        raise UserError(
            f"expected translations and one reference for each, got {len(translations)} and {len(references)}: compare "
            "the ends of both files"
        )
    metric = bleu_metric(tokenize)
    score = metric.corpus_score(list(translations), [list(references)]).score
    return Bleu(score, str(metric.get_signature()))
