"""Choose which words of a corpus are counted, in any language and without a list of stop words."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator
from sklearn.feature_extraction.text import CountVectorizer
from transformers import PreTrainedTokenizerBase

from textvae.support.errors import UserError
from textvae.support.files import replacing
from textvae.support.options import Share, Size, check_fields
from textvae.text.statistics import UNSPACED, blanks_divide

FILE = "vocabulary.json"
"""Name of the vocabulary file in a run folder."""

LOOKED_AT = 1_000
"""Number of texts used to decide whether blanks divide the words."""

FEW = 50
"""A word that occurs in one of this many documents is frequent enough, whatever ``minimum_documents`` is."""


def _pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"expected a regular expression ({error})") from error
    return pattern


@dataclass(frozen=True)
class CountOptions:
    r"""The ``counts`` in a recipe's ``tokenizer`` section: which words a bag of words has.

    Attributes:
        units: "words" are the matches of ``pattern``; "characters" are runs of ``length`` characters without blanks,
            for languages without blanks between words; "tokens" are those of the run's tokenizer, which the rest of
            the section describes. None: characters if the script of the corpus has no blanks, words otherwise.
        pattern: a regular expression.
        length: length of the runs of characters.
        lower: whether text is lower-cased first.
        minimum_documents: words in fewer documents are left out; in small corpora, one document in 50 is enough.
        maximum_share: a word that is spread over a larger share of the documents is a stop word and is left out.
        vocabulary_size: at most this many words are counted: those that occur in the most documents.
    """

    units: Literal["words", "characters", "tokens"] | None = None
    pattern: Annotated[str, AfterValidator(_pattern)] = r"\b\w\w+\b"
    length: Size = 2
    lower: bool = True
    minimum_documents: Size = 3
    maximum_share: Share = 0.1
    vocabulary_size: Size = 8_000

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Vocabulary:
    """The words that are counted, and the number of documents with each.

    Attributes:
        documents: number of documents in the train split that have each word, most first; a word's position is its
            number.
        stop_words: words that were left out because too many documents have them.
        total: number of documents of the train split.
        options: the options, with the ``units`` that were chosen.
        tokenizer: finds the units if they are tokens.

    Example:
        >>> texts = ["the dog barks", "the dog sleeps", "the bank pays", "the bank lends"]
        >>> found = Vocabulary.learn(texts, CountOptions(maximum_share=0.5, vocabulary_size=2))
        >>> found.words, found.stop_words
        (['bank', 'dog'], frozenset({'the'}))
        >>> found.counts("The bank and the other bank")
        ({0: 2}, 2)
    """

    documents: Mapping[str, int]
    stop_words: frozenset[str]
    total: int
    options: CountOptions
    tokenizer: PreTrainedTokenizerBase | None = field(default=None, compare=False)

    @classmethod
    def learn(
        cls, texts: Iterable[str], options: CountOptions, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> Vocabulary:
        """Learn the vocabulary of texts, which are read once.

        A word's share of the documents is exp(H) / n, where H is the entropy of the distribution of its occurrences
        over the n documents. If all documents with the word have it equally often, this is their share of all
        documents. It is smaller if a few documents repeat the word: such a word is what these documents are about.

        Args:
            texts: the train split.
            options: which words are counted.
            tokenizer: finds the units if they are tokens.

        Raises:
            UserError: if no text has a word.
        """
        texts = iter(texts)
        first = list(islice(texts, LOOKED_AT))
        options = _decided(options, first)
        units = _finder(options, tokenizer)
        found = _Spread()
        for each in (first, texts):
            for text in each:
                found.add(Counter(units(text)))
        return cls(*found.chosen(options), found.total, options, tokenizer)

    @classmethod
    def load(cls, folder: str | Path, tokenizer: Callable[[], PreTrainedTokenizerBase]) -> Vocabulary:
        """Read what `save` wrote.

        Args:
            folder: the folder of a run.
            tokenizer: loads the run's tokenizer if the units are tokens.

        Raises:
            UserError: if the file is missing or damaged.
        """
        path = Path(folder) / FILE
        try:
            stored = path.read_text(encoding="utf-8")
            own = tokenizer() if json.loads(stored)["options"]["units"] == "tokens" else None
            return cls.from_json(stored, own)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"expected a vocabulary in {path}, got none or a damaged one ({error}): copy the run again"
            ) from error

    @classmethod
    def from_json(cls, text: str, tokenizer: PreTrainedTokenizerBase | None = None) -> Vocabulary:
        """Make a vocabulary from what `to_json` returned."""
        stored: dict[str, Any] = json.loads(text)
        options = CountOptions(**stored["options"])
        return cls(stored["documents"], frozenset(stored["stop_words"]), stored["total"], options, tokenizer)

    def __reduce__(self) -> Any:
        """Pickle as one string: `datasets` hashes what prepares its rows, which takes seconds for a dict of words."""
        return Vocabulary.from_json, (self.to_json(), self.tokenizer)

    def save(self, folder: str | Path) -> None:
        """Write everything but the tokenizer to a folder."""
        with replacing(Path(folder) / FILE) as partial:
            partial.write_text(self.to_json(), encoding="utf-8")

    def to_json(self) -> str:
        """Everything but the tokenizer, as JSON."""
        stored = {
            "options": asdict(self.options),
            "total": self.total,
            "documents": dict(self.documents),
            "stop_words": sorted(self.stop_words),
        }
        return json.dumps(stored, indent=1, ensure_ascii=False) + "\n"

    @cached_property
    def words(self) -> list[str]:
        """The words in the order of their numbers."""
        return list(self.documents)

    def __len__(self) -> int:
        """Number of counted words."""
        return len(self.documents)

    def counts(self, text: str) -> tuple[dict[int, int], int]:
        """The count of each word of a text, by word number; and how many words are neither counted nor stop words."""
        found: Counter[int] = Counter()
        unseen = 0
        for unit in self.units(text):
            place = self._places.get(unit)
            if place is not None:
                found[place] += 1
            elif unit not in self.stop_words:
                unseen += 1
        return dict(sorted(found.items())), unseen

    @cached_property
    def units(self) -> Callable[[str], Sequence[str]]:
        """The function that finds all words of a text, counted or not."""
        return _finder(self.options, self.tokenizer)

    def vectorizer(self) -> CountVectorizer:
        """A `CountVectorizer` that counts the same words."""
        return CountVectorizer(analyzer=self.units, vocabulary=self._places)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.documents)}


class _Spread:
    """How the occurrences of each word are spread over the documents."""

    def __init__(self) -> None:
        self.total = 0
        self.documents: Counter[str] = Counter()
        self.occurrences: Counter[str] = Counter()
        self.logarithms: dict[str, float] = {}

    def add(self, counts: Counter[str]) -> None:
        """Add the counts of a document."""
        self.total += 1
        self.documents.update(counts.keys())
        self.occurrences.update(counts)
        for word, count in counts.items():
            if count > 1:
                self.logarithms[word] = self.logarithms.get(word, 0.0) + count * math.log(count)

    def share(self, word: str) -> float:
        """exp(H) / n with H = log N - sum_d c_d log c_d / N, where c_d are the counts of a word with N occurrences."""
        occurrences = self.occurrences[word]
        return occurrences * math.exp(-self.logarithms.get(word, 0.0) / occurrences) / self.total

    def chosen(self, options: CountOptions) -> tuple[dict[str, int], frozenset[str]]:
        """The number of documents with each counted word, and the stop words.

        If every word would be a stop word, none is: the corpus is too small or too uniform to find stop words.
        """
        if not self.documents:
            raise UserError(
                f"expected documents with words, got {self.total} without: check the corpus, or set "
                "tokenizer.counts.units=characters"
            )
        least = min(options.minimum_documents, 1 + self.total // FEW)
        frequent = [word for word, count in self.documents.items() if count >= least] or list(self.documents)
        stop = frozenset(word for word in frequent if self.share(word) > options.maximum_share)
        if len(stop) == len(frequent):
            stop = frozenset()
        kept = sorted(
            (word for word in frequent if word not in stop), key=lambda word: (-self.documents[word], word)
        )
        return {word: self.documents[word] for word in kept[: options.vocabulary_size]}, stop


def _decided(options: CountOptions, texts: Sequence[str]) -> CountOptions:
    """The options, with ``units`` chosen from the texts if it is None."""
    if options.units is not None:
        return options
    units: Literal["words", "characters"] = "words" if _have_blanks(texts) else "characters"
    return CountOptions(**asdict(options) | {"units": units})


def for_texts(
    texts: Sequence[str], options: CountOptions
) -> tuple[CountOptions, Callable[[str], Sequence[str]]]:
    """The options with the units that suit the texts, and the function that finds the units of a text in their order.

    Args:
        texts: texts of the language; the first `LOOKED_AT` decide if the options say no units.
        options: options whose units are not tokens.
    """
    decided = _decided(options, texts[:LOOKED_AT])
    return decided, _finder(decided, None)


def _have_blanks(texts: Sequence[str]) -> bool:
    """Whether blanks divide the words of the texts."""
    split = [text.split() for text in texts]
    words = sum(map(len, split))
    characters = max(1, sum(len(word) for text in split for word in text))
    unspaced = sum(len(UNSPACED.findall(text)) for text in texts) / characters
    return blanks_divide(
        unspaced, sum(len(text) > 1 for text in split) / max(1, len(split)), words / characters
    )


def _finder(
    options: CountOptions, tokenizer: PreTrainedTokenizerBase | None
) -> Callable[[str], Sequence[str]]:
    """Return a function that finds the units of a text."""
    find: Callable[[str], Sequence[str]]
    if options.units == "tokens":
        assert tokenizer is not None
        find = tokenizer.tokenize
    elif options.units == "characters":
        find = _Runs(options.length)
    else:
        pattern = re.compile(options.pattern)
        find = lambda text: [match.group() for match in pattern.finditer(text)]  # noqa: E731
    return (lambda text: find(text.lower())) if options.lower else find


@dataclass(frozen=True)
class _Runs:
    """Finds runs of this many neighbouring characters that contain no blanks or marks."""

    length: int

    def __call__(self, text: str) -> list[str]:
        """All runs; a stretch that is shorter counts as a run."""
        return [run for stretch in re.findall(r"\w+", text) for run in self._of(stretch)]

    def _of(self, stretch: str) -> Iterator[str]:
        for start in range(max(1, len(stretch) - self.length + 1)):
            yield stretch[start : start + self.length]
