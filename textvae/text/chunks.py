"""Splits a text that is too long for a model into chunks, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from transformers import PreTrainedTokenizerBase

GAP = re.compile(r"""(?P<end>[.!?…]["'\u2019\u201d\u00bb)\]]*)?(?P<blank>\s+)""")
"""What separates two words; if ``end`` matches, it separates two sentences."""

TOGETHER = 2**20
"""Characters of several texts that are tokenised at once. A tokenizer needs a hundred times their memory."""

SEGMENT = 2**16
"""Characters of one text that are tokenised at once."""

BEFORE = 16
"""Characters before a segment that are read to see whether a word or a sentence ends there."""


def chunks(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, maximum_length: int | None
) -> list[list[list[int]]]:
    """The chunks of each text, as ids without BOS and EOS. Concatenated, they are the ids of the text.

    A chunk ends after the last sentence that fits, if the chunk is then more than half full; otherwise after the last
    word that fits; and inside a word only if the word fills more than half of the chunk.

    Args:
        texts: n texts.
        tokenizer: the tokenizer.
        maximum_length: maximum number of tokens in a chunk, including EOS; None: no maximum.

    Example:
        >>> from textvae.text.tokenizer import train_tokenizer
        >>> tokenizer = train_tokenizer(["a b c . d e f g"], "words")
        >>> chunks(["a b c . d e f g", "e"], tokenizer, maximum_length=7)
        [[[5, 6, 7, 4], [8, 9, 10, 11]], [[9]]]
    """
    found: list[list[list[int]]] = [[] for _ in texts]
    for place, ids in each_chunk(texts, tokenizer, maximum_length):
        found[place].append(ids)
    return found


def each_chunk(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, maximum_length: int | None
) -> Iterator[tuple[int, list[int]]]:
    """Yields the chunks of `chunks`, each with the index of its text. A blank text has one empty chunk.

    The texts are tokenised only when their chunks are needed. A long text is tokenised in segments of at most `SEGMENT`
    characters, which end before a blank, so that their tokens are those of the whole text. Only if `SEGMENT` characters
    in a row hold no blank, the text is cut among them.

    Args:
        texts: see `chunks`.
        tokenizer: see `chunks`.
        maximum_length: see `chunks`.
    """
    size = None if maximum_length is None else max(1, maximum_length - 1)
    start = 0
    while start < len(texts):
        part = _part(texts, start)
        short = [text for text in part if len(text) <= SEGMENT]
        # Without verbose=False the tokenizer would warn that the text is too long, but it is cut below.
        rows = tokenizer(short, add_special_tokens=False, verbose=False)["input_ids"] if short else []
        tokenised = iter(rows)
        for place, text in enumerate(part, start):
            ids = next(tokenised) if len(text) <= SEGMENT else None
            if ids is not None and (size is None or len(ids) <= size):
                yield place, ids
            else:
                yield from ((place, chunk) for chunk in _cut(_segments(text, tokenizer), size))
        start += len(part)


def _part(texts: Sequence[str], start: int) -> Sequence[str]:
    """The texts from index ``start`` that are tokenised together: `TOGETHER` characters, or a single text."""
    characters, end = 0, start
    while end < len(texts) and (end == start or characters + len(texts[end]) <= TOGETHER):
        characters += len(texts[end])
        end += 1
    return texts[start:end]


def _segments(text: str, tokenizer: PreTrainedTokenizerBase) -> Iterator[tuple[list[int], list[int]]]:
    """For each segment of a text, its ids and, for each id, the gap before it, see `_gaps`."""
    start, follows = 0, False
    while start < len(text):
        stop = start + SEGMENT
        blank = len(text) if stop >= len(text) else _last_blank(text, start + 1, stop)
        end = stop if blank < 0 else blank
        before = max(0, start - BEFORE) if follows else start
        found = tokenizer(
            text[before:end], add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        places = [place + before for place, _ in found["offset_mapping"]]
        gaps = _gaps(text, before, end)
        kept = [number for number, place in enumerate(places) if place >= start]
        yield (
            [found["input_ids"][number] for number in kept],
            [gaps.get(places[number], 0) for number in kept],
        )
        start, follows = end, blank >= 0


def _last_blank(text: str, start: int, stop: int) -> int:
    """The index of the last blank that is followed by a word; -1 if there is none."""
    blank = text.rfind(" ", start, stop)
    while blank >= 0 and text[blank + 1].isspace():
        blank = text.rfind(" ", start, blank)
    return blank


def _gaps(text: str, start: int, stop: int) -> dict[int, int]:
    """The gap before each character of a text that follows one: 2 after a sentence, 1 after a word."""
    gaps: dict[int, int] = {}
    for gap in GAP.finditer(text, start, stop):
        # A subword begins at the blank before its word; a whole word begins after the blank.
        places = range(gap.start("blank"), gap.end() + 1)
        gaps |= dict.fromkeys(places, 2 if gap["end"] else 1)
    return gaps


def _cut(segments: Iterable[tuple[list[int], list[int]]], size: int | None) -> Iterator[list[int]]:
    """The ids in chunks of at most ``size`` ids; None: in one chunk."""
    ids: list[int] = []
    gaps: list[int] = []
    for more, before in segments:
        ids, gaps = ids + more, gaps + before
        start = 0
        while size is not None and len(ids) - start > size:
            places = range(start + size // 2 + 1, start + size + 1)
            end = max(places, key=lambda place: (gaps[place], place))
            yield ids[start:end]
            start = end
        ids, gaps = ids[start:], gaps[start:]
    yield ids
