"""Configurations with a section for each part, checked against the constructor of the part's class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn
from transformers import PretrainedConfig

from textvae.support.errors import UserError
from textvae.support.options import Types, check, defaults, did_you_mean, parameters

Kinds = Mapping[str, type[nn.Module]]
"""The classes that one part of a model may have, by the ``kind`` that a configuration names."""

Section = dict[str, Any]
"""The ``kind`` of one part, and its options."""

GIVEN = {"vocabulary_size", "latent_size", "input_size", "classes", "attention", "beside", "size"}
"""Parameters that the model passes to its parts: sizes that follow from the tokenizer or from another part."""

SHARED = ("embedding_size", "hidden_size", "dropout")
"""Options of a model that apply to every part with a parameter of that name, unless its section sets its own."""


class VAEConfig(PretrainedConfig):
    """The base class of the configurations of all models: each part has a section of its own.

    A section is a dict with the ``kind`` of the part and the options of that kind, such as ``{"kind": "lstm",
    "layers": 2}``. The configuration checks its sections when it is made, completes them with the defaults of the
    kind's constructor, and stores them in ``config.json`` in this form.

    Attributes:
        parts: for each section, the table of its kinds.
        optional_parts: sections that may be None; the model then lacks this part.
        from_fields: options that follow from the model's fields, such as the vocabulary size.

    Raises:
        UserError: if a section names an unknown kind, or an option is unknown, has the wrong type, or is out of its
            range. The message suggests the nearest name that exists.
    """

    parts: ClassVar[dict[str, Kinds]] = {}
    optional_parts: ClassVar[tuple[str, ...]] = ()
    from_fields: ClassVar[frozenset[str]] = frozenset(
        {"vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "unk_token_id"}
    )

    def __post_init__(self, **kwargs: Any) -> None:
        faults = []
        values, found = check(
            {name: getattr(self, name) for name in own_options(type(self))}, own_options(type(self))
        )
        faults += found
        for name, value in values.items():
            setattr(self, name, value)
        for name, table in self.parts.items():
            section, found = checked_section(getattr(self, name), name, table, name in self.optional_parts)
            setattr(self, name, section)
            faults += found
        if faults:
            raise UserError("; ".join(faults))
        super().__post_init__(**kwargs)

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> VAEConfig:
        """This configuration. Otherwise `transformers` would take the section ``decoder`` for a configuration."""
        return self

    def build(self, part: str, **given: Any) -> Any:
        """A new part, of the kind and with the options that its section names.

        Args:
            part: the name of the section.
            **given: parameters that the model sets (`GIVEN`), and options that replace those of the section.
                Parameters that the kind does not have are left out.
        """
        section = getattr(self, part)
        kind = self.parts[part][section["kind"]]
        wanted = parameters(kind)
        shared = {name: getattr(self, name) for name in SHARED if hasattr(self, name)}
        options = {name: value for name, value in section.items() if name != "kind"}
        return kind(**{name: value for name, value in (shared | options | given).items() if name in wanted})


def own_options(config: type[VAEConfig]) -> Types:
    """The options of a configuration that belong to no part, with their annotations."""
    about = {"parts", "optional_parts", "from_fields", "model_type", *config.parts}
    found: Types = {}
    # `typing.get_type_hints` would also evaluate the annotations of `transformers`.
    for base in reversed(config.__mro__):
        if issubclass(base, VAEConfig):
            found |= inspect.get_annotations(base, eval_str=True)
    return {name: annotation for name, annotation in found.items() if name not in about}


def part_options(kind: type[nn.Module]) -> Types:
    """The options that a section may set for a part of this kind, with their annotations."""
    return {name: annotation for name, annotation in parameters(kind).items() if name not in GIVEN}


def checked_section(
    given: Any, name: str, table: Kinds, optional: bool = False, place: str = ""
) -> tuple[Section | None, list[str]]:
    """The section completed with the defaults of its kind, and a list of what is wrong with it.

    Args:
        given: the section, a mapping; if it has no ``kind``, it has the first kind of the table.
        name: name of the section.
        table: the kinds that the part may have.
        optional: whether the section may be None (the model lacks this part).
        place: put before each message, such as ``model.``.
    """
    if given is None and optional:
        return None, []
    if not isinstance(given, Mapping):
        return None, [
            f"{place}{name}: expected keys and values, such as {{kind: {next(iter(table))}}}, got {given!r}"
        ]
    kind = given.get("kind", next(iter(table)))
    if kind not in table:
        listed = ", ".join(table)
        return None, [
            f"{place}{name}.kind: expected one of {listed}, got {kind!r}{did_you_mean(kind, table)}"
        ]
    options = {key: value for key, value in given.items() if key != "kind"}
    known = part_options(table[kind])
    values, faults = check(options, known, f"{place}{name}.")
    lacking = f"{kind} has no such option, only {', '.join(known)}"
    faults = [fault.replace("no such key", lacking) for fault in faults]
    own = {key: value for key, value in defaults(table[kind]).items() if key in known and key not in SHARED}
    return {"kind": kind, **own, **values}, faults
