"""A recipe is a YAML file; reading it gives a checked `Recipe`, and running that gives a run folder."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from textvae.errors import UserError
from textvae.models.language import TextVAEConfig
from textvae.objectives.elbo import ELBO
from textvae.text.corpus import load_corpus
from textvae.training.trainer import TextVAETrainingArguments

Types = dict[str, Any]


@dataclass(frozen=True)
class TokenizerOptions:
    """The ``tokenizer`` section: the arguments of `train_tokenizer`, and where long sentences are cut.

    Attributes:
        kind: "sentencepiece" for raw text, "words" for text that is already split by blanks.
        vocabulary_size: number of tokens; None: all words, or 8,000 pieces.
        algorithm: how SentencePiece learns its pieces.
        minimum_count: a word that is rarer is UNK.
        maximum_length: longer sentences are cut to so many tokens, EOS counted; None: never.
    """

    kind: Literal["sentencepiece", "words"] = "sentencepiece"
    vocabulary_size: int | None = None
    algorithm: Literal["unigram", "bpe"] = "unigram"
    minimum_count: int = 1
    maximum_length: int | None = None


@dataclass(frozen=True)
class EvaluationOptions:
    """The ``evaluation`` section: how the finished model is measured.

    Attributes:
        samples: K of the importance-weighted bound.
        batch_size: sentences at once.
    """

    samples: int = 500
    batch_size: int = 32


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.

    Attributes:
        corpus: arguments of `load_corpus`.
        tokenizer: how text is cut.
        model: fields of `TextVAEConfig`, without what the tokenizer decides.
        encoder_from: a trained run whose encoder, or the decoder of a language model, the encoder starts from.
        objective: the loss.
        training: arguments of `TextVAETrainingArguments`.
        evaluation: how the result is measured.
    """

    corpus: dict[str, Any]
    tokenizer: TokenizerOptions
    model: dict[str, Any]
    encoder_from: str | None
    objective: ELBO
    training: dict[str, Any]
    evaluation: EvaluationOptions
    source: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The run folder, ``training.output_dir``."""
        return Path(self.training["output_dir"])


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and put ``overrides`` in it.

    Args:
        path: a YAML file with the sections corpus, tokenizer, model, objective, training and evaluation.
        overrides: ``section.key=value``, the value in YAML, e.g. ``training.max_steps=100``.

    Raises:
        UserError: naming all faults at once: keys that do not exist (with the nearest that does), values of
            another type or out of range, a section or key that is missing.
    """
    source = _load(path)
    faults = [fault for override in overrides if (fault := _override(source, override))]
    schema = _schema()
    faults += _unknown(source, schema, "section ")
    values: dict[str, dict[str, Any]] = {}
    for section, types in schema.items():
        given = source.get(section) or {}
        if not isinstance(given, Mapping):
            faults.append(f"{section}: expected keys and values, got {given!r}")
            given = {}
        values[section], found = _check(given, types, f"{section}.")
        faults += found
    faults += [
        f"{section}.{key}: missing"
        for section, key in (("corpus", "train"), ("training", "output_dir"))
        if key not in (source.get(section) or {})
    ]
    if faults:
        raise UserError(f"{path}: {len(faults)} to mend: " + "; ".join(faults))
    encoder_from = values["model"].pop("encoder_from", None)
    return Recipe(
        corpus=values["corpus"],
        tokenizer=TokenizerOptions(**values["tokenizer"]),
        model=values["model"],
        encoder_from=encoder_from,
        objective=ELBO(**values["objective"]),
        training=values["training"],
        evaluation=EvaluationOptions(**values["evaluation"]),
        source=source,
    )


def _load(path: str | Path) -> dict[str, Any]:
    try:
        source = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"expected a recipe in {path}, got: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"expected YAML in {path}, got: {' '.join(str(error).split())}") from error
    if not isinstance(source, dict):
        raise UserError(f"expected sections (corpus, model, ...) in {path}, got {type(source).__name__}")
    return source


def _override(source: dict[str, Any], override: str) -> str | None:
    """Put ``a.b=value`` into ``source``; returns what is wrong with it, if anything is."""
    name, equals, value = override.partition("=")
    *parents, key = name.split(".")
    if not equals or not parents:
        return f"{override}: expected section.key=value"
    place = source
    for parent in parents:
        place[parent] = place.get(parent) or {}
        place = place[parent]
        if not isinstance(place, dict):
            return f"{override}: {parent} has no keys"
    try:
        place[key] = yaml.safe_load(value)
    except yaml.YAMLError:
        return f"{override}: expected a value in YAML"
    return None


def _schema() -> dict[str, Types]:
    """The keys of each section and the types of their values, taken from what will receive them."""
    model = inspect.get_annotations(TextVAEConfig, eval_str=True)
    decided_by_tokenizer = {"vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "unk_token_id"}
    return {
        "corpus": _parameters(load_corpus),
        "tokenizer": _parameters(TokenizerOptions),
        "model": {name: kind for name, kind in model.items() if name not in decided_by_tokenizer}
        | {"encoder_from": str | None},
        "objective": _parameters(ELBO),
        "training": _parameters(TextVAETrainingArguments),
        "evaluation": _parameters(EvaluationOptions),
    }


def _parameters(receiver: Any) -> Types:
    """The parameters of a function, or the fields of a dataclass, with their types."""
    hints = get_type_hints(receiver)
    if is_dataclass(receiver):
        return {field.name: hints[field.name] for field in fields(receiver) if field.init}
    return {name: hints[name] for name in inspect.signature(receiver).parameters}


def _check(given: Mapping[str, Any], types: Types, place: str) -> tuple[dict[str, Any], list[str]]:
    """The values in their types, and the faults; ``place`` begins every fault."""
    values: dict[str, Any] = {}
    faults = _unknown(given, types, place)
    for key in given.keys() & types.keys():
        kind = types[key]
        if isinstance(kind, type) and is_dataclass(kind) and isinstance(given[key], Mapping):
            nested, found = _check(given[key], _parameters(kind), f"{place}{key}.")
            faults += found
            try:
                values[key] = None if found else kind(**nested)
            except UserError as error:
                faults.append(f"{place}{key}: {error}")
            continue
        try:
            adapter = TypeAdapter(kind, config=None if is_dataclass(kind) else _LENIENT)
            values[key] = adapter.validate_python(given[key])
        except ValidationError as error:
            faults.append(f"{place}{key}: {error.errors()[0]['msg']}, got {given[key]!r}")
    return values, faults


_LENIENT = ConfigDict(arbitrary_types_allowed=True)


def _unknown(given: Mapping[str, Any], known: Mapping[str, Any], place: str) -> list[str]:
    """A fault for each key of ``given`` that is not in ``known``."""
    faults = []
    for key in given.keys() - known.keys():
        nearest = difflib.get_close_matches(str(key), known, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        faults.append(f"{place}{key}: no such key{hint}")
    return sorted(faults)
