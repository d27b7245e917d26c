"""Functions that print the results of commands."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from textvae.support.display import one_line, shortened, visible

_CONTROL = re.compile(r"[\x7f-\x9f]")
"""Control characters that JSON does not require to be escaped."""


WIDTH = 400
"""Maximum characters of a user's text in what a command prints for people."""


def in_short(text: str) -> str:
    """A user's text on one line of at most `WIDTH` characters; an ellipsis marks what is left out."""
    return visible(shortened(text, WIDTH))


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, in ASCII unless standard output is UTF-8 or the like."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    text = json.dumps(value, ensure_ascii=not codecs.lookup(encoding).name.startswith("utf"))
    print(_CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_texts(texts: list[str], as_json: bool) -> None:
    """Print a JSON array of strings, or one text per line."""
    if as_json:
        print_json(texts)
    else:
        print("\n".join(map(one_line, texts)))


def cluster_name(number: int, words: Sequence[str]) -> str:
    """A cluster's number and characteristic words, or the number alone if there are none."""
    return f"{number}: {', '.join(words)}" if words else str(number)
