"""One function for each setting: choose it, with the reason, from the corpus and the available time.

The rules are based on what the measured recipes have in common (recipes/RESULTS.md), and on short runs on parts of
captions, reviews and Japanese text, compared on validation texts only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from textvae.text.statistics import ALWAYS, COVERAGE, Statistics, TokenLengths
from textvae.text.tokenizer import PIECES, SPECIAL_TOKENS

FEW_TEXTS = 100
"""With fewer different texts, a model memorises them instead of learning their language."""

WORDS = 10_000
"""Largest vocabulary of words, that of Penn Treebank; more would slow every step for a few rare words."""

LEAST_COVERAGE = 0.98
"""The smallest character coverage that SentencePiece accepts."""

COMMON = 400
"""Pieces for units that occur once, so that the words of a small corpus are not spelt out."""

LENGTHS = (200, 150, 100, 70, 50)
"""Maximum lengths, of which the available time decides: an LSTM reads tokens one after the other."""

FEWEST_STEPS, STEPS = 600, 2_000
"""The fewest steps in which the rate comes near its target, and steps that help even a small model."""

PASSES = 50
"""After this many passes over the texts, more passes only overfit, even with much dropout."""

BATCHES = (64, 32, 16, 8)
"""Batch sizes: those of the measured recipes, and smaller ones for few texts or little time. For the same total number
of captions, 2,000 steps of 8 reached 65 nats, 1,000 of 16 reached 68, and 500 of 32 reached 73."""

HELD_OUT = 1_000
"""Largest validation split and test split: enough texts to see differences of a nat."""

ENOUGH_TEXTS, ENOUGH_CHARACTERS = 20_000, 5_000_000
"""At least this much text is prepared for training, so that the tokenizer knows the language: the smaller of both."""

EVALUATIONS = 5
"""Number of evaluations during training."""

DRAWS = (100, 50, 20, 10, 5, 2, 1)
"""Numbers of draws of z for the bound on log p(x), of which the time decides; more draws make it tighter."""

LONG, DOCUMENT = 40, 100
"""Mean numbers of tokens: in texts longer than the first, previous words tell the decoder much of the topic; in texts
longer than the second, the words matter more than their order."""


class Choice(NamedTuple):
    """A value in a recipe and its reason.

    Attributes:
        key: the key in the recipe, ``section.key``.
        value: plain data, as YAML has it.
        reason: the reason in plain English, without a full stop.
    """

    key: str
    value: Any
    reason: str


class Tier(NamedTuple):
    """Sizes of a model and the data and time that they need.

    Attributes:
        embedding: size of the word vectors.
        hidden: units of the encoder and decoder.
        latent: dimensions of z.
        rate: learning rate.
        corpus: total tokens that the different texts need; with fewer, the model soon memorises them.
        seen: tokens that must fit in the training time; with fewer, a smaller model does better.
    """

    embedding: int
    hidden: int
    latent: int
    rate: float
    corpus: float
    seen: float


TIERS = (
    Tier(256, 512, 32, 2e-3, corpus=5e6, seen=1e7),
    Tier(128, 256, 32, 3e-3, corpus=5e4, seen=1e6),
    Tier(64, 128, 16, 4e-3, corpus=0, seen=0),
)
"""Measured sizes: those of the published models, of captions and the demo, and of the clusters. On 5,000 captions
(85,000 tokens), the second is 3 nats better than the third after the same number of steps, in twice the time."""


# ---- tokenizer


def tokenizer_kind(statistics: Statistics) -> Choice:
    """Words if the text is already tokenised and new text would have few unknown words; otherwise pieces."""
    key = "tokenizer.kind"
    if not statistics.has_blanks:
        return Choice(key, "sentencepiece", "there are no blanks between words")
    if statistics.attached >= 0.05:
        # With a vocabulary of words, "dog." and "dog" would have nothing in common.
        return Choice(
            key, "sentencepiece", f"raw text: {percent(statistics.attached)} of the words hold a mark"
        )
    if statistics.marked > 0.05:
        return Choice(key, "words", "words are split from marks already, and rare ones are <unk>")
    unknown = f"{percent(statistics.unseen)} of the words of new text would be unknown"
    if statistics.unseen < 0.03:
        return Choice(key, "words", f"words are split from marks already, and only {unknown}")
    return Choice(key, "sentencepiece", f"as words, {unknown}")


def algorithm() -> Choice:
    """BPE, because its pieces become whole words.

    The unigram model keeps only pieces that several words share, so its vocabulary for a small corpus is too small:
    half of the best size for 2,000 words. On 5,000 captions the bound is the same.
    """
    return Choice("tokenizer.algorithm", "bpe", "makes whole words of small corpora, too")


def word_vocabulary(statistics: Statistics) -> Choice:
    """All words that occur twice: a word that occurs once cannot be learnt, and UNK must occur in training."""
    size = min(WORDS, statistics.repeated_words + len(SPECIAL_TOKENS))
    reason = f"{statistics.repeated_words:,} words occur twice or more, and {WORDS:,} are enough"
    return Choice("tokenizer.vocabulary_size", size, reason)


def piece_vocabulary(statistics: Statistics) -> Choice:
    """A piece for each character and each unit that repeats; at most `PIECES`, and no more than SentencePiece finds.

    For 500 and 5,000 captions the bound is flat from half to twice that size, and worse for far fewer or far more
    pieces; for 2,000 Japanese sentences it is better for 1,500 pieces than for 2,500 or 4,900.
    """
    units = max(statistics.repeated_units, min(COMMON, statistics.growth[-1][1]))
    characters = max(statistics.repeated_characters, statistics.characters_of(LEAST_COVERAGE))
    wanted = min(PIECES, ALWAYS + characters + units)
    # Without the held-out texts fewer pieces are found; bytes and characters are always needed.
    needed = ALWAYS + len(statistics.alphabet)
    limit = statistics.most_pieces
    if limit < PIECES:
        limit = needed + max(0, limit - needed) * 4 // 5
    key, kind = "tokenizer.vocabulary_size", "words" if statistics.has_blanks else "pairs of characters"
    if limit < wanted:
        return Choice(key, limit, f"the texts have no more than {statistics.most_pieces:,} different pieces")
    return Choice(key, wanted, f"bytes, characters, and {units:,} {kind} that repeat; {PIECES:,} are enough")


def character_coverage(statistics: Statistics, vocabulary_size: int) -> Choice:
    """Pieces for the characters that occur twice, up to half of the vocabulary; the others are spelt in bytes."""
    repeated = statistics.repeated_characters
    kept = min(repeated, (vocabulary_size - ALWAYS) // 2)
    # Rounded down, because SentencePiece adds characters until they reach this share.
    share = math.floor(statistics.coverage(kept) * 1e4) / 1e4
    share = min(COVERAGE, max(LEAST_COVERAGE, share))
    reason = f"{repeated:,} of {len(statistics.alphabet):,} characters occur twice or more"
    return Choice("tokenizer.character_coverage", share, reason)


def maximum_length(tokens: TokenLengths, affordable: float) -> Choice:
    """A length that few texts exceed, or less if there is no time to read that much.

    Args:
        tokens: lengths of the texts.
        affordable: number of tokens that fit in the training time.
    """
    # There must be time for half of the steps that help even a small model.
    in_time = [n for n in LENGTHS if BATCHES[-1] * tokens.mean(n) * STEPS / 2 <= affordable]
    most = max(in_time, default=LENGTHS[-1])
    # Add a tenth, as lengths in tokens are estimates. In a large corpus, the longest texts are often not real texts.
    usual = 10 * math.ceil(max(tokens.quantile(0.995) * 1.1, 10) / 10)
    length = min(most, usual)
    texts, beyond = tokens.cut(length)
    reason = f"cuts {percent(texts)} of the texts, and of all tokens {percent(beyond)}"
    return Choice(
        "tokenizer.maximum_length", length, reason + ("; longer takes time" if most < usual else "")
    )


# ---- corpus


def held_out(split: str, texts: int, affordable: float) -> Choice:
    """A share of the texts, limited by what is enough and by the time to measure.

    Args:
        split: "validation" or "test".
        texts: number of different texts.
        affordable: number of texts that there is time to measure.
    """
    share = 0.1 if texts < HELD_OUT else 0.05
    wanted = max(2, round(share * texts))
    # Fewer than 50 would say nothing.
    size = min(wanted, HELD_OUT, max(50, int(affordable)))
    reason = f"{percent(share)} of the texts"
    if size < wanted:
        reason = "enough to measure on" if size == HELD_OUT else "as many as there is time to measure"
    return Choice(f"corpus.{split}_size", size, reason)


def maximum_train(texts: int, characters: float, affordable: float) -> Choice:
    """As many texts as fit in the training time; the others are not prepared.

    Args:
        texts: number of texts in the corpus.
        characters: mean number of characters in a text.
        affordable: about how many texts there is time to prepare and to train on once.
    """
    size = int(max(min(ENOUGH_TEXTS, ENOUGH_CHARACTERS / characters), affordable))
    if size >= texts:
        return Choice("corpus.maximum_train", None, "all of them")
    return Choice("corpus.maximum_train", size, f"there is no time to train on all {texts:,}")


# ---- model


def tier_for(corpus: float, seen: Callable[[Tier], float]) -> Tier:
    """The largest sizes for which the corpus and the time are enough.

    Args:
        corpus: number of tokens in the different texts.
        seen: returns how many tokens fit in the training time with the given sizes.
    """
    return next(
        tier for tier in TIERS if corpus >= tier.corpus and (not tier.seen or seen(tier) >= tier.seen)
    )


def sizes(tier: Tier, corpus: float) -> list[Choice]:
    """The sizes of a tier; the hidden size is last."""
    larger = [other for other in TIERS if other.hidden > tier.hidden and corpus >= other.corpus]
    reason = (
        "more would learn less in this time" if larger else f"for {rounded(corpus)} tokens of different texts"
    )
    return [
        Choice("model.latent_size", tier.latent, f"goes with {tier.hidden} units"),
        Choice("model.embedding_size", tier.embedding, f"goes with {tier.hidden} units"),
        Choice("model.hidden_size", tier.hidden, reason),
    ]


def parts() -> list[Choice]:
    """The parts with which all measured sentence models did best."""
    return [
        Choice("model.encoder.kind", "convolution", "finds what z can say sooner than an LSTM"),
        Choice("model.decoder.kind", "lstm", "writes better sentences than convolutions of the same cost"),
        Choice("model.tie_word_embeddings", True, "fewer parameters and better bounds"),
        Choice("model.initial_range", None, "torch's own initial weights, which go with AdamW"),
    ]


def bag_of_words(length: float) -> list[Choice]:
    """A second decoder, for a bag of words, which depends on z; in documents rare words have more weight.

    Args:
        length: mean number of tokens in a text.
    """
    found = [Choice("model.bag_of_words.kind", "softmax", "z must tell which words a text has")]
    if length >= DOCUMENT:
        found += [
            Choice("model.bag_of_words.hidden_size", None, "so that topics are directions of z"),
            Choice("model.bag_of_words.weights", "tf_idf", "most words of a document are function words"),
        ]
    if length >= LONG:
        return [
            *found,
            Choice("objective.bag_of_words", 3.0, "what a long text is about matters more than wording"),
        ]
    return [*found, Choice("objective.bag_of_words", 1.0, "counts as much as the sentence itself")]


def dropout(passes: float, few: bool) -> Choice:
    """More dropout if each text is seen more often.

    Args:
        passes: number of passes over the texts.
        few: whether there are so few texts that the model can only memorise them.
    """
    key = "model.decoder.dropout"
    if few:
        return Choice(key, 0.1, "so few texts can only be learnt by heart, which dropout hinders")
    rate = next(rate for most, rate in ((5, 0.1), (15, 0.3), (math.inf, 0.5)) if passes <= most)
    return Choice(key, rate, f"each text is seen {times(passes)}")


def word_dropout(length: float) -> Choice:
    """None for sentences, because it harms grammar; some for long texts, whose previous words reveal the topic.

    Args:
        length: mean number of tokens in a text.
    """
    key = "model.word_dropout"
    if length < LONG:
        return Choice(key, 0.0, "sentences become worse with it")
    return Choice(key, 0.2, "what the decoder does not see of a long text, z must say")


def target_rate(length: float, texts: int) -> Choice:
    """Nats of information in z about a text. Their share of the text's information falls with its length.

    2 √n nats for n tokens are near the best value for each corpus by itself: 7 for the embedded corpus (best: 6 to 8),
    9 for search snippets (8), 15 for news (16), 28 for newsgroups (30). Distinguishing N texts takes log N nats; twice
    that is all that can be learnt from N texts.

    Args:
        length: mean number of tokens in a text.
        texts: number of different texts to train on.
    """
    wanted, most = min(30.0, max(4.0, 2 * math.sqrt(length))), 2 * math.log(texts)
    reason = f"nats of z for a text of {length:.0f} tokens"
    if most < wanted:
        reason = f"nats, twice what tells {texts:,} texts apart"
    return Choice("objective.target_rate", round(2 * min(wanted, most)) / 2, reason)


# ---- training


def batch_size(texts: int, steps: Callable[[int], float]) -> Choice:
    """The largest batch that allows enough steps within the time and before the model overfits.

    Args:
        texts: number of texts to train on.
        steps: returns how many steps of a given batch size fit in the time.
    """
    key = "training.per_device_train_batch_size"
    for size in BATCHES[:-1]:
        if min(steps(size), PASSES * texts / size) >= STEPS:
            return Choice(key, size, f"allows {STEPS:,} steps or more")
    few = PASSES * texts / BATCHES[-2] < STEPS
    reason = "there are few texts" if few else "more steps serve better than larger ones"
    return Choice(key, BATCHES[-1], reason)


def max_steps(affordable: float, batch_size: int, texts: int) -> Choice:
    """All steps that fit in the time, but not so many that the model only overfits.

    Args:
        affordable: number of steps that fit in the time; at least `FEWEST_STEPS` are taken.
        batch_size: texts in a step.
        texts: number of texts to train on.
    """
    enough = max(FEWEST_STEPS, PASSES * texts / batch_size)
    steps = int(min(max(affordable, FEWEST_STEPS), enough)) // EVALUATIONS * EVALUATIONS
    reason = "all there is time for" if affordable <= enough else "more would only overfit"
    if affordable < FEWEST_STEPS:
        reason = "in fewer steps hardly anything is learnt"
    return Choice(
        "training.max_steps", steps, f"each text is seen {times(steps * batch_size / texts)}: {reason}"
    )


def optimiser(tier: Tier, steps: int) -> list[Choice]:
    """AdamW with a learning rate that falls linearly after a short warm-up."""
    return [
        Choice("training.optim", "adamw_torch_fused", "comes further in a short time than SGD"),
        Choice("training.learning_rate", tier.rate, f"goes with {tier.hidden} units"),
        Choice("training.lr_scheduler_type", "linear", "falls to 0 at the last step"),
        Choice("training.warmup_steps", min(100, steps // 20), "5 % of the steps, 100 at most"),
        Choice("training.max_grad_norm", 5.0, "cuts the rare large gradients of an LSTM"),
    ]


def intervals(steps: int) -> list[Choice]:
    """Log and evaluate at fixed shares of the run, so that short runs show some lines and long runs not too many."""
    seldom = max(1, steps // EVALUATIONS)
    return [
        Choice("training.logging_steps", max(1, steps // 40), "40 lines in a run"),
        Choice("training.eval_strategy", "steps", "as a pass may be longer than the run"),
        Choice("training.eval_steps", seldom, f"{EVALUATIONS} evaluations in a run"),
        Choice("training.save_strategy", "steps", "after each evaluation"),
        Choice("training.save_steps", seldom, "after each evaluation"),
    ]


def kept_model(few: bool) -> Choice:
    """The best model by validation; for few texts the last, as validation is best before words are learnt.

    Args:
        few: whether there are so few texts that the model can only memorise them.
    """
    reason = "new texts look best before words are learnt" if few else "the best by validation is kept"
    return Choice("training.load_best_model_at_end", not few, reason)


def evaluation_batch(length: float) -> int:
    """Texts that are measured at once: a power of two, at most 128, with at most about 16,384 tokens.

    Args:
        length: number of tokens in the longest text.
    """
    return 2 ** max(0, min(7, math.floor(math.log2(16_384 / length))))


def samples(in_time: Callable[[int], bool]) -> Choice:
    """The largest number of draws of z that fits in the time.

    Args:
        in_time: returns whether there is time for a given number of draws.
    """
    draws = next((draws for draws in DRAWS if in_time(draws)), DRAWS[-1])
    return Choice("evaluation.samples", draws, "draws of z for a text's bound, as many as there is time for")


# ---- numbers in words


def percent(share: float) -> str:
    """A share in words: "0 %", "under 0.1 %", "2.3 %", "54 %".

    Example:
        >>> [percent(share) for share in (0, 0.0004, 0.0234, 0.1, 0.537)]
        ['0 %', 'under 0.1 %', '2.3 %', '10 %', '54 %']
    """
    if 0 < share < 0.001:
        return "under 0.1 %"
    return (
        f"{100 * share:.0f} %" if share >= 0.0995 or not share else f"{100 * share:.1f} %".replace(".0 ", " ")
    )


def times(passes: float) -> str:
    """How often something happens, in words.

    Example:
        >>> times(0.512), times(3.61), times(99.6)
        ('0.5 times', '3.6 times', '100 times')
    """
    return f"{passes:.1f} times" if passes < 10 else f"{passes:.0f} times"


def rounded(number: float) -> str:
    """A number with two significant figures.

    Example:
        >>> rounded(1234567), rounded(74.6)
        ('1,200,000', '75')
    """
    return f"{float(f'{number:.2g}'):,.0f}"
