"""Safe and readable display of foreign texts and names: in a terminal, a table or a list."""

from __future__ import annotations

import html
import re
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Characters that move the cursor, clear the screen or begin a terminal command; not tabs and line feeds."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet computes a cell that begins with one of these."""

_ENTITY = re.compile(r"&(#\d+|#x[0-9a-f]+|[a-z][a-z0-9]*);", re.IGNORECASE)

# Not <s>, which some corpora put before each sentence, and no other words such as <unk>.
_MARKUP = re.compile(
    r"<!--.*?-->|</?(?:a|abbr|article|b|big|blockquote|body|br|button|center|cite|code|dd|div|dl|dt|em|figure|font|form"
    r"|h[1-6]|head|header|hr|html|i|iframe|img|input|li|link|meta|ol|option|p|pre|script|section|select|small|span"
    r"|strike|strong|style|sub|sup|table|tbody|td|textarea|th|thead|title|tr|tt|u|ul)(?:\s[^<>]*|\s*/)?>",
    re.IGNORECASE | re.DOTALL,
)


def visible(text: str) -> str:
    r"""The text with its control characters as escapes, so that it cannot control a terminal.

    Example:
        >>> print(visible("a \x1b[31mred\x1b[0m word"))
        a \x1b[31mred\x1b[0m word
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def one_line(text: str) -> str:
    r"""The text on one line: line breaks and tabs become blanks, and control characters escapes.

    Example:
        >>> one_line("two\nlines,\ttwo columns")
        'two lines, two columns'
    """
    return visible(" ".join(text.splitlines()).replace("\t", " "))


def guarded(cell: str) -> str:
    """The text of a table cell, with an apostrophe before it if a spreadsheet would compute it, even within quotes.

    References:
        CSV Injection (OWASP), https://owasp.org/www-community/attacks/CSV_Injection

    Example:
        >>> guarded("=1+1"), guarded("1+1")
        ("'=1+1", '1+1')
    """
    return f"'{cell}" if cell.lstrip('" ').startswith(_FORMULA) else cell


def shortened(text: str, width: int) -> str:
    """The text on one line of at most ``width`` characters, cut between words; an ellipsis marks the cut.

    Text without a blank in the second half of the line, such as Chinese, is cut between characters.

    Args:
        text: a text of any length.
        width: maximum number of characters, 2 or more.

    Example:
        >>> shortened("the dog sleeps in the garden", 16), shortened("0123456789", 6)
        ('the dog sleeps …', '01234…')
    """
    words = " ".join(text.split())
    if len(words) <= width:
        return words
    end = words.rfind(" ", 0, width - 1)
    return f"{words[:end]} …" if end > width // 2 else f"{words[: width - 1]}…"


def without_markup(text: str) -> str:
    """The text on one line, without HTML tags and with HTML entities replaced by their characters.

    Example:
        >>> without_markup("Tom &amp; Jerry<br /><b>meet</b> an <unk>, 1 < 2")
        'Tom & Jerry meet an <unk>, 1 < 2'
    """
    characters = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
    return " ".join(_MARKUP.sub(" ", characters).split())


def natural(name: Any) -> tuple[Any, ...]:
    """A key that sorts names naturally: numbers by their value, letters without regard to case.

    Example:
        >>> sorted(["10", "b 2", "B 10", "2", "1", "a"], key=natural)
        ['1', '2', '10', 'a', 'b 2', 'B 10']
    """
    words = str(name)
    parts = re.split(r"(\d+)", words)
    return [_size(part) if place % 2 else part.casefold() for place, part in enumerate(parts)], words


def _size(digits: str) -> tuple[int, str]:
    """A sort key for a number: its count of digits, then the digits, because `int` accepts at most 4,300 digits."""
    leading = digits.lstrip("0")
    return len(leading), leading
