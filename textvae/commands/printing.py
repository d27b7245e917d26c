"""What the commands print."""

from __future__ import annotations

import json
from collections.abc import Sequence


def print_texts(texts: list[str], as_json: bool) -> None:
    """Print a JSON array of strings, or one text a line."""
    print(json.dumps(texts, ensure_ascii=False) if as_json else "\n".join(map(one_line, texts)))


def one_line(text: str) -> str:
    """A sentence may hold a line break, if its corpus did."""
    return " ".join(text.splitlines())


def cluster_name(number: int, words: Sequence[str]) -> str:
    """A cluster's number and characteristic words; the number alone if it has none."""
    return f"{number}: {', '.join(words)}" if words else str(number)
