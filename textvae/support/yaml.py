"""Reads YAML files that people write, with one line for each mistake."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from textvae.support.errors import UserError


class _Loader(yaml.SafeLoader):
    """A loader that refuses a repeated key, which would silently replace the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key} appears twice, again in line {line}"
                )
            seen.add(key if isinstance(key, str) else None)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path, what: str, form: str | None = None) -> dict[Any, Any]:
    """The mapping in a YAML file.

    Args:
        path: the file.
        what: what the file should hold, for messages, such as "a recipe".
        form: what the mapping should hold, for messages; None: as ``what``.

    Raises:
        UserError: if there is no such file, or it is not YAML or not a mapping.
    """
    try:
        source = yaml.load(Path(path).expanduser().read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise UserError(f"expected {what} in {path}, got: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"expected YAML in {path}, got: {' '.join(str(error).split())}") from error
    if not isinstance(source, dict):
        raise UserError(f"expected {form or what} in {path}, got {type(source).__name__}")
    return source


def put(source: dict[Any, Any], override: str) -> str | None:
    """Set ``a.b.c=value`` in ``source``; the value is YAML. Returns the fault, or None."""
    name, equals, value = override.partition("=")
    *parents, key = name.split(".")
    if not equals or not parents:
        return f"{override}: expected section.key=value"
    place = source
    for parent in parents:
        place[parent] = place.get(parent) or {}
        place = place[parent]
        if not isinstance(place, dict):
            return f"{override}: {parent} has no keys"
    try:
        place[key] = yaml.load(value, _Loader)
    except yaml.YAMLError:
        return f"{override}: expected a value in YAML"
    return None


def to_yaml(source: dict[Any, Any]) -> str:
    """The text of a YAML file, with keys in their order."""
    return yaml.safe_dump(source, sort_keys=False, allow_unicode=True)


def in_one_line(value: Any) -> str:
    """A value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=math.inf)
    return text.removesuffix("\n").removesuffix("\n...")
