"""Each option of a recipe accepts values of its type and range, and refuses others by its name.

The cases are made from the annotations. This file decides with its own code what an annotation allows, without the
library that the package uses.
"""

import math
import re
from dataclasses import is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MinLen
from pydantic import AfterValidator, AllowInfNan

from textvae.models.configuration import own_options, part_options
from textvae.models.kinds import KINDS
from textvae.objectives.elbo import OBJECTIVES
from textvae.support.errors import UserError
from textvae.support.options import ArgumentsOf, parameters
from textvae.text.corpus import load_corpus
from textvae.text.fields import FieldOptions
from textvae.training.arguments import TextVAETrainingArguments
from textvae.training.offered import NOT_OFFERED
from textvae.training.recipe import recipe_of
from textvae.training.schema import EvaluationOptions, configurable_meters, model_section

# ---- the options


def leaves(place, annotation, around=None):
    """An option and the options inside it, each as its place, its annotation and the sections around it."""
    _, marks = zip(*variants(annotation), strict=True)
    inside = [base for base, _ in variants(annotation) if isinstance(base, type) and is_dataclass(base)]
    inside += [mark.kind for mark in marks[0] if isinstance(mark, ArgumentsOf)]
    yield place, annotation, around or {}
    for receiver in inside[:1]:
        for name, type_ in parameters(receiver).items():
            yield from leaves(f"{place}.{name}", type_, around)


def model_leaves():
    seen = set()
    for kind, model in KINDS.items():
        config = model.config_class
        for name, annotation in own_options(config).items():
            if name not in config.from_fields:
                yield from leaves(f"model.{name}", annotation, {"kind": kind})
        for part, table in config.parts.items():
            for part_kind, receiver in table.items():
                around = {"kind": kind, part: {"kind": part_kind}}
                for name, annotation in part_options(receiver).items() if receiver not in seen else ():
                    yield from leaves(f"model.{part}.{name}", annotation, around)
                seen.add(receiver)


def all_leaves():
    for section, receiver in {
        "corpus": load_corpus,
        "tokenizer": FieldOptions,
        "objective": OBJECTIVES["elbo"],
        "evaluation": EvaluationOptions,
        "training": TextVAETrainingArguments,
    }.items():
        for name, annotation in parameters(receiver).items():
            if name != "meters":
                yield from leaves(f"{section}.{name}", annotation)
    yield from model_leaves()
    model, _ = model_section({"kind": "seq2seq"})
    for meter, receiver in configurable_meters(model).items():
        for name, annotation in parameters(receiver).items():
            yield from leaves(f"evaluation.{meter}.{name}", annotation, {"kind": "seq2seq"})


# ---- what an annotation allows


def variants(annotation, marks=()):
    """The types that a value may have, each with the annotations of its range."""
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *own = get_args(annotation)
        return variants(base, (*marks, *own))
    if origin in (Union, UnionType):
        return [variant for part in get_args(annotation) for variant in variants(part, marks)]
    flat = [one for mark in marks for one in (mark if isinstance(mark, GroupedMetadata) else [mark])]
    return [(annotation, flat)]


def in_range(value, marks):
    for mark in marks:
        if (isinstance(mark, Ge) and not value >= mark.ge) or (isinstance(mark, Le) and not value <= mark.le):
            return False
        if (isinstance(mark, Gt) and not value > mark.gt) or (isinstance(mark, Lt) and not value < mark.lt):
            return False
        if isinstance(mark, AllowInfNan) and not math.isfinite(value):
            return False
    return True


def fits(value, base, marks):
    """Whether a value has a type and is in its range; a YAML number is an integer if its digits say so."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if base in (None, type(None)):
        return value is None
    if base is int:
        return is_number and isinstance(value, int) and in_range(value, marks)
    if base is float:
        return is_number and in_range(value, marks)
    if get_origin(base) is Literal:
        return value in get_args(base)
    if base is str:
        return isinstance(value, str) and all(
            len(value) >= m.min_length for m in marks if isinstance(m, MinLen)
        )
    if base is Any:
        return True
    return base is bool and isinstance(value, bool)


def bounds(marks):
    names = {Ge: "ge", Gt: "gt", Le: "le", Lt: "lt"}
    return [getattr(mark, names[type(mark)]) for mark in marks if type(mark) in names]


def candidates(annotation):
    """Values at and around the limits of the ranges, and values of other types."""
    found = ["nonsense", None, True, math.nan, 1.5]
    for base, marks in variants(annotation):
        if base in (int, float):
            steps = (-1, 0, 1) if base is int else (-1e-3, 0, 1e-3)
            found += [bound + step for bound in bounds(marks) for step in steps]
    seen = {repr(value): value for value in found}
    return list(seen.values())


NUMBERS = (int, float)
LEAVES = [
    (place, annotation, around)
    for place, annotation, around in all_leaves()
    if all(base is not Any for base, _ in variants(annotation))
    and place != "training.output_dir"
    and not (place.startswith("training.") and place.split(".")[1] in NOT_OFFERED)
]
OUTSIDE, INSIDE = [], []
for place, annotation, around in LEAVES:
    kinds = variants(annotation)
    for value in candidates(annotation):
        if any(fits(value, base, marks) for base, marks in kinds):
            # Other requirements of validators are tested separately, below.
            if not any(isinstance(mark, AfterValidator) for _, marks in kinds for mark in marks):
                INSIDE.append((place, value, around))
        elif value is not None or place.rpartition(".")[0] != "objective":  # None unsets an option
            OUTSIDE.append((place, value, around))


def name_of(case):
    place, value, around = case
    part = next((section["kind"] for section in around.values() if isinstance(section, dict)), "")
    return f"{around.get('kind', '')}-{part}-{place}={value!r}"


# ---- a recipe with one option

COMPANIONS = {
    "objective.bag_of_words": {"model": {"bag_of_words": {}}},
    "objective.classification": {"model": {"posterior": {"kind": "classes"}, "prior": {"kind": "classes"}}},
    "training.eval_steps": {"training": {"eval_strategy": "steps"}},
    "training.save_steps": {"training": {"save_strategy": "steps"}},
}
"""The options that another option needs, so that it does something."""


def sections(place, value, around):
    """The sections of a recipe with this value at this place."""
    more = COMPANIONS.get(place, {})
    source = {
        "corpus": {"train": "grammar"},
        "training": {"output_dir": "run", **more.get("training", {})},
        "model": copied(around) | more.get("model", {}),
    }
    section = source
    *path, name = place.split(".")
    for step in path:
        section = section.setdefault(step, {})
    section[name] = value
    return source


def copied(tree):
    return {name: copied(value) if isinstance(value, dict) else value for name, value in tree.items()}


def in_python(place, value, around):
    """Give the same option to the class or function that takes it in Python, if there is one."""
    section, _, rest = place.partition(".")
    options = sections(rest, value, {})
    given = {name: options[name] for name in options if name not in ("corpus", "training", "model")}
    match section:
        case "corpus":
            load_corpus("grammar", **given)
        case "tokenizer":
            FieldOptions(**given)
        case "objective":
            OBJECTIVES["elbo"](**given)
        case "evaluation":
            EvaluationOptions(**given)
        case "training":
            TextVAETrainingArguments(**{"output_dir": "run", **given})
        case "model":
            part, _, name = rest.rpartition(".")
            own = {part: {**around[part], name: value}} if part else given
            KINDS[around["kind"]].config_class(**own)


@pytest.mark.parametrize("case", OUTSIDE, ids=name_of)
def test_what_is_outside_is_refused_by_its_name(case):
    place = case[0]
    with pytest.raises(UserError) as error:
        recipe_of(sections(*case))
    message = str(error.value)
    assert f" {place}: " in message
    assert "\n" not in message
    if not place.startswith("evaluation.translation"):
        with pytest.raises(UserError) as error:
            in_python(*case)
        assert f"{place.partition('.')[2]}: " in str(error.value)


@pytest.mark.parametrize("case", INSIDE, ids=name_of)
def test_what_is_inside_is_taken(case):
    """It may be refused for another reason: two options do not fit together, or one would do nothing."""
    faults = ""
    try:
        recipe_of(sections(*case))
    except UserError as error:
        faults = str(error)
    own = [fault for fault in faults.split("; ") if f" {case[0]}: " in f" {fault}"]
    assert all(re.search("leave .*out|left out", fault) for fault in own)


def test_every_number_has_a_range():
    """Recipes do not offer those without one."""
    without = {
        place
        for place, annotation, _ in all_leaves()
        for base, marks in variants(annotation)
        if base in NUMBERS and not bounds(marks)
    }
    assert {place.split(".")[1] for place in without} <= NOT_OFFERED


@pytest.mark.parametrize("width", [2, 4, 100])
def test_widths_are_odd(width):
    with pytest.raises(UserError, match=rf"model\.encoder\.width: expected an odd number, got {width}"):
        recipe_of(sections("model.encoder.width", width, {"encoder": {"kind": "convolution"}}))


@pytest.mark.parametrize("dilations", ["tiny", [], [0], [1, -2], [1.5], 3, None])
def test_dilations_are_a_name_or_sizes(dilations):
    around = {"decoder": {"kind": "dilated_convolution"}}
    with pytest.raises(UserError, match=r"model\.decoder\.dilations: expected"):
        recipe_of(sections("model.decoder.dilations", dilations, around))
    recipe_of(sections("model.decoder.dilations", [1, 2], around))
