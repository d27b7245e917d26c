"""How good and how various samples are: self-BLEU, distinct n-grams, and perplexities between samples and data.

The perplexity of samples under a language model of the data (forward) is low where samples look like data, also if they
are all one sentence; that of data under a language model of the samples (reverse) is low only where the samples cover
the data (Zhao et al. 2018). Words are those of a tokenizer of sacreBLEU's, 13a unless said, case kept.

References:
    Texygen: A Benchmarking Platform for Text Generation Models (Zhu et al. 2018), https://arxiv.org/abs/1802.01886
    Adversarially Regularized Autoencoders (Zhao et al. 2018), https://arxiv.org/abs/1706.04223
    A Diversity-Promoting Objective Function for Neural Conversation Models (Li et al. 2016),
    https://arxiv.org/abs/1510.03055
"""

from __future__ import annotations

from collections.abc import Sequence

from datasets import Dataset
from sacrebleu.metrics.bleu import BLEU
from transformers import PreTrainedTokenizerBase

from textvae.errors import UserError
from textvae.evaluation.evaluate import evaluate
from textvae.models.language import TextVAEModel
from textvae.text.batches import Collator, evaluation_loader, tokenize


def bleu_metric(tokenize: str = "13a", *, effective_order: bool = False) -> BLEU:
    """SacreBLEU's BLEU with one of its tokenizers.

    Args:
        tokenize: its name, such as "13a", "char", or "none" for text that is split by blanks already.
        effective_order: for single sentences: of fewer than 4-grams where a sentence is shorter.

    Raises:
        UserError: if there is no such tokenizer, or it needs something that is not installed.
    """
    if tokenize not in BLEU.TOKENIZERS:
        raise UserError(f"expected tokenize among {', '.join(BLEU.TOKENIZERS)}, got {tokenize!r}")
    try:
        # Forced, that is without its advice on text that is already split.
        return BLEU(tokenize=tokenize, effective_order=effective_order, force=True)
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"expected what sacreBLEU needs for tokenize={tokenize!r}, found none: install sacrebleu[ja] or "
            "sacrebleu[ko], or take char"
        ) from error


def self_bleu(samples: Sequence[str], tokenize: str = "13a") -> float:
    """The mean BLEU-4 of each sample with all others as its references, 0 to 100: the lower, the more various.

    Sentence BLEU of sacreBLEU with exponential smoothing, and of fewer than 4-grams where a sample is shorter. It rises
    with the number of samples, so compare equal numbers; its cost grows with their square.

    Args:
        samples: n sentences.
        tokenize: see `bleu_metric`.

    Raises:
        UserError: if there are fewer than two.

    Example:
        >>> round(self_bleu(["a dog runs home", "a dog runs home", "the cat sleeps there now"]), 1)
        66.7
    """
    if len(samples) < 2:
        raise UserError(f"expected 2 samples or more, got {len(samples)}: the others are the references")
    metric = bleu_metric(tokenize, effective_order=True)
    scores = [
        metric.sentence_score(sample, [*samples[:place], *samples[place + 1 :]]).score
        for place, sample in enumerate(samples)
    ]
    return sum(scores) / len(scores)


def distinct_n(samples: Sequence[str], n: int = 2) -> float:
    """The share of different ones among all n-grams of the samples, 0 to 1 (Li et al. 2016).

    N-grams do not cross sentences. It falls with the number of samples, so compare equal numbers.

    Args:
        samples: sentences.
        n: words of an n-gram.

    Raises:
        UserError: if no sample has n words.

    Example:
        >>> distinct_n(["a b a b", "b a"], n=2)
        0.5
    """
    found = ngrams(samples, n)
    if not found:
        raise UserError(f"expected samples of {n} words or more, got none: take a smaller n")
    return len(set(found)) / len(found)


def ngrams(samples: Sequence[str], n: int, tokenize: str = "13a") -> list[tuple[str, ...]]:
    """The n-grams of words of the samples, none of which crosses sentences.

    Args:
        samples: sentences.
        n: words of an n-gram.
        tokenize: see `bleu_metric`.
    """
    split = bleu_metric(tokenize).tokenizer
    words = [split(sample).split() for sample in samples]
    return [tuple(row[start : start + n]) for row in words for start in range(len(row) - n + 1)]


def perplexity(
    model: TextVAEModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], batch_size: int = 32
) -> float:
    """The perplexity per token of texts under a language model, exact; EOS is a token.

    Forward: a model of the data and sampled texts. Reverse: a model of samples and held-out data. Only those of
    models with one tokenizer compare.

    Args:
        model: a language model, ``latent_size`` 0.
        tokenizer: the model's.
        texts: sentences.
        batch_size: sentences at once.

    Raises:
        UserError: if the model has a latent, or there is no text.
    """
    if model.config.latent_size:
        raise UserError(
            f"expected a language model, got one with latent_size {model.config.latent_size}: its likelihood is only "
            "bounded; train one with model.latent_size=0"
        )
    if not texts:
        raise UserError("expected texts to measure, got none")
    tokens = tokenize(Dataset.from_dict({"text": list(texts)}), tokenizer)
    return evaluate(model, evaluation_loader(tokens, Collator.for_tokenizer(tokenizer), batch_size)).ppl
