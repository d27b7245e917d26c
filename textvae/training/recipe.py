"""A recipe is a YAML file; reading it gives a checked `Recipe`, and running that gives a run folder."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from textvae.errors import UserError
from textvae.evaluation.sample_quality import bleu_metric
from textvae.models.language import TextVAEConfig
from textvae.models.refinement import Refinement
from textvae.models.seq2seq import Seq2SeqVAEConfig
from textvae.objectives.elbo import ELBO
from textvae.text.corpus import load_corpus
from textvae.training.aggressive import AggressiveEncoder
from textvae.training.plateau import DecayOnPlateau
from textvae.training.trainer import TextVAETrainingArguments

Types = dict[str, Any]
Config = type[TextVAEConfig] | type[Seq2SeqVAEConfig]

RATE = 8.0
"""Nats of KL per sentence at which a model is held whose recipe does not say how its KL is to be treated."""

AUTO_ENCODER = {"metric_for_best_model": "reconstruction", "decay_on_plateau": None}
"""What training does otherwise in a first stage, whose bound at KL weight 1 means nothing."""

_BY_TOKENIZERS = {f"{token}_token_id" for token in ("pad", "bos", "eos", "unk", "source_pad")}
_BY_TOKENIZERS |= {"vocab_size", "source_vocab_size"}

ELSEWHERE: dict[Config, dict[str, set[str]]] = {
    TextVAEConfig: {"model": _BY_TOKENIZERS, "tokenizer": {"joint"}, "evaluation": {"translation"}},
    Seq2SeqVAEConfig: {
        "model": _BY_TOKENIZERS,
        "training": {"aggressive", "refinement"},
        "evaluation": {"refinement"},
    },
}
"""What a recipe cannot say: what is decided by the tokenizers, or is of the other kind of model."""

BESIDE_SIZES: dict[Config, Types] = {
    TextVAEConfig: {"start_from": str | None, "encoder_from": str | None, "classes": bool},
    Seq2SeqVAEConfig: {"start_from": str | None},
}
"""What the section model says beside the sizes."""

ARGUMENTS: dict[str, Any] = {
    "decay_on_plateau": DecayOnPlateau,
    "aggressive": AggressiveEncoder,
    "refinement": Refinement,
}
"""Whose arguments the values of these keys are, which the trainer takes as dicts."""


@dataclass(frozen=True)
class TokenizerOptions:
    """The ``tokenizer`` section: the arguments of `train_tokenizers`, and where long sentences are cut.

    Attributes:
        kind: "sentencepiece" for raw text, "words" for text that is already split by blanks.
        vocabulary_size: number of tokens; None: all words, or 8,000 pieces.
        algorithm: how SentencePiece learns its pieces.
        minimum_count: a word that is rarer is UNK.
        character_coverage: share of the characters that get a piece of their own; the rest are spelt in bytes.
        lower: whether text is lower-cased.
        maximum_length: longer sentences are cut to so many tokens, EOS counted; None: never.
        joint: of pairs, whether source and target share one vocabulary.
    """

    kind: Literal["sentencepiece", "words"] = "sentencepiece"
    vocabulary_size: int | None = None
    algorithm: Literal["unigram", "bpe"] = "unigram"
    minimum_count: int = 1
    character_coverage: float = 0.9995
    lower: bool = False
    maximum_length: int | None = None
    joint: bool = True


@dataclass(frozen=True)
class TranslationOptions:
    """How a conditional model translates the test split.

    Attributes:
        num_beams: of the beam search.
        length_penalty: over 0 favours long translations, the more the larger; 1 is the mean of the log-probabilities.
        tokenize: how sacreBLEU splits: "13a" European languages, "none" text that is split by blanks already, ...

    Raises:
        UserError: before training rather than after it, if there are no beams, or sacreBLEU cannot split so.
    """

    num_beams: int = 10
    length_penalty: float = 1.0
    tokenize: str = "13a"

    def __post_init__(self) -> None:
        if self.num_beams < 1:
            raise UserError(f"expected num_beams of 1 or more, got {self.num_beams}")
        bleu_metric(self.tokenize)


@dataclass(frozen=True)
class EvaluationOptions:
    """The ``evaluation`` section: how the finished model is measured.

    Attributes:
        samples: K of the importance-weighted bound.
        batch_size: sentences at once.
        refinement: how each sentence's posterior is improved first, for this measurement alone; None: as the encoder
            gives it.
        bf16: compute products of matrices in bf16, which is faster where the hardware is and a little less exact.
        translation: of a conditional model, how it translates.
    """

    samples: int = 500
    batch_size: int = 32
    refinement: Refinement | None = None
    bf16: bool = False
    translation: TranslationOptions = TranslationOptions()


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.

    Attributes:
        corpus: arguments of `load_corpus`.
        tokenizer: how text is cut.
        model: fields of ``config``, without what the tokenizers decide.
        start_from: a trained run whose model this one starts as, with a z or without.
        encoder_from: a trained run whose encoder, or the decoder of a language model, the encoder starts from.
        classes: whether the classes of the corpus, its labels, are a latent part of the model.
        objective: the loss.
        training: arguments of `TextVAETrainingArguments`.
        evaluation: how the result is measured.
        source: the sections as they were read, with the overrides.
        pretraining: a recipe that is run first, whose encoder and posterior this one starts with; None: nothing.
        keep_decoder: start with its decoder too, and with the KL weight of its target rate.
        config: the kind of model: `TextVAEConfig`, or `Seq2SeqVAEConfig` for one of pairs.
    """

    corpus: dict[str, Any]
    tokenizer: TokenizerOptions
    model: dict[str, Any]
    start_from: str | None
    encoder_from: str | None
    classes: bool
    objective: ELBO
    training: dict[str, Any]
    evaluation: EvaluationOptions
    source: dict[str, Any]
    pretraining: Recipe | None = None
    keep_decoder: bool = False
    config: Config = TextVAEConfig

    @property
    def conditional(self) -> bool:
        """Whether the model is one of pairs, target given source."""
        return self.config is Seq2SeqVAEConfig

    @property
    def folder(self) -> Path:
        """The run folder, ``training.output_dir``."""
        return Path(self.training["output_dir"])


def read_recipe(path: str | Path, overrides: Sequence[str] = (), config: Config = TextVAEConfig) -> Recipe:
    """Read a recipe and put ``overrides`` in it.

    The sections are corpus, tokenizer, model, objective, training and evaluation, and, for two stages, pretraining,
    with an objective of its own and keys of training that differ: first a model is trained with these (an
    auto-encoder, unless the objective says otherwise), then its encoder and posterior are kept, and the decoder is
    made anew (Li et al. 2019), or again that of model.start_from, unless the section's key keep_decoder is true;
    then a target rate goes on with the KL weight that it had. A mixture prior, model.prior_components, belongs to
    the second stage; it starts as the mixture that fits the first stage's posteriors. Without a kl_weight or a
    target_rate the objective's target_rate is `RATE` nats.

    A conditional model is trained in one stage.

    Args:
        path: a YAML file.
        overrides: ``section.key=value``, the value in YAML, e.g. ``training.max_steps=100``.
        config: of the model, whose fields are the keys of the section ``model``.

    Raises:
        UserError: naming all faults at once: keys that do not exist (with the nearest that does), values of
            another type or out of range, a section or key that is missing.
    """
    source = _load(path)
    faults = [fault for override in overrides if (fault := _override(source, override))]
    stages = () if config is Seq2SeqVAEConfig else ("pretraining",)
    faults += _unknown(source, {*_schema(config), *stages}, "section ")
    recipe, found = _recipe(source, config)
    pretraining, of_pretraining = _pretraining(source) if stages else (None, [])
    # What both stages share is said once.
    faults += found + [f"pretraining: {fault}" for fault in of_pretraining if fault not in found]
    if faults or recipe is None:
        raise UserError(f"{path}: {len(faults)} to mend: " + "; ".join(faults))
    return replace(recipe, pretraining=pretraining, keep_decoder=_keeps_decoder(source))


def _recipe(source: dict[str, Any], config: Config = TextVAEConfig) -> tuple[Recipe | None, list[str]]:
    """The recipe of one stage, and the faults."""
    faults: list[str] = []
    values: dict[str, dict[str, Any]] = {}
    for section, types in _schema(config).items():
        given = source.get(section) or {}
        if not isinstance(given, Mapping):
            faults.append(f"{section}: expected keys and values, got {given!r}")
            given = {}
        if section == "objective":
            # So that an override can take back what the file says.
            given = {key: value for key, value in given.items() if value is not None}
        if section == "training":
            # YAML reads a bare no as false.
            given = {
                key: "no" if value is False and key.endswith("_strategy") else value
                for key, value in given.items()
            }
        values[section], found = _check(given, types, f"{section}.")
        faults += found
    faults += [
        f"{section}.{key}: missing"
        for section, key in (("corpus", "train"), ("training", "output_dir"))
        if key not in (source.get(section) or {})
    ]
    objective = values["objective"]
    if {"kl_weight", "target_rate"} <= objective.keys():
        faults.append("objective: expected kl_weight or target_rate, got both")
    if not {"kl_weight", "target_rate"} & objective.keys() and values["model"].get("latent_size") != 0:
        objective["target_rate"] = RATE
    try:
        loss = ELBO(**objective)
    except UserError as error:
        faults.append(f"objective: {error}")
    if faults:
        return None, faults
    start_from = values["model"].pop("start_from", None)
    encoder_from = values["model"].pop("encoder_from", None)
    classes = values["model"].pop("classes", False)
    return Recipe(
        corpus=values["corpus"],
        tokenizer=TokenizerOptions(**values["tokenizer"]),
        model=values["model"],
        start_from=start_from,
        encoder_from=encoder_from,
        classes=classes,
        objective=loss,
        training=values["training"],
        evaluation=EvaluationOptions(**values["evaluation"]),
        source=source,
        config=config,
    ), []


def _pretraining(source: dict[str, Any]) -> tuple[Recipe | None, list[str]]:
    """The recipe of the first stage, if there is one, and the faults."""
    section = source.get("pretraining")
    if section is None:
        return None, []
    if not isinstance(section, Mapping):
        return None, [f"expected the keys objective, training and keep_decoder, got {section!r}"]
    faults = _unknown(section, {"objective", "training", "keep_decoder"}, "")
    if not isinstance(section.get("keep_decoder", False), bool):
        faults.append(f"keep_decoder: expected true or false, got {section['keep_decoder']!r}")
    training = source.get("training") or {}
    folder = {"output_dir": f"{training.get('output_dir')}/pretraining"}
    stage = {
        **source,
        "objective": section.get("objective", {"kl_weight": {"end": 0.0}}),
        "training": {**training, **AUTO_ENCODER, **(section.get("training") or {}), **folder},
    }
    recipe, found = _recipe(stage)
    if recipe:
        model = {name: value for name, value in recipe.model.items() if name != "prior_components"}
        recipe = replace(recipe, model=model)
    return recipe, faults + found


def _keeps_decoder(source: dict[str, Any]) -> bool:
    return bool((source.get("pretraining") or {}).get("keep_decoder", False))


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


def _schema(config: Config) -> dict[str, Types]:
    """The keys of each section and the types of their values, taken from what will receive them."""
    schema = {
        "corpus": _parameters(load_corpus),
        "tokenizer": _parameters(TokenizerOptions),
        "model": inspect.get_annotations(config, eval_str=True),
        "objective": _parameters(ELBO),
        "training": _parameters(TextVAETrainingArguments),
        "evaluation": _parameters(EvaluationOptions),
    }
    schema["model"] |= BESIDE_SIZES[config]
    return {
        section: {
            name: kind for name, kind in types.items() if name not in ELSEWHERE[config].get(section, ())
        }
        for section, types in schema.items()
    }


def _dataclass_of(kind: Any) -> Any:
    """The dataclass that ``kind`` is, or is with None; None if it is something else."""
    return next((part for part in (kind, *get_args(kind)) if is_dataclass(part)), None)


def _parameters(receiver: Any) -> Types:
    """The parameters of a function or a class, or the fields of a dataclass, with their types."""
    plain = isinstance(receiver, type) and not is_dataclass(receiver)
    hints = get_type_hints(receiver.__init__ if plain else receiver)
    if is_dataclass(receiver):
        return {field.name: hints[field.name] for field in fields(receiver) if field.init}
    return {name: hints[name] for name in inspect.signature(receiver).parameters}


def _check(given: Mapping[str, Any], types: Types, place: str) -> tuple[dict[str, Any], list[str]]:
    """The values in their types, and the faults; ``place`` begins every fault."""
    values: dict[str, Any] = {}
    faults = _unknown(given, types, place)
    for key in given.keys() & types.keys():
        kind = types[key]
        kept = _dataclass_of(kind)
        receiver = kept or ARGUMENTS.get(key)
        if receiver is not None and isinstance(given[key], Mapping):
            nested, found = _check(given[key], _parameters(receiver), f"{place}{key}.")
            faults += found
            try:
                made = None if found else receiver(**nested)
                values[key] = made if kept else nested
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


def _unknown(given: Mapping[str, Any], known: Collection[str], place: str) -> list[str]:
    """A fault for each key of ``given`` that is not in ``known``."""
    faults = []
    for key in given.keys() - set(known):
        nearest = difflib.get_close_matches(str(key), known, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        faults.append(f"{place}{key}: no such key{hint}")
    return sorted(faults)
