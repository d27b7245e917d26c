"""Checks options against the annotated parameters of the function or class that receives them.

Sections of a recipe, parts of a model and Python calls are all checked this way. The annotation of a parameter holds
its type and range, and nothing repeats them.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache, wraps
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, AllowInfNan, ConfigDict, TypeAdapter, ValidationError

from textvae.support.errors import UserError

Size = Annotated[int, Ge(1)]
"""A whole number, 1 or more."""
Count = Annotated[int, Ge(0)]
"""A whole number, 0 or more."""
Part = Annotated[float, Gt(0), Lt(1)]
"""A fraction above 0 and below 1."""
Share = Annotated[float, Ge(0), Le(1), AllowInfNan(False)]
"""A probability or a share, from 0 to 1."""
Dropout = Annotated[float, Ge(0), Lt(1), AllowInfNan(False)]
"""A probability of dropping something: at least 0, below 1."""
Weight = Annotated[float, Ge(0), AllowInfNan(False)]
"""A finite number, 0 or more."""
Positive = Annotated[float, Gt(0), AllowInfNan(False)]
"""A finite number above 0."""

INSTEAD = "Input should be "
"""How pydantic begins its messages."""

COUNTS = {
    "missing": "expected more items",
    "too_long": "expected fewer items",
    "too_short": "expected more items",
}
"""Short forms of pydantic's long messages."""

Types = dict[str, Any]

Class = TypeVar("Class", bound=type)


def one_of(choices: Collection[str]) -> AfterValidator:
    """Annotates a string that must be one of ``choices``; choices may be added later."""

    def chosen(name: str) -> str:
        if name not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return name

    return AfterValidator(chosen)


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError("expected an odd number")
    return number


OddSize = Annotated[Size, AfterValidator(_odd)]
"""An odd number, 1 or more."""


@dataclass(frozen=True)
class ArgumentsOf:
    """Marks a parameter that takes a dict of arguments: ``Annotated[dict[str, Any] | None, ArgumentsOf(kind)]``.

    Attributes:
        kind: function or class that receives the arguments.
    """

    kind: Callable[..., Any]


class Faults(UserError):
    """Several faults in the user's input.

    Attributes:
        faults: one line for each fault.
    """

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = list(faults)
        super().__init__("; ".join(self.faults))


def parameters(receiver: Any) -> Types:
    """The parameters of a function or class, or the fields of a dataclass, with their annotations."""
    return dict(_parameters(receiver))


@cache  # hundreds of annotations are strings that have to be evaluated
def _parameters(receiver: Any) -> Types:
    plain = isinstance(receiver, type) and not is_dataclass(receiver)
    hints = get_type_hints(receiver.__init__ if plain else receiver, include_extras=True)
    if is_dataclass(receiver):
        return {field.name: hints[field.name] for field in fields(receiver) if field.init}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(receiver).parameters.values()
    return {
        parameter.name: hints.get(parameter.name, Any)
        for parameter in found
        if parameter.kind in named and parameter.name != "self"
    }


def defaults(receiver: Any) -> dict[str, Any]:
    """The defaults of the parameters of a function or class, if they have one."""
    found = inspect.signature(receiver).parameters
    return {
        name: parameter.default
        for name, parameter in found.items()
        if parameter.default is not parameter.empty
    }


def check(given: Mapping[str, Any], types: Types, place: str = "") -> tuple[dict[str, Any], list[str]]:
    """Check values, and convert them to their types.

    Args:
        given: values by name.
        types: annotations by name.
        place: prefix of every fault, such as ``model.encoder.``.

    Returns:
        The correct values; and one line for each fault: an unknown name (with the nearest known one), a wrong type or
        a value out of range.
    """
    values: dict[str, Any] = {}
    faults = unknown(given, types, place)
    for name in given.keys() & types.keys():
        value, found = _checked(given[name], types[name], f"{place}{name}")
        faults += found
        if not found:
            values[name] = value
    return values, sorted(faults)


def unknown(given: Iterable[Any], known: Collection[str], place: str = "", what: str = "key") -> list[str]:
    """A fault for each of ``given`` that is not in ``known``, with the nearest known name."""
    return sorted(
        f"{place}{name}: no such {what}{did_you_mean(name, known)}" for name in given if name not in known
    )


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: a suggestion, or nothing."""
    listed = [str(each) for each in known]
    near = (
        difflib.get_close_matches(str(name), listed, n=1)
        or [each for each in listed if str(name) in each][:1]
    )
    return f"; did you mean {near[0]}?" if near else ""


def check_fields(instance: Any) -> None:
    """Refuse a dataclass with fields of a wrong type or out of range.

    Raises:
        Faults: a `UserError` that names all faults.
    """
    kind = type(instance)
    given = {name: getattr(instance, name) for name in parameters(kind)}
    faults = [
        fault for name, value in given.items() for fault in _checked(value, parameters(kind)[name], name)[1]
    ]
    if faults:
        raise Faults(faults)


def set_fields(instance: Any) -> dict[str, Any]:
    """The fields of a dataclass whose values are not the defaults; {} for any other object."""
    found = {}
    for each in fields(instance) if is_dataclass(instance) else ():
        default = each.default if each.default_factory is MISSING else each.default_factory()
        if (value := getattr(instance, each.name)) != default:
            found[each.name] = value
    return found


def check_arguments(receiver: Any, **given: Any) -> None:
    """Check the arguments of a function against the types and ranges of its parameters.

    Args:
        receiver: the function or class.
        **given: arguments by parameter name.

    Raises:
        Faults: a `UserError` that names all faults.
    """
    if faults := check(given, parameters(receiver))[1]:
        raise Faults(faults)


def validated(kind: Class) -> Class:
    """Class decorator: the constructor refuses arguments that are not of the type and in the range of their parameters.

    Recipes are checked against the same annotations. Parameters that take objects, such as tensors or modules, are not
    checked. The constructor itself is not changed: the check comes before it.

    Example:
        >>> @validated
        ... class Layer:
        ...     def __init__(self, size: Size) -> None:
        ...         self.size = size
        >>> Layer(size=0)
        Traceback (most recent call last):
        textvae.support.options.Faults: size: expected greater than or equal to 1, got 0
    """
    constructor: Any = kind.__dict__["__init__"]
    signature = inspect.signature(constructor)

    @wraps(constructor)
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs)
        types = {name: type_ for name, type_ in parameters(kind).items() if _is_plain(type_)}
        known = {name: value for name, value in given.arguments.items() if name in types}
        values, faults = check(known, types)
        if faults:
            raise Faults(faults)
        given.arguments |= values
        constructor(*given.args, **given.kwargs)

    cast(Any, kind).__init__ = construct
    return kind


def _is_plain(annotation: Any) -> bool:
    """Whether values of the type are numbers, names, truth values or lists of these."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _is_plain(inner[0])
    if origin in (Union, UnionType, list):
        return all(map(_is_plain, inner))
    return origin is Literal or annotation in (int, float, bool, str, type(None))


def check_value(value: Any, annotation: Any, name: str) -> Any:
    """``value`` converted to the annotated type.

    Raises:
        UserError: if it has another type or is out of range.
    """
    checked, faults = _checked(value, annotation, name)
    if faults:
        raise Faults(faults)
    return checked


def _checked(value: Any, annotation: Any, place: str) -> tuple[Any, list[str]]:
    """The value converted to its type, and its faults."""
    kind, built = _receiver(annotation)
    if kind is not None and isinstance(value, Mapping):
        nested, faults = check(value, parameters(kind), f"{place}.")
        if faults:
            return None, faults
        try:
            made = kind(**nested)
        except UserError as error:
            return None, [f"{place}: {error}"]
        return (made if built else dict(value)), []
    try:
        # Strict for these alone, or true would be the number 1.
        return _adapter(annotation).validate_python(value, strict=isinstance(value, bool) or None), []
    except ValidationError as error:
        return None, [f"{place}: {_first(error)}, got {value!r:.80}"]


def _receiver(annotation: Any) -> tuple[Any, bool]:
    """The class or function that receives a mapping given for the annotation, and whether its result is the value."""
    if get_origin(annotation) is Annotated:
        for mark in get_args(annotation)[1:]:
            if isinstance(mark, ArgumentsOf):
                return mark.kind, False
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)), None), True


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    bare = isinstance(annotation, type) and is_dataclass(annotation)
    return TypeAdapter(annotation, config=None if bare else ConfigDict(arbitrary_types_allowed=True))


def _first(error: ValidationError) -> str:
    """Pydantic's first message for each type that the value may have, rewritten to begin like our own."""
    errors = error.errors()
    if errors[0]["type"] in COUNTS:
        return COUNTS[errors[0]["type"]]
    alike = [each for each in errors if _place(each["loc"]) == _place(errors[0]["loc"])]
    messages = [each["msg"].removeprefix("Value error, ") for each in alike]
    # The value itself is shown at the end.
    wanted = [re.sub(r", (got|unable to parse) .*", "", each.removeprefix(INSTEAD)) for each in messages]
    expected = "expected " if messages[0].startswith(INSTEAD) else ""
    return expected + " or ".join(dict.fromkeys(wanted))


def _place(path: tuple[int | str, ...]) -> list[int]:
    """The indices on the path to a fault; the names between them are names of types."""
    return [step for step in path if isinstance(step, int)]
