"""The valid keys and values of the sections of a recipe: the parameters of the objects built from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from textvae.evaluation.meters.table import METERS
from textvae.evaluation.quantities import Meter
from textvae.models.base import VAEModel
from textvae.models.configuration import checked_section, own_options
from textvae.models.kinds import KINDS
from textvae.models.refinement import Refinement
from textvae.objectives.elbo import OBJECTIVES
from textvae.support.errors import UserError
from textvae.support.options import Size, check, check_fields, did_you_mean, parameters, unknown
from textvae.text.corpus import load_corpus
from textvae.text.fields import FieldOptions
from textvae.training.arguments import TextVAETrainingArguments, faults_of
from textvae.training.offered import NOT_OFFERED, unoffered

RATE = 8.0
"""Default target rate in nats per sentence, for a recipe without a KL weight or a target rate."""

STARTS = {"start_from": str | None, "encoder_from": str | None}
"""Keys of the section ``model`` that are not part of the configuration: runs whose weights initialise the model."""


@dataclass(frozen=True)
class EvaluationOptions:
    """The ``evaluation`` section: how to evaluate the finished model.

    Attributes:
        samples: K, the number of samples of the importance-weighted bound.
        batch_size: sentences at once.
        refinement: how to refine each posterior before the evaluation; None: use the encoder's posterior.
        bf16: compute matrix products in bf16, which is faster on hardware that supports it, and slightly less exact.
        meters: arguments of the meters, by the names in `METERS`.
    """

    samples: Size = 500
    batch_size: Size = 32
    refinement: Refinement | None = None
    bf16: bool = False
    meters: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)


Found = tuple[Any, list[str]]
"""The object built from a section, None if the section has faults; and the list of the faults."""


def corpus_section(given: Mapping[str, Any]) -> Found:
    """Check the section ``corpus``: the arguments of `load_corpus`."""
    return check(given, parameters(load_corpus), "corpus.")


def tokenizer_section(given: Mapping[str, Any]) -> Found:
    """Build `FieldOptions` from the section ``tokenizer``."""
    return _made(FieldOptions, given, "tokenizer")


def training_section(given: Mapping[str, Any]) -> Found:
    """Check the section ``training``: the arguments of `TextVAETrainingArguments`."""
    # YAML reads an unquoted no as false.
    given = {
        key: "no" if value is False and key.endswith("_strategy") else value for key, value in given.items()
    }
    offered = {name: given[name] for name in given if name not in NOT_OFFERED}
    values, faults = check(offered, parameters(TextVAETrainingArguments), "training.")
    found = unoffered(given) if faults else faults_of({**given, **values})
    return values, [f"training.{fault}" for fault in found] + faults


def objective_section(given: Mapping[str, Any], model: Mapping[str, Any]) -> Found:
    """Build the objective. Without a KL weight and a target rate, a model with a latent code gets the rate `RATE`."""
    # An override with null removes the value of the file.
    options = {key: value for key, value in given.items() if value is not None}
    name = options.pop("kind", next(iter(OBJECTIVES)))
    if name not in OBJECTIVES:
        known = ", ".join(OBJECTIVES)
        return None, [
            f"objective.kind: expected one of {known}, got {name!r}{did_you_mean(name, OBJECTIVES)}"
        ]
    kind: Any = OBJECTIVES[name]
    if {"kl_weight", "target_rate"} <= options.keys():
        return None, ["objective: expected kl_weight or target_rate, got both"]
    takes_rate = "target_rate" in parameters(kind)
    if takes_rate and not {"kl_weight", "target_rate"} & options.keys() and model.get("latent_size") != 0:
        options["target_rate"] = RATE
    return _made(kind, options, "objective")


def model_section(given: Mapping[str, Any]) -> Found:
    """Build `ModelOptions` from the section ``model``."""
    options = dict(given)
    name = options.pop("kind", next(iter(KINDS)))
    if name not in KINDS:
        known = ", ".join(KINDS)
        return None, [f"model.kind: expected one of {known}, got {name!r}{did_you_mean(name, KINDS)}"]
    kind = KINDS[name]
    config: Any = kind.config_class
    parts = {part: options.pop(part) for part in config.parts.keys() & options.keys()}
    types = {
        key: type_ for key, type_ in own_options(config).items() if key not in config.from_fields
    } | STARTS
    faults = [
        fault.replace("no such key", f"no such key of a {name} model")
        for fault in unknown(options, {*types, *config.parts}, "model.")
    ]
    values, found = check({key: value for key, value in options.items() if key in types}, types, "model.")
    faults += found
    for part, section in parts.items():
        values[part], found = checked_section(
            section, part, config.parts[part], part in config.optional_parts, "model."
        )
        faults += found
    starts = {key: values.pop(key, None) for key in STARTS}
    if not faults:
        try:
            config(**values)
        except UserError as error:
            faults.append(f"model: {error}")
    return (None, faults) if faults else (ModelOptions(kind, values, **starts), [])


@dataclass(frozen=True)
class ModelOptions:
    """The ``model`` section.

    Attributes:
        kind: the class of the model.
        options: the options of its configuration, without those that the fields determine.
        start_from: a run whose model, with or without z, provides the initial weights; None: random weights.
        encoder_from: a run whose encoder, or decoder if it is a language model, initialises the encoder; None: random
            weights.
    """

    kind: type[VAEModel]
    options: dict[str, Any]
    start_from: str | None = None
    encoder_from: str | None = None

    @property
    def settings(self) -> SimpleNamespace:
        """The options as attributes, for `VAEModel.field_kinds`."""
        return SimpleNamespace(**self.options)


def evaluation_section(given: Mapping[str, Any], model: ModelOptions | None) -> Found:
    """Build `EvaluationOptions`; the section may only name meters that apply to the kind of model."""
    meters = {} if model is None else configurable_meters(model)
    options = {key: value for key, value in given.items() if key not in meters}
    own = {key: type_ for key, type_ in parameters(EvaluationOptions).items() if key != "meters"}
    faults = unknown(options, {*own, *meters}, "evaluation.") if model else []
    values, found = check({key: value for key, value in options.items() if key in own}, own, "evaluation.")
    faults += found
    arguments: dict[str, dict[str, Any]] = {name: {} for name in meters}
    for name in meters.keys() & given.keys():
        arguments[name], found = check(given[name] or {}, parameters(meters[name]), f"evaluation.{name}.")
        faults += found or _refused(meters[name], arguments[name], f"evaluation.{name}")
    return (None, faults) if faults else (EvaluationOptions(**values, meters=arguments), [])


def configurable_meters(model: ModelOptions) -> dict[str, type[Meter]]:
    """The meters that take options and apply to the kind of model."""
    read = model.kind.field_kinds(model.settings)
    return {name: meter for name, meter in METERS.items() if meter.needs and {*meter.needs} <= {*read}}


def _made(kind: Any, given: Mapping[str, Any], section: str) -> Found:
    """Build an object of class ``kind`` from a section."""
    values, faults = check(given, parameters(kind), f"{section}.")
    if faults:
        return None, faults
    return (None, refused) if (refused := _refused(kind, values, section)) else (kind(**values), [])


def _refused(kind: Any, values: Mapping[str, Any], section: str) -> list[str]:
    """The error that the constructor of ``kind`` raises for these arguments, if any."""
    try:
        kind(**values)
    except UserError as error:
        return [f"{section}: {error}"]
    return []
