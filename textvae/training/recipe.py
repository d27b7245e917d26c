"""Read a recipe, a YAML file, and check it; running it creates a run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from textvae.modules.priors import PRIORS
from textvae.objectives.terms import Objective
from textvae.support.errors import UserError
from textvae.support.options import unknown
from textvae.support.yaml import put, read_yaml
from textvae.text.fields import FieldOptions
from textvae.training.automatic import MINUTES, automatic, filled, without
from textvae.training.idle import idle_weights
from textvae.training.planner import Plan
from textvae.training.schema import (
    EvaluationOptions,
    ModelOptions,
    corpus_section,
    evaluation_section,
    model_section,
    objective_section,
    tokenizer_section,
    training_section,
)

SECTIONS = ("corpus", "tokenizer", "model", "objective", "training", "evaluation")

REQUIRED = (("corpus", "train"), ("training", "output_dir"))

AUTO_ENCODER = {"metric_for_best_model": "reconstruction", "decay_on_plateau": None}
"""Training options of a first stage, whose bound at KL weight 1 is meaningless."""


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.

    Attributes:
        corpus: the arguments of `load_corpus`.
        tokenizer: how text becomes tokens.
        model: the kind of model and its options.
        objective: the loss.
        training: the arguments of `TextVAETrainingArguments`.
        evaluation: how the result is measured.
        source: the sections as they were read, with the overrides.
        pretraining: the recipe of a first stage, whose inference network this one starts with; None: no first stage.
        keep_decoder: whether to keep the first stage's decoder, too, and the KL weight that its target rate reached.
        plan: the values that were chosen automatically, with reasons; None: nothing was chosen.
    """

    corpus: dict[str, Any]
    tokenizer: FieldOptions
    model: ModelOptions
    objective: Objective
    training: dict[str, Any]
    evaluation: EvaluationOptions
    source: dict[str, Any]
    pretraining: Recipe | None = None
    keep_decoder: bool = False
    plan: Plan | None = None

    @property
    def folder(self) -> Path:
        """The run folder, ``training.output_dir``."""
        return Path(self.training["output_dir"]).expanduser()


def read_recipe(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    minutes: float = MINUTES,
    since: float | None = None,
    resume: bool = False,
) -> Recipe:
    """Read a recipe from a YAML file, apply ``overrides`` (see `recipe_of`) and choose values that are ``auto``.

    Args:
        path: a YAML file.
        overrides: ``section.key=value`` with the value in YAML, e.g. ``training.max_steps=100``.
        minutes: how long training may take, used for values that are ``auto``.
        since: start of that time, by `time.monotonic`; None: now.
        resume: take values that are ``auto`` from the run in the folder, if there is one.

    Raises:
        UserError: lists all faults at once: unknown keys (with the nearest known one), values of the wrong type or
            out of range, missing sections or keys; or as in `automatic.filled`.
    """
    source = read_yaml(path, "a recipe", "sections (corpus, model, ...)")
    faults = [fault for override in overrides if (fault := put(source, override))]
    if not (keys := automatic(source)):
        return recipe_of(source, overrides, str(path))
    if faults:
        raise UserError(f"{path}: {len(faults)} to mend: " + "; ".join(faults))
    # Find all faults before reading the corpus.
    recipe_of(without(source, keys), name=str(path))
    chosen, plan = filled(source, keys, minutes, since=since, resume=resume)
    return replace(recipe_of(chosen, name=str(path)), plan=plan)


def planned_recipe(
    corpus: str,
    overrides: Sequence[str] = (),
    *,
    minutes: float = MINUTES,
    since: float | None = None,
    resume: bool = False,
) -> Recipe:
    """Make a recipe for a corpus: all values but those in ``overrides`` are chosen automatically.

    Args:
        corpus: the corpus, as in `load_corpus`.
        overrides: as in `read_recipe`; they must set ``training.output_dir``.
        minutes: how long training may take.
        since: start of that time, by `time.monotonic`; None: now.
        resume: take the values of the run in the folder, if there is one.

    Raises:
        UserError: as in `read_recipe`.
    """
    source: dict[str, Any] = {"corpus": {"train": corpus}}
    name = f"the recipe for {corpus}"
    faults = [fault for override in overrides if (fault := put(source, override))]
    if faults:
        raise UserError(f"{name}: {len(faults)} to mend: " + "; ".join(faults))
    # Find all faults before reading the corpus.
    source = without(source, automatic(source))
    recipe_of(source, name=name)
    chosen, plan = filled(source, None, minutes, since=since, resume=resume)
    return replace(recipe_of(chosen, name=name), plan=plan)


def recipe_of(source: dict[str, Any], overrides: Sequence[str] = (), name: str = "recipe") -> Recipe:
    """Make a recipe from the sections of a file.

    The sections are corpus, tokenizer, model, objective, training and evaluation. A recipe with two stages also has
    pretraining, with its own objective and the training keys that differ. The first stage trains a model with these (an
    auto-encoder, unless the objective says otherwise). The second stage keeps its encoder and posterior, and
    initialises the decoder again (Li et al. 2019), at random or from model.start_from. If pretraining.keep_decoder is
    true, the decoder is kept, too, and a target rate continues with its last KL weight. A mixture prior belongs to the
    second stage; it is first fitted to the first stage's posteriors. If the objective sets neither kl_weight nor
    target_rate, its target_rate is `schema.RATE` nats.

    Args:
        source: the sections; the overrides are written into it.
        overrides: ``section.key=value``.
        name: name of the recipe in messages.

    Raises:
        UserError: as in `read_recipe`.
    """
    faults = [fault for override in overrides if (fault := put(source, override))]
    faults += unknown(source, {*SECTIONS, "pretraining"}, "section ")
    recipe, found = _recipe(source)
    pretraining, of_pretraining = _pretraining(source)
    # Faults that both stages share are listed once.
    faults += found + [f"pretraining: {fault}" for fault in of_pretraining if fault not in found]
    if faults or recipe is None:
        raise UserError(f"{name}: {len(faults)} to mend: " + "; ".join(faults))
    keep_decoder = bool((source.get("pretraining") or {}).get("keep_decoder", False))
    return replace(recipe, pretraining=pretraining, keep_decoder=keep_decoder)


def _recipe(source: dict[str, Any]) -> tuple[Recipe | None, list[str]]:
    """The recipe of one stage, and its faults."""
    faults: list[str] = []
    given: dict[str, Mapping[str, Any]] = {}
    for section in SECTIONS:
        given[section] = source.get(section) or {}
        if not isinstance(given[section], Mapping):
            faults.append(f"{section}: expected keys and values, got {given[section]!r}")
            given[section] = {}
    found = {
        "corpus": corpus_section(given["corpus"]),
        "tokenizer": tokenizer_section(given["tokenizer"]),
        "model": model_section(given["model"]),
        "objective": objective_section(given["objective"], given["model"]),
        "training": training_section(given["training"]),
    }
    found["evaluation"] = evaluation_section(given["evaluation"], found["model"][0])
    faults += [fault for _, own in found.values() for fault in own]
    faults += [f"{section}.{key}: missing" for section, key in REQUIRED if given[section].get(key) is None]
    if not faults:
        model = found["model"][0]
        faults = idle_weights(given["objective"], model.kind, model.settings)
    if faults:
        return None, faults
    return Recipe(**{section: value for section, (value, _) in found.items()}, source=source), []


def _pretraining(source: dict[str, Any]) -> tuple[Recipe | None, list[str]]:
    """The recipe of the first stage, if there is one, and its faults."""
    section = source.get("pretraining")
    if section is None:
        return None, []
    if not isinstance(section, Mapping):
        return None, [f"expected the keys objective, training and keep_decoder, got {section!r}"]
    faults = unknown(section, {"objective", "training", "keep_decoder"})
    if not isinstance(section.get("keep_decoder", False), bool):
        faults.append(f"keep_decoder: expected true or false, got {section['keep_decoder']!r}")
    training, model = source.get("training") or {}, source.get("model") or {}
    folder = {"output_dir": f"{training.get('output_dir')}/pretraining"}
    stage = {
        **source,
        # A learnt prior belongs to the second stage only.
        "model": {key: value for key, value in model.items() if key != "prior" or not _is_learnt(value)},
        "objective": section.get("objective", {"kl_weight": {"end": 0.0}}),
        "training": {**training, **AUTO_ENCODER, **(section.get("training") or {}), **folder},
    }
    recipe, found = _recipe(stage)
    return recipe, faults + found


def _is_learnt(prior: Any) -> bool:
    """Whether this section describes a prior that is initialised from the first stage's posteriors."""
    return isinstance(prior, Mapping) and hasattr(PRIORS.get(str(prior.get("kind"))), "start_from")
