"""Statistics of a corpus: amount and lengths of its texts, kind of language, and the vocabulary it supports."""

from __future__ import annotations

import math
import random
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise

import numpy as np
from datasets import Dataset

from textvae.support.errors import UserError
from textvae.text.tokenizer import SPECIAL_TOKENS, UNK, train_sentencepiece

SAMPLE = 20_000
"""Maximum number of texts in the sample."""

SAMPLED_CHARACTERS = 10_000_000
"""Maximum number of characters in the sample, so a sample of long documents has fewer texts."""

TRIAL_CHARACTERS = 500_000
"""Maximum number of characters for the trial of SentencePiece, which takes a second for this many."""

PAIRS = 10
"""A pair of characters counts as a word if it occurs at least this often: few pairs of neighbours are words."""

ALWAYS = 256 + len(SPECIAL_TOKENS)
"""Number of pieces in every vocabulary: the bytes that spell rare characters, and the special tokens."""

COVERAGE = 0.9995
"""SentencePiece's default character coverage: the share of the characters that have their own piece."""

WORD = re.compile(r"\w+|[^\w\s]")
ATTACHED = re.compile(
    r"""[("'\u201c\u00ab\[]\w.*|.*\w["')\u201d\u00bb\]]?[.,;:!?]|.*\w["')\u201d\u00bb\]]""", re.DOTALL
)
"""A word with a mark stuck to it, as in raw text: ``dog.`` or ``(dog``, but neither ``.`` nor ``don't``."""

UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003134f]"
)
"""A character of a script without blanks between words: Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese."""


@dataclass(frozen=True)
class Lengths:
    """The lengths of texts, in words or in characters.

    Attributes:
        ordered: one length for each text, in ascending order.
    """

    ordered: tuple[int, ...]

    @classmethod
    def of(cls, lengths: Iterable[int]) -> Lengths:
        """Make a `Lengths` from lengths in any order."""
        return cls(tuple(sorted(lengths)))

    @cached_property
    def _sums(self) -> list[int]:
        """Entry i is the sum of the i smallest lengths."""
        return [0, *np.cumsum(self.ordered).tolist()]

    @property
    def total(self) -> int:
        """The sum of all lengths."""
        return self._sums[-1]

    @property
    def mean(self) -> float:
        """The mean length."""
        return self.total / len(self.ordered)

    def quantile(self, share: float) -> int:
        """The smallest length that at least ``share`` of the texts do not exceed, 0 <= share <= 1."""
        position = int(np.ceil(share * len(self.ordered) - 1e-9)) - 1
        return self.ordered[max(0, position)]

    def longer(self, maximum: float) -> float:
        """The share of the texts that are longer than ``maximum``."""
        return 1 - bisect_right(self.ordered, maximum) / len(self.ordered)

    def kept(self, maximum: float) -> float:
        """The sum of all lengths after each is cut to ``maximum``."""
        short = bisect_right(self.ordered, maximum)
        long = len(self.ordered) - short
        return self._sums[short] + (long * maximum if long else 0)


@dataclass(frozen=True)
class TokenLengths:
    """Lengths of texts in tokens, including EOS, if all tokens had the same length.

    Attributes:
        lengths: lengths of the texts in words or characters.
        of_token: words or characters in a token.
    """

    lengths: Lengths
    of_token: float

    def quantile(self, share: float) -> float:
        """The length that at least ``share`` of the texts do not exceed."""
        return self.lengths.quantile(share) / self.of_token + 1

    def mean(self, maximum: float = math.inf) -> float:
        """The mean length after each text is cut to ``maximum``."""
        kept = self.lengths.kept((maximum - 1) * self.of_token) / len(self.lengths.ordered)
        return kept / self.of_token + 1

    def cut(self, maximum: float) -> tuple[float, float]:
        """The share of the texts that are longer than ``maximum``, and the share of all tokens beyond it."""
        return self.lengths.longer((maximum - 1) * self.of_token), 1 - self.mean(maximum) / self.mean()


@dataclass(frozen=True)
class Statistics:
    """Statistics of a corpus. All but the first three are measured on a sample; counts are scaled up to the corpus.

    A unit is a word or a punctuation mark; in a language without blanks, a pair of neighbouring characters.

    Attributes:
        texts: number of texts.
        distinct: number of different texts.
        total_characters: number of characters in all texts.
        words: lengths of the sampled texts in words, split at blanks.
        characters: lengths of the same texts in characters.
        growth: how the vocabulary grows over the sample: pairs of units read and different units among them.
        blanks: share of the texts that have a blank between words.
        unspaced: share of the characters that belong to scripts without blanks between words.
        attached: share of the words with a mark attached; near 0 in text that is already tokenised.
        marked: share of the texts in which ``<unk>`` stands for a word.
        unseen: share of the words in one half of the sample that occur less than twice in the other half.
        repeated_words: number of different words, split at blanks, that occur at least twice in the corpus.
        repeated_units: number of different units that occur at least twice in the corpus; for pairs of characters, few
            of which are words, at least `PAIRS` times.
        alphabet: how often each character occurs in the sample, the most frequent first.
        most_pieces: the largest vocabulary that SentencePiece's BPE can learn from the texts, at most `PIECES`.
        compression: pairs of a size of such a vocabulary, ascending, and the mean number of characters per piece.
    """

    texts: int
    distinct: int
    total_characters: int
    words: Lengths
    characters: Lengths
    growth: tuple[tuple[int, int], ...]
    blanks: float
    unspaced: float
    attached: float
    marked: float
    unseen: float
    repeated_words: int
    repeated_units: int
    alphabet: tuple[int, ...]
    most_pieces: int
    compression: tuple[tuple[int, float], ...]

    @property
    def sampled(self) -> int:
        """Number of texts in the sample."""
        return len(self.characters.ordered)

    @property
    def has_blanks(self) -> bool:
        """Whether blanks divide the words, because the language has them or a tokenizer has added them."""
        return blanks_divide(self.unspaced, self.blanks, self.words.total / self.characters.total)

    def tokens(self, kind: str, vocabulary_size: int) -> TokenLengths:
        """The lengths of the texts in tokens, for a tokenizer of this kind and size."""
        if kind == "words":
            return TokenLengths(self.words, 1.0)
        return TokenLengths(self.characters, self.characters_per_piece(vocabulary_size))

    def characters_per_piece(self, vocabulary_size: int) -> float:
        """The mean number of characters per piece, interpolated between the sizes that were tried."""
        sizes, found = zip(*self.compression, strict=True)
        return float(np.interp(np.log(vocabulary_size), np.log(sizes), found))

    @property
    def repeated_characters(self) -> int:
        """Number of different characters that occur at least twice in the sample."""
        return sum(count > 1 for count in self.alphabet)

    def coverage(self, characters: int) -> float:
        """The share of the text that the most frequent ``characters`` characters make up."""
        return sum(self.alphabet[:characters]) / sum(self.alphabet)

    def characters_of(self, share: float) -> int:
        """How many characters, the most frequent first, make up this share of the text."""
        return int(np.searchsorted(np.cumsum(self.alphabet), share * sum(self.alphabet))) + 1


def statistics_of(texts: Iterable[str] | Dataset, *, sample: int = SAMPLE, seed: int = 0) -> Statistics:
    """Compute the `Statistics` of texts, which are read once.

    Texts, characters and duplicates are counted over all texts; all else is measured on a random sample. Memory holds
    the sample and eight bytes for each text.

    Args:
        texts: anything that yields strings, or a data set with a column ``text``. Blank texts are left out.
        sample: maximum number of texts in the sample.
        seed: seed for drawing the sample.

    Raises:
        UserError: if there is no text.

    Example:
        >>> found = statistics_of(["a man walks", "a dog walks", "a man"] * 10)
        >>> found.texts, found.distinct, found.words.quantile(0.5)
        (30, 3, 3)
    """
    strings = _strings(texts) if isinstance(texts, Dataset) else texts
    chosen, count, distinct, characters = _drawn(strings, sample, random.Random(seed))
    if not chosen:
        raise UserError("expected text to look at, got none: check the corpus and its column")
    scale = count / len(chosen)
    alphabet = Counter("".join("".join(text.split()) for text in chosen))
    unspaced = sum(n for character, n in alphabet.items() if UNSPACED.match(character)) / sum(
        alphabet.values()
    )
    split = [text.split() for text in chosen]
    lengths = Lengths.of(map(len, split)), Lengths.of(map(len, chosen))
    blanks = sum(len(text) > 1 for text in split) / len(split)
    pairs = not blanks_divide(unspaced, blanks, lengths[0].total / lengths[1].total)
    units = [_units(text, pairs) for text in chosen]
    words = Counter(word for text in split for word in text)
    most_pieces, compression = _trial(chosen)
    return Statistics(
        texts=count,
        distinct=distinct,
        total_characters=characters,
        words=lengths[0],
        characters=lengths[1],
        growth=_growth(units),
        blanks=blanks,
        unspaced=unspaced,
        attached=sum(n for word, n in words.items() if ATTACHED.fullmatch(word)) / words.total(),
        marked=sum(UNK in text for text in split) / len(split),
        unseen=_unseen(split),
        repeated_words=_repeated(words, 2 / scale),
        repeated_units=_repeated(Counter(chain(*units)), (PAIRS if pairs else 2) / scale),
        alphabet=tuple(sorted(alphabet.values(), reverse=True)),
        most_pieces=most_pieces,
        compression=compression,
    )


def _strings(rows: Dataset) -> Iterator[str]:
    """The texts, read in batches: reading row by row takes a hundred times as long."""
    for batch in rows.select_columns(["text"]).iter(1_000):
        yield from batch["text"]


def _drawn(texts: Iterable[str], sample: int, draw: random.Random) -> tuple[list[str], int, int, int]:
    """A random sample in random order, and the numbers of texts, of different texts and of characters."""
    chosen: list[str] = []
    hashes: list[int] = []
    characters = 0
    for text in texts:
        if not (text := text.strip()):
            continue
        # Reservoir sampling: each text is equally likely to be in the sample, however many there are.
        place = len(chosen) if len(chosen) < sample else int(draw.random() * (len(hashes) + 1))
        if place < sample:
            chosen[place : place + 1] = [text]
        hashes.append(hash(text))
        characters += len(text)
    draw.shuffle(chosen)
    distinct = len(np.unique(np.array(hashes, dtype=np.int64)))
    return _at_most(chosen, SAMPLED_CHARACTERS), len(hashes), distinct, characters


def _at_most(texts: Sequence[str], characters: int) -> list[str]:
    """The first texts with at most this many characters in total, but at least one text."""
    ends = np.cumsum([len(text) for text in texts])
    return list(texts[: max(1, int(np.searchsorted(ends, characters, side="right")))])


def blanks_divide(unspaced: float, blanks: float, words: float) -> bool:
    """Whether blanks divide words: not if the script has none, unless a tokenizer has added many to most texts.

    Args:
        unspaced: share of the characters in scripts without blanks.
        blanks: share of the texts that have a blank.
        words: number of stretches between blanks, divided by the number of characters.
    """
    return unspaced < 0.3 or (blanks > 0.5 and words > 0.25)


def _units(text: str, pairs: bool) -> list[str]:
    """The words and marks of a text; with ``pairs``, its pairs of neighbouring characters instead."""
    found = WORD.findall(text)
    return list(map("".join, pairwise("".join(found)))) if pairs else found


def _growth(units: Sequence[Sequence[str]], points: int = 8) -> tuple[tuple[int, int], ...]:
    """The units read and the different units among them, after each of ``points`` equal parts of the texts."""
    known: set[str] = set()
    read, found = 0, []
    marks = {len(units) * point // points for point in range(1, points + 1)}
    for number, text in enumerate(units, 1):
        known.update(text)
        read += len(text)
        if number in marks:
            found.append((read, len(known)))
    return tuple(found)


def _unseen(split: Sequence[Sequence[str]]) -> float:
    """Share of the words in the second half of the texts that occur less than twice in the first; 1 for one text."""
    half = len(split) // 2
    known = Counter(word for text in split[:half] for word in text)
    rest = Counter(word for text in split[half:] for word in text)
    return sum(n for word, n in rest.items() if known[word] < 2) / rest.total()


def _repeated(counts: Counter[str], times: float) -> int:
    """How many kinds occur at least ``times`` times."""
    return sum(n >= times for n in counts.values())


def _trial(texts: Sequence[str]) -> tuple[int, tuple[tuple[int, float], ...]]:
    """Try BPE: the largest number of pieces, and the characters per piece for some vocabulary sizes.

    It learns from four fifths of the texts and is measured on the rest, since a run also trains on only a part.
    """
    texts = _at_most(texts, TRIAL_CHARACTERS)
    learnt = texts[: max(1, len(texts) * 4 // 5)]
    measured = texts[len(learnt) :] or texts
    models = [train_sentencepiece(learnt, None, "bpe", COVERAGE)]
    while (smaller := models[0].get_piece_size() // 2) > ALWAYS + len({*"".join(learnt)}):
        models.insert(0, train_sentencepiece(learnt, smaller, "bpe", COVERAGE))
    characters = sum(map(len, measured))
    return models[-1].get_piece_size(), tuple(
        (model.get_piece_size(), characters / sum(map(len, model.encode(measured)))) for model in models
    )
