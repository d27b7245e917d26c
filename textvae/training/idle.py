"""Options that would have no effect: they raise an error that names them, instead of being ignored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from textvae.models.base import VAEModel
from textvae.text.fields import LabelField


class Need(NamedTuple):
    """What a model must have for an option to have an effect.

    Attributes:
        expected: the kind of model, for messages.
        fix: how to get such a model.
        is_met: takes the class of the model and its configuration (or the section ``model`` as an object).
    """

    expected: str
    fix: str
    is_met: Callable[[type[VAEModel], Any], bool]


def _has_bag_of_words(kind: type[VAEModel], config: Any) -> bool:
    return getattr(config, "bag_of_words", None) is not None


def _has_classes(kind: type[VAEModel], config: Any) -> bool:
    return LabelField in kind.field_kinds(config)


NEEDS = {
    "bag_of_words": Need("a bag of words", "model.bag_of_words={}", _has_bag_of_words),
    "classification": Need("classes", "model.posterior.kind=classes model.prior.kind=classes", _has_classes),
}
"""Options of an objective that need a part of the model. A weight of 0 needs nothing."""


def idle_weights(objective: Mapping[str, Any], kind: type[VAEModel], config: Any) -> list[str]:
    """A fault for each option of the objective that has no effect on this model.

    Args:
        objective: the options that the user set, by name.
        kind: the class of the model.
        config: its configuration, or the section ``model`` of a recipe as an object with the same attributes.
    """
    return [
        f"objective.{name}: expected a model with {need.expected}, got one without, for which {objective[name]!r} "
        f"would do nothing: leave it out, or set {need.fix}"
        for name, need in NEEDS.items()
        if objective.get(name) and not need.is_met(kind, config)
    ]
