"""Configurations nested by part, each section checked against the constructor of the kind that it names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn
from transformers import PretrainedConfig

from textvae.support.errors import UserError
from textvae.support.options import Types, check, defaults, did_you_mean, parameters

Kinds = Mapping[str, type[nn.Module]]
"""A table: the classes of one part of a model, by the kind that a configuration names."""

Section = dict[str, Any]
"""The options of one part, and its ``kind``."""

GIVEN = {"vocabulary_size", "latent_size", "input_size", "classes", "attention", "beside", "size"}
"""Parameters of parts that the model sets: sizes that follow from the tokenizer or from another part."""

SHARED = ("embedding_size", "hidden_size", "dropout")
"""Options of a model that each part with a parameter of that name takes, unless its own section says otherwise."""


class VAEConfig(PretrainedConfig):
    """What configurations of all kinds of model share: parts in sections of their own.

    A section is a dict with the ``kind`` of the part and options of that kind, such as ``{"kind": "lstm", "layers":
    2}``. It is checked when the configuration is made, completed with the defaults of the kind's constructor, and
    stored so in ``config.json``.

    Attributes:
        parts: the table of each section, by name.
        optional_parts: sections that may be None: the model then has no such part.
        from_fields: options that follow from what the model's fields have learnt, such as the vocabulary's size.

    Raises:
        UserError: if a section names no kind of its table, or an option is unknown to the kind, of another type, or
            out of its range; it names the nearest that exists.
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
        """The configuration itself; `transformers` would take the section ``decoder`` for one."""
        return self

    def build(self, part: str, **given: Any) -> Any:
        """A new part of the kind and with the options that its section names.

        Args:
            part: the section.
            **given: what the model sets, see `GIVEN`, or sets otherwise than the section; parameters that the kind
                does not have are left out.
        """
        section = getattr(self, part)
        kind = self.parts[part][section["kind"]]
        wanted = parameters(kind)
        shared = {name: getattr(self, name) for name in SHARED if hasattr(self, name)}
        options = {name: value for name, value in section.items() if name != "kind"}
        return kind(**{name: value for name, value in (shared | options | given).items() if name in wanted})


def own_options(config: type[VAEConfig]) -> Types:
    """The options of a configuration that stand outside its parts' sections, with their annotations."""
    about = {"parts", "optional_parts", "from_fields", "model_type", *config.parts}
    found: Types = {}
    # Not `typing.get_type_hints`, which would look at the annotations of `transformers` as well.
    for base in reversed(config.__mro__):
        if issubclass(base, VAEConfig):
            found |= inspect.get_annotations(base, eval_str=True)
    return {name: annotation for name, annotation in found.items() if name not in about}


def part_options(kind: type[nn.Module]) -> Types:
    """What a section may say of a part of this kind, with the annotations."""
    return {name: annotation for name, annotation in parameters(kind).items() if name not in GIVEN}


def checked_section(
    given: Any, name: str, table: Kinds, optional: bool = False, place: str = ""
) -> tuple[Section | None, list[str]]:
    """The section with the defaults of its kind, and the faults.

    Args:
        given: a mapping; without a ``kind`` the first of the table is meant.
        name: of the section.
        table: the kinds.
        optional: whether the section may be None, for no such part.
        place: begins every fault.
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
