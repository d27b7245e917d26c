"""The quantities by which a training judges its checkpoints: they must be measured, and one direction is better."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from textvae.evaluation.meters.table import METERS, descriptions
from textvae.evaluation.quantities import Description, Setting
from textvae.models.base import VAEModel
from textvae.support.options import did_you_mean
from textvae.text.fields import Fields

BOUND = "neg_elbo"
"""The quantity of the best checkpoint, unless the user names another."""

DIMENSION = re.compile(r"kl_of_dimension_\d+")
"""Names of the quantities of single latent dimensions."""


def _measured(metric: str) -> str:
    if described(metric) is None:
        names = [name for name, each in descriptions().items() if each.greater_is_better is not None]
        raise ValueError(f"expected a quantity of evaluations, such as {BOUND}{did_you_mean(metric, names)}")
    return metric


Metric = Annotated[str, AfterValidator(_measured)]
"""The name of a quantity that evaluations measure; it may begin with ``eval_`` and the name of a data set."""


def greater_is_better(metric: str) -> bool | None:
    """Whether a greater value of a quantity is better; None: unknown, or neither is.

    Args:
        metric: its name, possibly after ``eval_`` and the name of a data set.
    """
    found = described(metric)
    return None if found is None else found.greater_is_better


def faults_of_metrics(values: Mapping[str, Any]) -> list[str]:
    """A fault for each direction that is unknown or wrong, and for a decay without checkpoints.

    Args:
        values: all training arguments by name.
    """
    metric = values["metric_for_best_model"] or BOUND
    faults = []
    better, asked = greater_is_better(metric), values["greater_is_better"]
    if better is None and asked is None:
        faults.append(
            f"greater_is_better: expected true or false with metric_for_best_model {metric}, got none: set it"
        )
    if better is not None and asked is not None and better != asked:
        faults.append(
            f"greater_is_better: expected {_word(better)} with metric_for_best_model {metric}, got {_word(asked)}: "
            "leave it out"
        )
    if values["decay_on_plateau"] is not None:
        metric = values["decay_on_plateau"].get("metric", BOUND)
        if greater_is_better(metric):
            faults.append(
                f"decay_on_plateau.metric: expected a quantity to minimise, got {metric}: set it to {BOUND}"
            )
        faults += _unsaved(values)
    return faults


def unmeasured(values: Mapping[str, Any], model: VAEModel, fields: Fields) -> list[str]:
    """A fault for each named quantity that evaluations of this model during training do not measure.

    Args:
        values: all training arguments by name.
        model: the model.
        fields: its fields.
    """
    setting = Setting(model, fields)
    names = {
        each.name for meter in METERS.values() if meter.of(setting) is not None for each in meter.describes
    }
    asked = {"metric_for_best_model": values["metric_for_best_model"]}
    if values["decay_on_plateau"] is not None:
        asked["decay_on_plateau.metric"] = values["decay_on_plateau"].get("metric", BOUND)
    return [
        f"{key}: expected a quantity that is measured during the training of this model, got {metric}: set it to "
        f"{BOUND}"
        for key, metric in asked.items()
        if (found := described(metric)) is not None and found.name not in names
    ]


def _unsaved(values: Mapping[str, Any]) -> list[str]:
    """A fault if the best weights, which a decay restores, may not be in a checkpoint."""
    strategies = [
        str(getattr(values[key], "value", values[key])) for key in ("save_strategy", "eval_strategy")
    ]
    every = values["eval_steps"] or values["logging_steps"]
    if strategies[0] == "best" or (
        strategies[0] == strategies[1] != "no" and (strategies[0] != "steps" or values["save_steps"] == every)
    ):
        return []
    return [
        "decay_on_plateau: expected a checkpoint at each evaluation, as a decay restores the best: set "
        "save_strategy and save_steps like eval_strategy and eval_steps"
    ]


def described(metric: str) -> Description | None:
    """The description of the quantity; ``metric`` may begin with ``eval_`` and the name of a data set."""
    name = metric.removeprefix("eval_")
    if DIMENSION.search(name):
        return descriptions()["kl_per_dimension"]
    known = descriptions()
    return known.get(name) or next((known[each] for each in _endings(known, name)), None)


def _endings(known: Iterable[str], name: str) -> list[str]:
    """The known names with which ``name`` ends after the name of a data set, longest first."""
    return sorted((each for each in known if name.endswith(f"_{each}")), key=len, reverse=True)


def _word(value: bool) -> str:
    return str(value).lower()
