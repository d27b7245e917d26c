"""Tries an optimiser and a schedule of the learning rate on one parameter, to find their faults before any work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Annotated, Any

import torch
from pydantic import AfterValidator
from torch import nn
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

LAYERWISE = ("galore", "lomo", "adalomo", "apollo")
"""Optimisers that need the layers of a transformer."""

OWN_MODE = ("schedule_free",)
"""Optimisers whose weights differ between training and evaluation."""

OPTIMIZERS = [name.value for name in OptimizerNames if not name.value.startswith((*LAYERWISE, *OWN_MODE))]
"""The optimisers that a training may have."""

SCHEDULES = [name.value for name in SchedulerType]
"""The schedules of the learning rate that a training may have."""

WITHOUT_WARMUP = ("constant", "reduce_lr_on_plateau", "greedy")
"""Schedules that ignore ``warmup_steps``."""

BY_EVALUATION = ("reduce_lr_on_plateau", "greedy")
"""Schedules that follow the evaluations during training."""

OF_ADAM = {name: getattr(TrainingArguments, name) for name in ("adam_beta1", "adam_beta2", "adam_epsilon")}
"""Arguments that only some optimisers read, with their defaults."""


def _pairs(text: str) -> str:
    if not all("=" in pair for pair in text.split(",")):
        raise ValueError("expected options such as momentum=0.9,nesterov=true")
    return text


Pairs = Annotated[str, AfterValidator(_pairs)]
"""Options of an optimiser, as `transformers` reads them."""

ANY_LENGTH = 1000
"""Steps with which a schedule is tried if the length of the training is unknown."""


def faults_of_optimisation(given: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """A fault for each argument of the optimiser or of the schedule that fails, or that would do nothing.

    Args:
        given: the arguments that are set, by name.
        values: all arguments by name, with the defaults of those that are not set; each has its type.
    """
    return _of_optimizer(given, values) + _of_schedule(given, values)


def _of_optimizer(given: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    name = _text(values["optim"])
    try:
        used = _tried(values)
        faults = [
            f"{key}: expected to be left out, got {given[key]!r}, which {name} does not use"
            for key, default in OF_ADAM.items()
            if given.get(key, default) != default and used == _tried({**values, key: 0.5})
        ]
        return faults + _idle_options(name, used, values)
    except Exception as error:  # whatever an optional library raises
        key = "optim_args" if values["optim_args"] else "optim"
        return [f"{key}: expected arguments that {name} takes, got {values[key]!r}: {_line(error)}"]


def _idle_options(name: str, used: Any, values: Mapping[str, Any]) -> list[str]:
    """A fault for each option of ``optim_args`` that the optimiser does not read."""
    options = [option for option in (values["optim_args"] or "").replace(" ", "").split(",") if option]
    faults = []
    for option in options:
        others = ",".join(each for each in options if each != option)
        with suppress(ValueError):  # the others may need it
            if used == _tried({**values, "optim_args": others}):
                faults.append(f"optim_args: expected options that {name} reads, got {option!r}: leave it out")
    return faults


def _tried(values: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The class of the optimiser and its arguments, after it was built for one parameter."""
    settings: Any = SimpleNamespace(**{**values, "optim": OptimizerNames(_text(values["optim"]))})
    kind, options = Trainer.get_optimizer_cls_and_kwargs(settings)
    kind([nn.Parameter(torch.zeros(1))], **options)
    return kind, options


def _of_schedule(given: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    name, options = _text(values["lr_scheduler_type"]), values["lr_scheduler_kwargs"]
    faults = []
    if given.get("warmup_steps") and name in WITHOUT_WARMUP:
        faults.append(
            f"warmup_steps: expected a schedule with a warm-up, got {name}, which has none: set lr_scheduler_type to "
            "constant_with_warmup or linear, or leave warmup_steps out"
        )
    if name in BY_EVALUATION and values["eval_strategy"] == "no":
        faults.append(
            f"lr_scheduler_type: expected evaluations during training with {name}, got eval_strategy no: set "
            "eval_strategy, or choose another"
        )
    if name in BY_EVALUATION and values["decay_on_plateau"] is not None:
        faults.append(
            f"lr_scheduler_type: expected constant or another schedule of the step with decay_on_plateau, got {name}"
        )
    if options and name in ("constant", "constant_with_warmup"):
        faults.append(f"lr_scheduler_kwargs: expected to be left out, got {options!r}, which {name} ignores")
    return faults or _of_rates(name, options or {}, values)


def _of_rates(name: str, options: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """A fault if the schedule cannot be built, or if a rate is no number from 0 to the learning rate."""
    highest = values["learning_rate"]
    place = "lr_scheduler_kwargs"
    try:
        factors = _factors(name, options, values)
    except Exception as error:  # the schedules do not say what they raise
        return [f"{place}: expected options that {name} takes, got {options!r}: {_line(error)}"]
    wrong = [factor for factor in factors if not -1e-9 <= factor <= 1 + 1e-9]
    if wrong:
        return [
            f"{place}: expected learning rates from 0 to {highest:g}, got {wrong[0] * highest:g} with {options!r}"
        ]
    return []


def _factors(name: str, options: Mapping[str, Any], values: Mapping[str, Any]) -> list[float]:
    """The schedule at a hundred steps, as factors of the learning rate; empty if it follows the evaluations."""
    length = values["max_steps"] if values["max_steps"] > 0 else ANY_LENGTH
    warmup = values["warmup_steps"]
    steps = int(warmup) if warmup >= 1 else math.ceil(length * warmup)
    # A rate of 0 is valid, but some schedules divide by it.
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=values["learning_rate"] or 1.0)
    schedule: Any = get_scheduler(name, optimizer, steps, length, scheduler_specific_kwargs={**options})
    # The schedules of transformers without options are right, and recipes are read often.
    places = range(0, length, max(1, length // 100)) if options else ()
    return [float(factor(step)) for factor in getattr(schedule, "lr_lambdas", ()) for step in places]


def _text(choice: Any) -> str:
    """The value of a choice, which may be a member of an enumeration."""
    return str(getattr(choice, "value", choice))


def _line(error: Exception) -> str:
    """The message of an error, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
