"""A recipe is a YAML file; reading it gives a checked `Recipe`, and running that gives a run folder."""

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
"""What training does otherwise in a first stage, whose bound at KL weight 1 means nothing."""


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.

    Attributes:
        corpus: arguments of `load_corpus`.
        tokenizer: how text becomes tokens.
        model: the kind of model and its options.
        objective: the loss.
        training: arguments of `TextVAETrainingArguments`.
        evaluation: how the result is measured.
        source: the sections as they were read, with the overrides.
        pretraining: a recipe that is run first, whose inference network this one starts with; None: nothing.
        keep_decoder: whether this one starts with its decoder too, and with the KL weight of its target rate.
        plan: why those values were chosen that nobody had set; None: there was nothing to choose.
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
    """Read a recipe from a YAML file, put ``overrides`` in it, see `recipe_of`, and choose what is ``auto``.

    Args:
        path: a YAML file.
        overrides: ``section.key=value``, the value in YAML, e.g. ``training.max_steps=100``.
        minutes: how long training may take, for values that are ``auto``.
        since: when the time began, by `time.monotonic`; None: now.
        resume: for values that are ``auto`` take those of the run in the folder, if there is one.

    Raises:
        UserError: naming all faults at once: keys that do not exist (with the nearest that does), values of
            another type or out of range, a section or key that is missing; or as `automatic.filled` says.
    """
    source = read_yaml(path, "a recipe", "sections (corpus, model, ...)")
    faults = [fault for override in overrides if (fault := put(source, override))]
    if not (keys := automatic(source)):
        return recipe_of(source, overrides, str(path))
    if faults:
        raise UserError(f"{path}: {len(faults)} to mend: " + "; ".join(faults))
    # All faults before the corpus is looked at.
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
    """The recipe for a corpus, all of whose values are chosen but those in ``overrides``.

    Args:
        corpus: as `load_corpus` takes it.
        overrides: as `read_recipe`; one of them names ``training.output_dir``.
        minutes: how long training may take.
        since: when the time began, by `time.monotonic`; None: now.
        resume: take the values of the run in the folder, if there is one.

    Raises:
        UserError: as `read_recipe`.
    """
    source: dict[str, Any] = {"corpus": {"train": corpus}}
    name = f"the recipe for {corpus}"
    faults = [fault for override in overrides if (fault := put(source, override))]
    if faults:
        raise UserError(f"{name}: {len(faults)} to mend: " + "; ".join(faults))
    # All faults before the corpus is looked at.
    source = without(source, automatic(source))
    recipe_of(source, name=name)
    chosen, plan = filled(source, None, minutes, since=since, resume=resume)
    return replace(recipe_of(chosen, name=name), plan=plan)


def recipe_of(source: dict[str, Any], overrides: Sequence[str] = (), name: str = "recipe") -> Recipe:
    """The recipe of sections as they stand in a file.

    The sections are corpus, tokenizer, model, objective, training and evaluation. For two stages there is also
    pretraining, with an objective of its own and keys of training that differ: first a model is trained with these (an
    auto-encoder, unless the objective says otherwise), then its encoder and posterior are kept, and the decoder is made
    anew (Li et al. 2019), or again that of model.start_from, unless the section's key keep_decoder is true; then a
    target rate goes on with the KL weight that it had. A mixture prior belongs to the second stage; it starts as the
    mixture that fits the first stage's posteriors. Without a kl_weight or a target_rate the objective's target_rate is
    `schema.RATE` nats.

    Args:
        source: the sections; overrides are put into it.
        overrides: ``section.key=value``.
        name: of the recipe, in messages.

    Raises:
        UserError: see `read_recipe`.
    """
    faults = [fault for override in overrides if (fault := put(source, override))]
    faults += unknown(source, {*SECTIONS, "pretraining"}, "section ")
    recipe, found = _recipe(source)
    pretraining, of_pretraining = _pretraining(source)
    # What both stages share is said once.
    faults += found + [f"pretraining: {fault}" for fault in of_pretraining if fault not in found]
    if faults or recipe is None:
        raise UserError(f"{name}: {len(faults)} to mend: " + "; ".join(faults))
    keep_decoder = bool((source.get("pretraining") or {}).get("keep_decoder", False))
    return replace(recipe, pretraining=pretraining, keep_decoder=keep_decoder)


def _recipe(source: dict[str, Any]) -> tuple[Recipe | None, list[str]]:
    """The recipe of one stage, and the faults."""
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
    """The recipe of the first stage, if there is one, and the faults."""
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
        # A learnt prior starts with the second stage.
        "model": {key: value for key, value in model.items() if key != "prior" or not _is_learnt(value)},
        "objective": section.get("objective", {"kl_weight": {"end": 0.0}}),
        "training": {**training, **AUTO_ENCODER, **(section.get("training") or {}), **folder},
    }
    recipe, found = _recipe(stage)
    return recipe, faults + found


def _is_learnt(prior: Any) -> bool:
    """Whether the section of a prior names one that starts from the posteriors of an earlier stage."""
    return isinstance(prior, Mapping) and hasattr(PRIORS.get(str(prior.get("kind"))), "start_from")
