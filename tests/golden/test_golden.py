"""Golden values: losses, bounds, gradients and texts of every part and option, which a restructuring must not change.

The weights are functions of their names and not random, so a test fails only if a computation has changed. After an
intended change, record the values again with ``python tests/golden/test_golden.py``.
"""

import json
import math
import zlib
from pathlib import Path
from string import ascii_lowercase

import pytest
import torch
from flat import nested

from textvae.evaluation.evaluate import evaluate
from textvae.inference.bounds import bounds
from textvae.models.language import TextVAEConfig, TextVAEModel
from textvae.models.refinement import Refinement
from textvae.models.seq2seq import Seq2SeqVAEConfig, Seq2SeqVAEModel
from textvae.objectives.elbo import ELBO
from textvae.objectives.rate import START, ascended
from textvae.objectives.schedules import KLWeight
from textvae.text.fields import Fields, LabelField, SourceField, TargetField, TextField
from textvae.text.tokenizer import train_tokenizer

# --- Adapter: only this section depends on the interface of the package. ---

RENAMED: dict[str, str] = {}
"""Maps the current beginning of a weight's name to the one used in the recorded values; whole parts of names only."""

SIZES = {"vocab_size": 30, "latent_size": 3, "embedding_size": 6, "hidden_size": 8, "dropout": 0.0}


def build_language(options):
    """A language model, from the options as they were named when the values were recorded."""
    return TextVAEModel(TextVAEConfig(**nested(SIZES | options))).double()


def build_seq2seq(options):
    """A model of pairs, from the options as they were named when the values were recorded."""
    config = Seq2SeqVAEConfig(**nested(SIZES | {"source_vocab_size": 25} | options))
    return Seq2SeqVAEModel(config).double()


def fields_of(row):
    """The fields of rows with ``ids`` and, if this one has them, ``source_ids`` and a ``label``."""
    tokenizer = train_tokenizer([" ".join(ascii_lowercase)], "words")  # the words a to z have the ids 4 to 29
    if "source_ids" in row:
        return Fields([TargetField(tokenizer), SourceField(tokenizer)])
    return Fields([TextField(tokenizer), *([LabelField(["a", "b", "c"])] if "label" in row else [])])


def collated(rows):
    """The batch of rows with ``ids`` and, if the first has them, ``source_ids`` and a ``label``."""
    return fields_of(rows[0]).collate(rows)


def bounds_of(model, batch, steps=0):
    """The bounds by name, with K = 3, after ``steps`` steps of refinement."""
    found = bounds(model, batch, samples=3, refinement=Refinement(steps=steps) if steps else None)
    return {name: getattr(found, name) for name in ("neg_elbo", "iw_nll", "kl", "kl_per_dimension")}


def score_at_mean(model, batch):
    """log p(x | z) in nats at the posterior mean z, (B,), which needs no random numbers."""
    reading = model.read(**batch)
    return reading.score(reading.posterior.mean[None])[0]


def terms_of(model, batch, objective, kl_weight, steps=0):
    """The loss and the mean rate of one training step with K = 2; ``objective`` has the arguments of `ELBO`."""
    refined = {"refinement": Refinement(steps=steps), "kl_weight": kl_weight} if steps else {}
    terms = ELBO(**objective)(model(**batch, samples=2, **refined), kl_weight)
    return terms.loss, terms.rate.mean()


def generated(model, z):
    """Ids decoded greedily from z (N, Z)."""
    return model.generate(z, max_new_tokens=8)


def translated(model, batch, latent):
    """Ids of the sources' greedy translations, with z "mean" or "sample"."""
    return model.translate(batch.source, batch.source_mask, latent=latent, max_new_tokens=8)


def attention_of(model, batch):
    """The attention weights, (B, T, S)."""
    return model.attention(batch)


def evaluated(model, batches):
    """The recorded quantities of an evaluation, by name; for a language model, also those of reconstructions."""
    found = evaluate(model, batches, samples=4, seed=1, fields=fields_of({})).to_dict()
    found.pop("bleu_signature", None)  # contains the version of sacreBLEU
    return {"mutual_information_sentences": 0} | found


def kl_weights(schedule, steps):
    """The KL weight at some steps of a ramp from 0.1 to 0.8 in 10 steps or, if cyclical, in two cycles."""
    ramp = {} if schedule == "constant" else {"start": 0.1, "steps": 10}
    weight = KLWeight(schedule, end=0.8, **ramp, **({"cycles": 2} if schedule == "cyclical" else {}))
    return [weight(step) for step in steps]


def multipliers(kls, target):
    """The multiplier of a target rate after each step, given the KL of each step."""
    values = [torch.tensor(START, dtype=torch.double)]
    for kl in kls:
        values.append(ascended(values[-1], torch.tensor(kl, dtype=torch.double), target))
    return values


# --- Cases ---

FILE = Path(__file__).with_name("golden.json")
TOPICS = {"classes": ["a", "b", "c"]}
BAG = {"bag_of_words": True}
DILATED = {"decoder_type": "dilated_convolution"}
LANGUAGE = {
    "lstm": {},
    "encoder lstm 2": {"encoder_layers": 2},
    "encoder lstm both ways": {"bidirectional": True},
    "encoder lstm 2 both ways": {"bidirectional": True, "encoder_layers": 2},
    "encoder convolution": {"encoder_type": "convolution", "encoder_layers": 2},
    "encoder bag of words": {"encoder_type": "bag_of_words", "encoder_layers": 2},
    "decoder lstm 2": {"decoder_layers": 2},
    "decoder dilated small": DILATED,
    "decoder dilated medium": DILATED | {"dilations": "medium"},
    "skip": {"skip_connection": True},
    "skip dilated": DILATED | {"skip_connection": True},
    "bag of words": BAG,
    "bag of words linear": BAG | {"bag_of_words_hidden": False},
    "bag of words tf-idf": BAG | {"bag_of_words_weights": "tf_idf"},
    "normalised means": {"normalize_means": 0.6},
    "mixture": {"prior_components": 3},
    "mixture, bag of words": BAG | {"prior_components": 3},
    "classes": TOPICS,
    "classes drawn": TOPICS | {"class_temperature": 0.5},
    "classes dilated": TOPICS | DILATED,
    "classes, skip, bag of words": TOPICS | BAG | {"skip_connection": True},
    "classes, dropout": TOPICS | {"dropout": 0.3},
    "no latent": {"latent_size": 0},
    "no latent, decoder lstm 2": {"latent_size": 0, "decoder_layers": 2},
    "no latent, dilated": DILATED | {"latent_size": 0},
    "tied": {"tie_word_embeddings": True},
    "tied, equal sizes": {"tie_word_embeddings": True, "embedding_size": 8},
    "tied dilated": DILATED | {"tie_word_embeddings": True},
    "no latent, tied": {"latent_size": 0, "tie_word_embeddings": True},
    "word dropout": {"word_dropout": 0.4},
    "dropout": {"dropout": 0.3},
    "dropout, decoder lstm 2": {"dropout": 0.3, "decoder_layers": 2},
    "dropout dilated": DILATED | {"dropout": 0.3},
    "variational dropout": {"dropout": 0.3, "variational_dropout": True},
    "variational dropout dilated": DILATED | {"dropout": 0.3, "variational_dropout": True},
    "recurrent dropout": {"recurrent_dropout": 0.3},
    "recurrent dropout, decoder lstm 2": {"recurrent_dropout": 0.3, "decoder_layers": 2},
}
REFINED = ("lstm", "decoder dilated small", "skip", "normalised means", "mixture", "tied", "dropout")
TRANSFORMER = {"encoder_type": "transformer"}
SEQ2SEQ = {
    **{
        f"{latent}, {prior}": {"latent_type": latent, "prior_type": prior}
        for latent in ("sentence", "attention", "step")
        for prior in ("source", "standard_normal")
    },
    **{
        f"{latent}, transformer": TRANSFORMER | {"latent_type": latent}
        for latent in ("sentence", "attention", "step")
    },
    "transformer 2": TRANSFORMER | {"encoder_layers": 2},
    "encoder lstm 2": {"encoder_layers": 2},
    "decoder lstm 2": {"decoder_layers": 2},
    "additive": {"attention_type": "additive"},
    "dot": {"attention_type": "dot"},
    "step, additive": {"attention_type": "additive", "latent_type": "step"},
    "shared embeddings": {"share_embeddings": True, "source_vocab_size": 30},
    "bag of words": BAG,
    "no latent": {"latent_size": 0},
    "no latent, transformer": TRANSFORMER | {"latent_size": 0},
    "tied": {"tie_word_embeddings": True},
    "tied, equal sizes, shared embeddings": {
        "tie_word_embeddings": True,
        "embedding_size": 8,
        "share_embeddings": True,
        "source_vocab_size": 30,
    },
    "word dropout": {"word_dropout": 0.4},
    "dropout": {"dropout": 0.3},
    "step, dropout, 2 layers": {
        "latent_type": "step",
        "dropout": 0.3,
        "encoder_layers": 2,
        "decoder_layers": 2,
    },
    "transformer, dropout": TRANSFORMER | {"dropout": 0.3},
}
ATTENTIONS = ("sentence, source", "additive", "dot", "step, source")
EVALUATED = {
    "language": (build_language, "lstm"),
    "classes": (build_language, "classes"),
    "pairs": (build_seq2seq, "sentence, source"),
    "pairs, step": (build_seq2seq, "step, source"),
}
SENTENCES = ([5, 9, 4, 17, 9], [22], [8, 8, 29, 11, 6, 13, 20], [12, 25, 7], [19, 5], [10, 28, 16, 4, 21])
SOURCES = ([7, 12], [4, 24, 9, 15, 11, 5], [20, 6, 6, 18], [13], [23, 8, 10], [14, 17])
LABELS = (0, 2, None, 1, 0, None)


def objectives_of(options):
    """For a model with these options: the objectives, by name, each as its arguments and a KL weight."""
    objectives = {
        "elbo": ({}, 0.3),
        "free bits, sentence": ({"free_bits": 1.2}, 1.0),
        "free bits, batch": ({"free_bits": 1.2, "free_bits_on": "batch"}, 1.0),
    }
    if options.get("bag_of_words"):
        objectives["bag of words"] = {"bag_of_words": 2.0}, 0.3
    if "classes" in options:
        objectives["classification"] = {"classification": 5.0}, 0.3
    return objectives


def rows_of(build, options, part=slice(0, 4)):
    """Some of the fixed sentences, with sources and labels if the model has them."""
    rows = [{"ids": ids} for ids in SENTENCES]
    if build is build_seq2seq:
        rows = [row | {"source_ids": ids} for row, ids in zip(rows, SOURCES, strict=True)]
    if "classes" in options:
        rows = [row | {"label": label} for row, label in zip(rows, LABELS, strict=True)]
    return rows[part]


# --- Weights ---


def former(name):
    """The name of a weight or of a part in the recorded values."""
    for new in sorted(RENAMED, key=len, reverse=True):
        if f"{name}.".startswith(f"{new}."):
            return RENAMED[new] + name[len(new) :]
    return name


def weights_of(model):
    """Parameters and buffers by their former names; a tied weight has the first of its names."""
    named = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        named.setdefault(id(tensor), (tensor, []))[1].append(former(name))
    return {min(names): tensor for tensor, names in named.values()}


def fixed(name, like):
    """Values for a weight, computed from its name and shape; the matrix has full rank, like a random one."""
    code, k = zlib.crc32(name.encode()) % 1000, torch.arange(like.numel(), dtype=torch.double)
    if not like.is_floating_point():  # counts of all documents, and of the documents with each word
        return torch.full_like(like, 9) if like.ndim == 0 else ((k + code) % 7).to(like.dtype).view_as(like)
    values = (code + 0.37 * k**2 + k).sin().view_as(like)
    return 1 + 0.5 * values if name.endswith("running_var") else 0.6 * values


@torch.no_grad()
def fix(model, changed=None):
    """Give the model the fixed weights; multiply the weight named ``changed`` by 1 + 1e-4."""
    for name, tensor in weights_of(model).items():
        tensor.copy_(fixed(name, tensor) * (1 + 1e-4 * (name == changed)))
    return model


# --- Values ---


def gradient_norms(model):
    """The norm of the gradient of each part, by the part's former name."""
    squares = {}
    for name, weight in weights_of(model).items():
        if weight.grad is not None:
            part = name.split(".")[0]
            squares[part] = squares.get(part, 0.0) + float(weight.grad.square().sum())
    return {part: math.sqrt(square) for part, square in sorted(squares.items())}


def training_step(model, batch, objective, kl_weight, changed=None, **options):
    """Loss, rate and gradient norms of a step of training."""
    fix(model.train(), changed).zero_grad()
    torch.manual_seed(0)
    loss, rate = terms_of(model, batch, objective, kl_weight, **options)
    loss.backward()
    return {"loss": loss, "rate": rate} | gradient_norms(model)


def bounds_and_training(model, batch, objectives, changed=None):
    """The values that are recorded for every model, with the fixed weights, or with one of them changed."""
    fix(model.eval(), changed)
    torch.manual_seed(0)
    with torch.no_grad():
        values = bounds_of(model, batch) | {"score_at_mean": score_at_mean(model, batch)}
    for name, (objective, kl_weight) in objectives.items():
        step = training_step(model, batch, objective, kl_weight, changed)
        values |= {f"{name}: {part}": value for part, value in step.items()}
    return values


def fixed_z(options):
    """Three vectors z, (3, Z); for a model with classes, each has another class, (3, Z + C)."""
    size = options.get("latent_size", 3)
    z = 1.5 * torch.arange(3 * size, dtype=torch.double).square().sin().view(3, size)
    return torch.cat([z, torch.eye(3, dtype=torch.double)], -1) if "classes" in options else z


def language_values(name, changed=None):
    options = LANGUAGE[name]
    model, batch = build_language(options), collated(rows_of(build_language, options))
    values = bounds_and_training(model, batch, objectives_of(options), changed)
    values["generated"] = generated(fix(model.eval(), changed), fixed_z(options))
    return values


def refined_values(name):
    model, batch = build_language(LANGUAGE[name]), collated(rows_of(build_language, {}))
    torch.manual_seed(0)
    values = bounds_of(fix(model.eval()), batch, steps=3)
    return values | training_step(model, batch, {}, 0.3, steps=3)


def seq2seq_values(name, changed=None):
    options = SEQ2SEQ[name]
    model, batch = build_seq2seq(options), collated(rows_of(build_seq2seq, options))
    values = bounds_and_training(model, batch, objectives_of(options), changed)
    fix(model.eval(), changed)
    for latent in ("mean", "sample"):
        torch.manual_seed(0)
        values[f"translated, {latent}"] = translated(model, batch, latent)
    if name in ATTENTIONS:
        values["attention"] = attention_of(model, batch)[0]
    return values


def evaluated_values(name):
    build, case = EVALUATED[name]
    options = (LANGUAGE if build is build_language else SEQ2SEQ)[case]
    batches = [collated(rows_of(build, options, part)) for part in (slice(0, 3), slice(3, 4), slice(4, 6))]
    return evaluated(fix(build(options).eval()), batches)


def schedule_values(name):
    if name == "target rate":
        return {"multipliers": multipliers([0.5, 3.0, 4.5, 30.0], target=4.0)}
    return {"weights": kl_weights(name, (0, 1, 2, 3, 5, 6, 8, 9, 10, 11))}


SCHEDULES = ("constant", "linear", "sigmoid", "tanh", "cyclical", "target rate")
VALUES = {
    "language": (language_values, LANGUAGE),
    "refined": (refined_values, REFINED),
    "seq2seq": (seq2seq_values, SEQ2SEQ),
    "evaluated": (evaluated_values, EVALUATED),
    "schedules": (schedule_values, SCHEDULES),
}


def plain(value):
    """The value with tensors as lists, and with floats rounded to the digits that are compared."""
    if isinstance(value, torch.Tensor):
        return plain(value.tolist())
    if isinstance(value, list):
        return [plain(part) for part in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def measured(group, case):
    """The current values of a case."""
    return {name: plain(value) for name, value in VALUES[group][0](case).items()}


def written(values, indent=""):
    """JSON with one line for each value of a dictionary; a list stays on one line."""
    if not isinstance(values, dict):
        return json.dumps(values)
    lines = [f"{indent} {json.dumps(name)}: {written(value, indent + ' ')}" for name, value in values.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def record():
    """Write the values of all cases, one line for each value."""
    recorded = {
        group: {case: measured(group, case) for case in cases} for group, (_, cases) in VALUES.items()
    }
    FILE.write_text(written(recorded) + "\n", encoding="utf-8")


# --- Tests ---

GOLDEN = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
CASES = [(group, case) for group, (_, cases) in VALUES.items() for case in cases]


def flat(value):
    return [number for part in value for number in flat(part)] if isinstance(value, list) else [value]


def same(value, golden):
    """Whether numbers agree to 1e-6, and ids and words exactly."""
    ours, theirs = flat(value), flat(golden)
    if not all(isinstance(part, float) for part in ours + theirs):
        return value == golden
    return len(ours) == len(theirs) and ours == pytest.approx(theirs, rel=1e-6, abs=1e-6)


def moved(values, golden):
    """The values that differ from the recorded ones, each as a pair (current, recorded)."""
    names = sorted(values.keys() | golden.keys())
    return {
        name: (values.get(name), golden.get(name))
        for name in names
        if name not in values or name not in golden or not same(values[name], golden[name])
    }


@pytest.mark.parametrize(("group", "case"), CASES)
def test_nothing_has_moved(group, case):
    golden = GOLDEN[group][case]
    found = measured(group, case)
    if group == "evaluated":  # a new metric changes no other value
        found = {name: value for name, value in found.items() if name in golden}
    assert moved(found, golden) == {}, (
        "if a value should change, record them again: python tests/golden/test_golden.py"
    )


def test_every_case_is_recorded_and_no_other():
    assert {group: list(cases) for group, cases in GOLDEN.items()} == {
        group: list(cases) for group, (_, cases) in VALUES.items()
    }


def test_a_renamed_weight_keeps_its_values(monkeypatch):
    monkeypatch.setitem(RENAMED, "inference.encoder", "encoder")
    assert former("inference.encoder.lstm.bias_ih_l0") == "encoder.lstm.bias_ih_l0"
    assert former("inference.encoder_2.weight") == "inference.encoder_2.weight"


@pytest.mark.parametrize("group", VALUES)
def test_every_option_matters(group):
    """If two cases had equal values, the option in which they differ would not be tested."""
    recorded = [json.dumps(case) for case in GOLDEN[group].values()]
    assert len(set(recorded)) == len(recorded)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group", "case"),
    [
        ("language", "mixture, bag of words"),
        ("language", "classes, skip, bag of words"),
        ("language", "decoder dilated small"),
        ("seq2seq", "step, source"),
    ],
)
def test_a_change_of_any_weight_is_noticed(group, case):
    build, options = (
        (build_language, LANGUAGE[case]) if group == "language" else (build_seq2seq, SEQ2SEQ[case])
    )
    model, batch = build(options), collated(rows_of(build, options))
    golden = GOLDEN[group][case]
    objectives = dict(list(objectives_of(options).items())[:1])

    def noticed(changed):
        values = bounds_and_training(model, batch, objectives, changed)
        return any(not same(plain(value), golden[name]) for name, value in values.items())

    assert not noticed(None)
    assert [name for name in weights_of(model) if not noticed(name)] == []


if __name__ == "__main__":
    record()
