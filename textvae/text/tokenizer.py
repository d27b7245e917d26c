"""Tokenizers: SentencePiece for raw text, a word list for text that is already tokenised.

Both are ordinary Hugging Face tokenizers (one `tokenizer.json`, no code of ours needed to load it), with the
special tokens `<pad>` 0, `<s>` 1, `</s>` 2, `<unk>` 3. They do not add these to a text: `batches.py` does.
"""

import io
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import sentencepiece
from annotated_types import Ge, Le, Lt
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tqdm import tqdm
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from textvae.support.errors import UserError
from textvae.support.options import Size, check_arguments
from textvae.text.given import each_text

SPECIAL_TOKENS = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
UNK = SPECIAL_TOKENS["unk_token"]

PIECES = 8_000  # default vocabulary size: enough for sentences, small enough for a softmax
SMALLEST = len(SPECIAL_TOKENS) + 1  # the smallest vocabulary that holds a token of the text
SENTENCES = 2_000_000  # the trainer holds its text in memory, so it samples this many from a larger corpus
SPACE = "\u2581"  # how SentencePiece writes a space inside its pieces
CUT = "\x01"  # no piece may cross this mark
UNTRAINABLE = re.compile(
    "[\x00\x01\t\n\r\u2581\u2585]"
)  # SentencePiece reserves these, so they are spelt in bytes
PART = 1_000  # characters: SentencePiece overflows on much longer words, and long repeated lines take hours

VocabularySize = Annotated[int, Ge(SMALLEST), Lt(2**31)]
"""A number of tokens, including the special ones and at least one other."""
Coverage = Annotated[float, Ge(0.98), Le(1)]
"""A fraction of the characters that SentencePiece accepts."""

logger = logging.getLogger(__name__)


class Texts(Iterable[str]):
    """Texts that can be read more than once.

    Args:
        read: returns a new iterator over all texts.
    """

    def __init__(self, read: Callable[[], Iterator[str]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[str]:
        return self._read()


class TooSmallError(UserError):
    """The vocabulary size has no room for bytes, special tokens and characters.

    Args:
        message: the message for the user.
        least: the smallest size that has enough room.
    """

    def __init__(self, message: str, least: int) -> None:
        super().__init__(message)
        self.least = least


def train_tokenizer(
    texts: Any,
    kind: Literal["sentencepiece", "words"] = "sentencepiece",
    *,
    vocabulary_size: VocabularySize | None = None,
    algorithm: Literal["unigram", "bpe"] = "unigram",
    minimum_count: Size = 1,
    character_coverage: Coverage = 0.9995,
    lower: bool = False,
) -> PreTrainedTokenizerFast:
    """Learn a tokenizer from `texts`. They are read once, or twice if the vocabulary size does not fit them.

    Args:
        texts: the training sentences, in anything that `given.as_list` takes.
        kind: "sentencepiece" cuts raw text into pieces, and decoding restores any Unicode text exactly; "words" cuts
            at white space, and decoding joins the words by single spaces.
        vocabulary_size: number of tokens, including special tokens. Pieces: exactly this many, or, with a warning, as
            near to it as the text allows; None: 8,000, or fewer if the text has fewer. Words: at most this many; None:
            all.
        algorithm: "unigram" or "bpe" (pieces only).
        minimum_count: a word gets an id if it occurs at least this often (words only).
        character_coverage: fraction of the characters that get a piece; the rest are spelt in bytes (pieces only).
        lower: lower-case all text, in training and in use; decoding then restores the text except for case.

    Raises:
        UserError: if an option is out of range, there is no text, or the vocabulary has no word.

    Example:
        >>> tokenizer = train_tokenizer(["a man walks", "a dog walks", "a man"], "words", minimum_count=2)
        >>> tokenizer("a dog walks").input_ids
        [4, 3, 6]
        >>> tokenizer.decode([4, 5, 6])
        'a man walks'
    """
    check_arguments(
        train_tokenizer,
        kind=kind,
        algorithm=algorithm,
        vocabulary_size=vocabulary_size,
        minimum_count=minimum_count,
        character_coverage=character_coverage,
    )
    normalizer = normalizers.Lowercase() if lower else None
    given = _repeatable(texts)
    checked = Texts(lambda: each_text(given))
    normalised = Texts(lambda: map(normalizer.normalize_str, checked)) if normalizer else checked
    if kind == "words":
        backend = _word_tokenizer(normalised, vocabulary_size, minimum_count)
    else:
        backend = _piece_tokenizer(normalised, vocabulary_size, algorithm, character_coverage)
    if normalizer:
        backend.normalizer = normalizers.Sequence([normalizer, backend.normalizer])
    # split_special_tokens: a "</s>" written in a text is text and does not end the sentence.
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **SPECIAL_TOKENS,
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def train_tokenizers(
    *sides: Iterable[str], joint: bool = True, **options: Any
) -> tuple[PreTrainedTokenizerBase, ...]:
    """Learn a tokenizer for each side of a parallel corpus, such as source and target.

    Args:
        *sides: the training sentences of each side.
        joint: learn one tokenizer from all sides, so that words with the same spelling, such as names and numbers,
            are the same tokens on all sides.
        **options: those of `train_tokenizer`; without ``joint``, ``vocabulary_size`` is the size of each vocabulary.

    Raises:
        UserError: as in `train_tokenizer`.

    Example:
        >>> source, target = train_tokenizers(["a dog"], ["ein Hund"], kind="words")
        >>> source is target, source("ein dog").input_ids
        (True, [7, 6])
        >>> source, target = train_tokenizers(["a dog"], ["ein Hund"], joint=False, kind="words")
        >>> source("a dog").input_ids, target("ein Hund").input_ids
        ([4, 5], [5, 4])
    """
    if joint:
        sides = tuple(map(_repeatable, sides))
        return (train_tokenizer(Texts(lambda: chain(*sides)), **options),) * len(sides)
    return tuple(train_tokenizer(side, **options) for side in sides)


PARTS = ("tokenizer.json", "tokenizer_config.json")
"""The files of a tokenizer."""


def load_tokenizer(path: str | os.PathLike[str]) -> PreTrainedTokenizerBase:
    """Load the tokenizer saved in the folder `path`, or that of a model on the Hub.

    Raises:
        UserError: if there is no tokenizer, or it cannot be read.
    """
    folder = Path(path)
    if folder.is_dir() and not any(folder.glob("tokenizer*")) and not any(folder.glob("vocab*")):
        raise UserError(
            f"expected a tokenizer in {folder}, found no tokenizer.json: give the folder of a trained model"
        )
    for name, other in (PARTS, PARTS[::-1]):
        # If one file is missing, the libraries guess it, and the special tokens are wrong or missing.
        if (folder / other).is_file() and not (folder / name).is_file():
            raise UserError(
                f"expected {name} beside {other} in {folder}, found none: copy the whole folder again"
            )
    try:
        return AutoTokenizer.from_pretrained(str(path))
    except Exception as error:  # the libraries raise bare Exception, OSError, ValueError, TypeError, ...
        if folder.exists():
            raise UserError(
                f"expected a readable tokenizer in {folder}, got {_first_line(error)}: save it again"
            ) from error
        raise UserError(
            f"expected a folder with a tokenizer or a Hub model, found no {path}: check spelling and network"
        ) from error


def decode_rows(tokenizer: PreTrainedTokenizerBase, rows: Iterable[Sequence[int]]) -> list[str]:
    """Return the text of each row of ids, up to its first `</s>` and without `<s>` and `<pad>`.

    `tokenizer.decode(ids, skip_special_tokens=True)` does the same for pieces, but for words it also drops `<unk>`;
    this function keeps it.

    Example:
        >>> tokenizer = train_tokenizer(["a man walks", "a dog walks", "a man"], "words", minimum_count=2)
        >>> decode_rows(tokenizer, [[1, 4, 3, 6, 2, 0]])
        ['a <unk> walks']
    """
    bare = []
    for row in rows:
        ids = [int(i) for i in row]
        end = ids.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in ids else len(ids)
        bare.append([i for i in ids[:end] if i not in (tokenizer.bos_token_id, tokenizer.pad_token_id)])
    return [str(tokenizer.decode(ids, skip_special_tokens=False)) for ids in bare]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


# ---- words


def _word_tokenizer(texts: Iterable[str], vocabulary_size: int | None, minimum_count: int) -> Tokenizer:
    """List the words after the special tokens: most frequent first, ties in alphabetical order."""
    counts: Counter[str] = Counter()
    for text in _progress(texts, "counting words"):
        counts.update(text.split())
    if not counts:
        raise UserError(
            "expected text to make a vocabulary from, got no word: check the corpus and its column"
        )
    specials = list(SPECIAL_TOKENS.values())
    words = sorted(
        (w for w, n in counts.items() if n >= minimum_count and w not in specials),
        key=lambda w: (-counts[w], w),
    )
    if vocabulary_size is not None:
        words = words[: max(0, vocabulary_size - len(specials))]
    if not words:
        raise UserError(
            f"expected a vocabulary with words in it, got none with vocabulary_size={vocabulary_size} and "
            f"minimum_count={minimum_count}: raise the first or lower the second"
        )
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(specials + words)}, unk_token=UNK))
    # Corpora such as PTB write "<unk>" for rare words, which becomes our UNK. Other special tokens written in a text
    # are replaced by UNK: otherwise "</s>" would end the sentence.
    backend.normalizer = normalizers.Replace(Regex(r"(?<!\S)(?:<pad>|<s>|</s>)(?!\S)"), UNK)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return backend


# ---- pieces


def _piece_tokenizer(
    texts: Iterable[str], vocabulary_size: int | None, algorithm: str, character_coverage: float
) -> Tokenizer:
    """Put SentencePiece's model into a lossless pipeline of the library `tokenizers`.

    The library's own conversion writes a space as U+2581, so decoding turns a real U+2581 into a space. Here pieces
    contain real spaces, and U+2581 is an ordinary character:

    1. a space is put before the text, so that the first word looks like the others; decoding removes it;
    2. the text is cut before every space and after every "<", so that no piece can match "</s>" or "<0x41>", the
       names of special tokens and bytes in the same vocabulary;
    3. characters without a piece are spelt in bytes.
    """
    size = vocabulary_size
    try:
        watched = _progress(texts, "training the tokenizer")
        proto = train_sentencepiece(watched, size, algorithm, character_coverage)
    except TooSmallError as error:
        size = error.least
        watched = _progress(texts, "training the tokenizer again")
        proto = train_sentencepiece(watched, size, algorithm, character_coverage)
    if vocabulary_size not in (None, proto.get_piece_size()):
        logger.warning(
            "the vocabulary has %s tokens, not %s as asked for: %s",
            f"{proto.get_piece_size():,}",
            f"{vocabulary_size:,}",
            "the texts have no more pieces"
            if size == vocabulary_size
            else "bytes and characters need as many",
        )
    vocabulary = [
        (proto.id_to_piece(i).replace(SPACE, " "), proto.get_score(i)) for i in range(proto.get_piece_size())
    ]
    backend = Tokenizer(
        _bpe(vocabulary) if algorithm == "bpe" else models.Unigram(vocabulary, 3, byte_fallback=True)
    )
    backend.normalizer = normalizers.Prepend(" ")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "merged_with_next"), pre_tokenizers.Split("<", "merged_with_previous")]
    )
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return backend


def _bpe(vocabulary: list[tuple[str, float]]) -> models.BPE:
    """Recover the merges: every way to join two pieces into a third, in the order of the results."""
    ids = {piece: i for i, (piece, _) in enumerate(vocabulary)}
    merges = [
        (piece[:cut], piece[cut:])
        for piece in ids
        if not piece.startswith("<")  # special tokens and bytes are not merges
        for cut in range(1, len(piece))
        if piece[:cut] in ids and piece[cut:] in ids
    ]
    return models.BPE(ids, merges, unk_token=UNK, byte_fallback=True, fuse_unk=True)


def train_sentencepiece(
    texts: Iterable[str], vocabulary_size: int | None, algorithm: str, character_coverage: float
) -> sentencepiece.SentencePieceProcessor:
    """Train SentencePiece's own model, from which `train_tokenizer` makes a tokenizer.

    Its random choices, which only very large corpora need, come from a fixed seed.

    Args:
        texts: the training sentences.
        vocabulary_size: as in `train_tokenizer`.
        algorithm: "unigram" or "bpe".
        character_coverage: as in `train_tokenizer`.

    Raises:
        TooSmallError: if the vocabulary has no room for all characters.
        UserError: if there is no text.
    """
    model = io.BytesIO()
    sentencepiece.set_random_generator_seed(0)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_trainable(texts),
            model_writer=model,
            model_type=algorithm,
            vocab_size=vocabulary_size or PIECES,
            hard_vocab_limit=False,
            character_coverage=character_coverage,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            pretokenization_delimiter=CUT,
            input_sentence_size=SENTENCES,
            max_sentence_length=2**30,
            num_threads=4,  # affects the result: each thread makes its own sums
            minloglevel=2,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            pad_piece="<pad>",
            bos_piece="<s>",
            eos_piece="</s>",
            unk_piece="<unk>",
        )
    except RuntimeError as error:
        raise _training_error(str(error), vocabulary_size) from error
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def _trainable(texts: Iterable[str]) -> Iterator[str]:
    """Yield the stretches of text that SentencePiece can learn from, marked where the pre-tokenizer will cut."""
    for text in texts:
        for stretch in UNTRAINABLE.split(text):
            for part in _parts(stretch):
                if not part.isspace():
                    yield part.replace("<", "<" + CUT)


def _parts(stretch: str) -> Iterator[str]:
    """Yield parts of at most `PART` characters, cut at blanks, or inside words that are longer.

    SentencePiece puts a blank before each part, just as the pre-tokenizer leaves one before each word.
    """
    start = 0
    while len(stretch) - start > PART:
        blank = stretch.rfind(" ", start + 1, start + PART + 1)
        end = start + PART if blank < 0 else blank
        yield stretch[start:end]
        start = end if blank < 0 else end + 1
    yield stretch[start:]


def _training_error(message: str, vocabulary_size: int | None) -> UserError:
    """Turn SentencePiece's message into advice."""
    if "!sentences_.empty()" in message:
        return UserError("expected text to train a tokenizer on, got none: check the corpus and its column")
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return TooSmallError(
            f"expected vocabulary_size to be at least {found[1]} (special tokens, 256 bytes, the corpus's "
            f"characters), got {vocabulary_size}: raise it, or lower character_coverage",
            least=int(found[1]),
        )
    return UserError(
        f"expected text that SentencePiece learns from, got its error {' '.join(message.split())!r}: try "
        "algorithm='bpe', another vocabulary_size or kind='words'"
    )


def _repeatable(texts: Iterable[str]) -> Iterable[str]:
    """The texts in a form that can be read twice."""
    return list(texts) if isinstance(texts, Iterator) else texts


def _progress(texts: Iterable[str], what: str) -> Iterator[str]:
    """Pass the texts on, with a progress line on a terminal and a log line elsewhere."""
    bar = tqdm(texts, desc=what, unit=" texts", disable=None)
    yield from bar
    logger.info("%s: read %d sentences", what, bar.n)
