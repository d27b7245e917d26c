"""Constructors called in Python refuse what a recipe refuses: each class whose parameters have ranges."""

import importlib
import inspect
import pkgutil
from dataclasses import is_dataclass
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import numpy as np
import pytest
import torch
from annotated_types import Ge, Gt, Le, Lt
from sklearn.base import BaseEstimator

import textvae
from textvae.latent_space.semi_supervised import M2Classifier
from textvae.modules.encoders import LSTMEncoder
from textvae.modules.posteriors import GaussianPosterior
from textvae.support.errors import UserError
from textvae.support.options import Dropout, Faults, Size, parameters, validated
from textvae.text.samplers import LengthGroupedSampler

LEFT_OUT = ("textvae.commands", "textvae.cli", "textvae.__main__", "textvae.app")


def classes():
    for module in pkgutil.walk_packages(textvae.__path__, "textvae."):
        if not module.name.startswith(LEFT_OUT):
            for kind in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(kind) and kind.__module__ == module.name and "__init__" in vars(kind):
                    yield kind


def bounds(annotation):
    """The ends of the ranges in an annotation: the mark, and the type of the values."""
    if get_origin(annotation) is Annotated:
        base, *marks = get_args(annotation)
        return [(mark, base) for mark in marks if isinstance(mark, Ge | Gt | Le | Lt)]
    inner = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
    return [bound for part in inner for bound in bounds(part)]


def outside(annotation):
    """Values just outside the ranges, and one that is no number."""
    found = ["nonsense"]
    for mark, base in bounds(annotation):
        step = 1 if base is int else 1e-6
        end = getattr(mark, type(mark).__name__.lower())
        found.append({Ge: end - step, Gt: end, Le: end + step, Lt: end}[type(mark)])
        if base is float:
            found.append(float("nan"))
    return found


def inside(annotation):
    """A value that the annotation allows; None for an object."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated and inner[0] in (int, float):
        return 1 if inner[0] is int else 0.5
    if origin is Literal:
        return inner[0]
    return {int: 1, float: 0.5, bool: True, str: "x"}.get(annotation)


def cases():
    for kind in classes():
        # Estimators of scikit-learn check at `fit`, and dataclasses after their fields are set.
        if issubclass(kind, BaseEstimator) or is_dataclass(kind):
            continue
        for name, annotation in parameters(kind).items():
            for value in outside(annotation) if bounds(annotation) else ():
                yield pytest.param(kind, name, value, id=f"{kind.__name__}-{name}={value}")


CASES = list(cases())


@pytest.mark.parametrize(("kind", "name", "value"), CASES)
def test_constructors_refuse_what_is_out_of_range(kind, name, value):
    required = {
        other: inside(parameters(kind)[other])
        for other, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is parameter.empty and other in parameters(kind)
    }
    with pytest.raises(UserError, match=f"^{name}: expected .*, got ") as error:
        kind(**{**required, name: value})
    assert "\n" not in str(error.value)


def test_all_parts_have_cases():
    names = {case.values[0].__name__ for case in CASES}
    assert {"LSTMEncoder", "LSTMDecoder", "MixturePrior", "TokenBatchSampler", "DecayOnPlateau"} <= names
    assert len(CASES) > 200


@validated
class Layer:
    """Has parameters of each sort."""

    def __init__(
        self, size: Size, rate: Dropout = 0.0, *others: int, weights: torch.Tensor | None = None
    ) -> None:
        """Keep the arguments."""
        self.size, self.rate, self.others, self.weights = size, rate, others, weights


def test_all_faults_are_named_at_once():
    with pytest.raises(
        Faults, match=r"^rate: expected less than 1, got 1; size: expected greater than .*, got 0$"
    ):
        Layer(0, 1)


def test_arguments_are_converted_to_their_types():
    weights = torch.zeros(2)
    layer = Layer(np.int64(3), "0.5", 7, weights=weights)
    assert (layer.size, layer.rate, layer.others) == (3, 0.5, (7,))
    assert layer.weights is weights


def test_calls_that_do_not_fit_the_signature_fail_as_ever():
    with pytest.raises(TypeError, match="missing a required argument: 'size'"):
        Layer()
    with pytest.raises(TypeError, match="unexpected keyword argument 'width'"):
        LSTMEncoder(vocabulary_size=9, embedding_size=2, hidden_size=2, width=3)


def test_the_signature_is_that_of_the_constructor():
    assert list(inspect.signature(GaussianPosterior).parameters) == [
        "input_size",
        "latent_size",
        "normalize_means",
    ]
    assert GaussianPosterior.__init__.__doc__ == inspect.unwrap(GaussianPosterior.__init__).__doc__


def test_data_is_not_checked():
    """A list of lengths may be as long as a corpus."""
    lengths = [3, 1, 2]
    assert LengthGroupedSampler(lengths, 2).lengths.tolist() == lengths
    with pytest.raises(UserError, match=r"^batch_size: expected"):
        LengthGroupedSampler(lengths, 0)


@pytest.mark.parametrize(
    "option",
    [{"epochs": 0}, {"dropout": 1}, {"learning_rate": -1}, {"batch_size": 0}, {"latent_size": 0}],
    ids=repr,
)
def test_estimators_check_at_fit(option):
    (name,) = option
    classifier = M2Classifier(**option)
    with pytest.raises(UserError, match=f"^{name}: expected"):
        classifier.fit([[0.0], [1.0]], ["a", "b"])
