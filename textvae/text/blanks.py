"""A sentence with blanks becomes tokens that are known and words that are not."""

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
    """A word of which at most the edges are known, as in ``(___)``.

    Attributes:
        before: the bytes in front of it, beginning with a space.
        behind: the bytes behind it.
    """

    before: bytes
    behind: bytes

    def word(self, spelt: bytes) -> str | None:
        """The word that was put in the blank, if ``spelt`` is a whole one between the edges."""
        inside = spelt[len(self.before) : len(spelt) - len(self.behind)]
        if not inside or not spelt.endswith(self.behind):
            return None
        try:
            return inside.decode()
        except UnicodeDecodeError:
            return None


Pattern = list[int | Blank]
"""A sentence's tokens without BOS and EOS, and its blanks."""


def pattern(text: str, tokenizer: PreTrainedTokenizerBase, blank: str = "___") -> Pattern:
    """What is known of the tokens of a text.

    The words of a text have tokens of their own, so those between two blanks are the ones they have in any text.

    Args:
        text: with blanks.
        tokenizer: one that `train_tokenizer` made.
        blank: what stands for a missing word.

    Raises:
        UserError: if a blank is nothing or white space, if one word has two blanks, or, with a tokenizer of whole
            words, a blank does not stand alone.

    Example:
        >>> from textvae.text.tokenizer import train_tokenizer
        >>> pattern("a ___ walks", train_tokenizer(["a man walks"], "words"))
        [4, Blank(before=b' ', behind=b''), 6]
    """
    if not blank or blank.isspace():
        raise UserError(f"expected a blank that can be seen, such as ___, got {blank!r}")
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
                f"expected blanks that stand alone, as this model knows whole words, got {word!r}: "
                "put spaces around the blank"
            )
        found.append(Blank(b" " + _normal(before, tokenizer), _normal(behind, tokenizer)))
    return found + _ids(known, tokenizer)


def spellings(tokenizer: PreTrainedTokenizerBase) -> list[bytes]:
    """What each token writes, the first of a word with a space in front; special tokens write nothing."""
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
    """The tokens of words that follow one another, no words having none."""
    return list(tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]) if words else []


def _normal(part: str, tokenizer: PreTrainedTokenizerBase) -> bytes:
    """Part of a word as the tokenizer reads it, lower-cased if it lower-cases."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    return normalizer.normalize_str(part).removeprefix(" ").encode()
