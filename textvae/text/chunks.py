"""A text that is longer than a model reads at once becomes chunks that are not, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from transformers import PreTrainedTokenizerBase

GAP = re.compile(r"""(?P<end>[.!?…]["'\u2019\u201d\u00bb)\]]*)?(?P<blank>\s+)""")
"""Between two words; with an ``end``, between two sentences."""

TOGETHER = 2**20
"""Characters of texts that are tokenised at once; a tokenizer needs a hundred times their memory."""

SEGMENT = 2**16
"""Characters of one text that are tokenised at once."""

BEFORE = 16
"""Characters in front of a segment that tell what ends before it."""


def chunks(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, maximum_length: int | None
) -> list[list[list[int]]]:
    """The chunks of each text, as ids without BOS and EOS; put together, they are the ids of the text.

    A text is cut behind the last sentence, or otherwise the last word, that leaves the chunk more than half full;
    inside of a word only if that is longer.

    Args:
        texts: n of them.
        tokenizer: what splits them.
        maximum_length: tokens of a chunk at most, EOS counted; None: any number.

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
    """The chunks of `chunks`, one after the other, each with the place of its text; a blank text has one.

    The texts are tokenised as the chunks are asked for, and long ones in segments of `SEGMENT` characters, which end
    before a blank and so have the tokens that they have in the whole text. Only a stretch of so many characters without
    a blank is tokenised as if there were one.

    Args:
        texts: as the others, those of `chunks`.
        tokenizer: see there.
        maximum_length: see there.
    """
    size = None if maximum_length is None else max(1, maximum_length - 1)
    start = 0
    while start < len(texts):
        part = _part(texts, start)
        short = [text for text in part if len(text) <= SEGMENT]
        # Not verbose, or the tokenizer would warn of what is about to be cut.
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
    """The texts from ``start`` on that are tokenised at once."""
    characters, end = 0, start
    while end < len(texts) and (end == start or characters + len(texts[end]) <= TOGETHER):
        characters += len(texts[end])
        end += 1
    return texts[start:end]


def _segments(text: str, tokenizer: PreTrainedTokenizerBase) -> Iterator[tuple[list[int], list[int]]]:
    """The ids of a text, so many at a time, and what lies before each, see `_gaps`."""
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
    """The place of the last blank that a word follows; -1 if there is none."""
    blank = text.rfind(" ", start, stop)
    while blank >= 0 and text[blank + 1].isspace():
        blank = text.rfind(" ", start, blank)
    return blank


def _gaps(text: str, start: int, stop: int) -> dict[int, int]:
    """What lies before the characters of a text: 2 the end of a sentence, 1 that of a word."""
    gaps: dict[int, int] = {}
    for gap in GAP.finditer(text, start, stop):
        # A piece begins with the blank before its word, a word behind it.
        places = range(gap.start("blank"), gap.end() + 1)
        gaps |= dict.fromkeys(places, 2 if gap["end"] else 1)
    return gaps


def _cut(segments: Iterable[tuple[list[int], list[int]]], size: int | None) -> Iterator[list[int]]:
    """The ids in chunks of at most ``size``; None: in one."""
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
