"""Splits a sentence with blanks into known tokens and missing words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import models
from transformers import PreTrainedTokenizerBase

from textvae.support.errors import UserError

BYTE = re.compile(r"<0x([0-9A-F]{2})>")


@dataclass(frozen=True)
class Blank:
    """A missing word, of which only the edges may be known, as in ``(___)``.

    Attributes:
        before: the bytes before the missing part, beginning with a space.
        behind: the bytes after it.
    """

    before: bytes
    behind: bytes

    def word(self, spelt: bytes) -> str | None:
        """The word in the blank, if ``spelt`` is the edges with a word between them; otherwise None."""
        inside = spelt[len(self.before) : len(spelt) - len(self.behind)]
        if not inside or not spelt.endswith(self.behind):
            return None
        try:
            return inside.decode()
        except UnicodeDecodeError:
            return None


Pattern = list[int | Blank]
"""The tokens of a sentence without BOS and EOS, and its blanks, in their order."""


def pattern(text: str, tokenizer: PreTrainedTokenizerBase, blank: str = "___") -> Pattern:
    """The known tokens of a text and its blanks.

    No token spans two words. Therefore the words between two blanks have the same tokens as in any other text.

    Args:
        text: a sentence with blanks.
        tokenizer: a tokenizer made by `train_tokenizer`.
        blank: the string that stands for a missing word.

    Raises:
        UserError: if ``blank`` is empty or white space, a word has two blanks, or a tokenizer of whole words gets a
            blank that is only a part of a word.

    Example:
        >>> from textvae.text.tokenizer import train_tokenizer
        >>> pattern("a ___ walks", train_tokenizer(["a man walks"], "words"))
        [4, Blank(before=b' ', behind=b''), 6]
    """
    if not blank or blank.isspace():
        raise UserError(f"expected a visible blank, such as ___, got {blank!r}")
    words = text.split() if _has_words(tokenizer) else text.strip(" ").split(" ")
    found: Pattern = []
    known: list[str] = []
    for word in words:
        if blank not in word:
            known.append(word)
            continue
        found += _ids(known, tokenizer)
        known = []
        before, behind, *more = word.split(blank)
        if more:
            raise UserError(f"expected one blank in a word, got {word!r}: put spaces between them")
        if _has_words(tokenizer) and (before or behind):
            raise UserError(
                f"expected blanks that stand alone, because this model has whole words, got {word!r}: "
                "put spaces around the blank"
            )
        found.append(Blank(b" " + _normal(before, tokenizer), _normal(behind, tokenizer)))
    return found + _ids(known, tokenizer)


def spellings(tokenizer: PreTrainedTokenizerBase) -> list[bytes]:
    """The bytes that each token writes. The first token of a word begins with a space; special tokens write nothing."""
    words, special = _has_words(tokenizer), set(tokenizer.all_special_ids)
    found = []
    for number, token in enumerate(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))):
        byte = None if words else BYTE.fullmatch(token)
        spelt = bytes([int(byte[1], 16)]) if byte else token.encode()
        found.append(b"" if number in special else b" " + spelt if words else spelt)
    return found


def _has_words(tokenizer: PreTrainedTokenizerBase) -> bool:
    return isinstance(tokenizer.backend_tokenizer.model, models.WordLevel)


def _ids(words: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens of consecutive words; an empty list if there are no words."""
    return list(tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]) if words else []


def _normal(part: str, tokenizer: PreTrainedTokenizerBase) -> bytes:
    """Part of a word as the tokenizer reads it, in lower case if the tokenizer lower-cases."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    return normalizer.normalize_str(part).removeprefix(" ").encode()
