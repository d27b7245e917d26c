"""Let the planner choose the values of a recipe that are ``auto``, or all that a bare corpus needs."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from datasets import Dataset

from textvae.support.errors import UserError
from textvae.support.options import did_you_mean
from textvae.support.processes import started
from textvae.support.yaml import read_yaml
from textvae.text.corpus import load_corpus
from textvae.text.statistics import Statistics, statistics_of
from textvae.training.planner import REFERENCE, SECTIONS, Plan, plan
from textvae.training.speed import Sizes, nominal_speed
from textvae.training.trial import calibrated_speed

AUTO = "auto"

MINUTES = 10.0
"""How long training may take by default."""

Source = dict[str, Any]
"""The sections of a recipe, as in a file."""


def automatic(source: Mapping[str, Any]) -> list[str]:
    """The keys of a recipe, ``section.key``, whose value is ``auto``."""
    return [key for key, value in flat(source).items() if value == AUTO and key.split(".")[0] in SECTIONS]


def without(source: Source, keys: Collection[str], place: str = "") -> Source:
    """The sections without these keys."""
    return {
        key: without(value, keys, f"{place}{key}.") if isinstance(value, dict) else value
        for key, value in source.items()
        if f"{place}{key}" not in keys
    }


def filled(
    source: Source,
    wanted: Collection[str] | None,
    minutes: float = MINUTES,
    *,
    since: float | None = None,
    resume: bool = False,
) -> tuple[Source, Plan | None]:
    """The sections with chosen values, and the plan, which is None if the values are those of an earlier run.

    Other values in the source are kept, and the chosen ones fit them.

    Args:
        source: the sections, with a valid corpus.
        wanted: keys to choose, whatever their values; None: all that the planner chooses and the source lacks.
        minutes: time for everything.
        since: start of that time, by `time.monotonic`; None: now.
        resume: take the values of the run in ``training.output_dir``, if there is one.

    Raises:
        UserError: if a key cannot be chosen, if the corpus is a stream or does not have one text column, or as in
            `planner.plan`.
    """
    since = time.monotonic() if since is None else since
    given = without(source, wanted or ())
    earlier = Path(source["training"]["output_dir"], "recipe.yaml")
    if resume and earlier.is_file():
        chosen = flat(read_yaml(earlier, "a recipe"))
        return put_missing(given, {key: chosen[key] for key in wanted or chosen if key in chosen}), None
    statistics = _statistics(given["corpus"])
    found = timed_plan(statistics, minutes, time.monotonic() - since, _decided(given, wanted or ()))
    known = found.values()
    if strange := [key for key in wanted or () if key not in known]:
        hints = ", ".join(f"{key}{did_you_mean(key, known)}" for key in strange)
        raise UserError(
            f"expected auto for values that can be chosen by the corpus, got it for {hints}: set a value"
        )
    if wanted is not None:
        found = replace(found, choices=tuple(choice for choice in found.choices if choice.key in wanted))
    return put_missing(given, found.values()), found


def flat(source: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Values by ``section.key``, or ``model.part.key`` for a part of the model."""
    values: dict[str, Any] = {}
    for key, value in source.items():
        name = f"{place}{key}"
        values |= flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return values


def timed_plan(statistics: Statistics, minutes: float, spent: float, given: dict[str, Any]) -> Plan:
    """Plan with an estimated speed, then measure the speed of such a model and plan again.

    Several processes must all find the same plan, so they use a speed that is not measured.

    Args:
        statistics: statistics of the corpus.
        minutes: time for everything.
        spent: seconds of that time that have passed.
        given: values to keep, by key.
    """
    if (processes := started()) > 1:
        return plan(statistics, minutes, lambda sizes: processes * nominal_speed(sizes), given)
    values = plan(statistics, minutes, given=given, spent=spent).values() | given
    vocabulary = values["tokenizer.vocabulary_size"] or statistics.most_pieces
    tokens = statistics.tokens(values["tokenizer.kind"], vocabulary)
    sizes = Sizes(
        vocabulary_size=vocabulary,
        embedding_size=values["model.embedding_size"],
        hidden_size=values["model.hidden_size"],
        latent_size=values["model.latent_size"] or 1,
        batch_size=REFERENCE,
        length=tokens.mean(values["tokenizer.maximum_length"] or math.inf),
    )
    before = time.monotonic()
    speed = calibrated_speed(sizes)
    return plan(statistics, minutes, speed, given, spent=spent + time.monotonic() - before)


def put_missing(source: Source, values: Mapping[str, Any]) -> Source:
    """Add values, by ``section.key``, that the sections lack; a part that is null gets none.

    Example:
        >>> put_missing({"model": {"latent_size": 8}}, {"model.latent_size": 16, "model.hidden_size": 128})
        {'model': {'latent_size': 8, 'hidden_size': 128}}
    """
    result = without(source, ())
    for key, value in values.items():
        *parents, last = key.split(".")
        place: Any = result
        for parent in parents:
            place = place.setdefault(parent, {}) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.setdefault(last, value)
    return result


def _decided(source: Source, wanted: Collection[str]) -> dict[str, Any]:
    """The values that the planner must keep: all but the corpus, and no epochs if steps are to be chosen."""
    left_out = {"corpus.train", *(["training.num_train_epochs"] if "training.max_steps" in wanted else [])}
    return {key: value for key, value in flat(source).items() if key not in left_out}


def _statistics(corpus: Mapping[str, Any]) -> Statistics:
    """Statistics of all texts from which a run draws its splits."""
    splits = load_corpus(**corpus)
    drawn = [
        splits[name] for name in ("train", "validation", "test") if name == "train" or not corpus.get(name)
    ]
    if not all(isinstance(rows, Dataset) for rows in drawn):
        raise UserError("expected a stored corpus to look at, got a stream: set the values that are auto")
    if "text" not in drawn[0].column_names:
        raise UserError(
            "expected a corpus with one text a row to choose values for, got one with "
            f"{', '.join(drawn[0].column_names)}: set the values that are auto"
        )
    return statistics_of(chain.from_iterable(map(_texts, drawn)))


def _texts(rows: Dataset) -> Iterator[str]:
    """The texts, read in batches."""
    for batch in rows.select_columns(["text"]).iter(1_000):
        yield from batch["text"]
