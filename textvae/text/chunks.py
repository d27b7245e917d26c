"""A text that is longer than a model reads at once becomes chunks that are not."""

from __future__ import annotations

import re
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

GAP = re.compile(r"""(?P<end>[.!?…]["'\u2019\u201d\u00bb)\]]*)?(?P<blank>\s+)""")
"""Between two words; with an ``end``, between two sentences."""


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
    if not texts:
        return []
    # Not verbose, or the tokenizer would warn of what is about to be cut.
    rows = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    if maximum_length is None:
        return [[ids] for ids in rows]
    size = max(1, maximum_length - 1)
    return [
        [ids] if len(ids) <= size else _cut(ids, _gaps(text, tokenizer), size)
        for text, ids in zip(texts, rows, strict=True)
    ]


def _gaps(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What lies before each token: 2 the end of a sentence, 1 that of a word, 0 neither."""
    gaps: dict[int, int] = {}
    for gap in GAP.finditer(text):
        # A piece begins with the blank before its word, a word behind it.
        places = range(gap.start("blank"), gap.end() + 1)
        gaps |= dict.fromkeys(places, 2 if gap["end"] else 1)
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [gaps.get(start, 0) for start, _ in spans["offset_mapping"]]


def _cut(ids: list[int], gaps: Sequence[int], size: int) -> list[list[int]]:
    """The ids in chunks of at most ``size``."""
    parts, start = [], 0
    while len(ids) - start > size:
        places = range(start + size // 2 + 1, start + size + 1)
        end = max(places, key=lambda place: (gaps[place], place))
        parts.append(ids[start:end])
        start = end
    return [*parts, ids[start:]]
