"""The keys and values that a recipe accepts, and the single line that reports all its faults."""

import pytest

from textvae.models.language import TextVAEModel
from textvae.models.refinement import Refinement
from textvae.models.seq2seq import Seq2SeqVAEModel
from textvae.objectives.elbo import ELBO
from textvae.objectives.schedules import KLWeight
from textvae.support.errors import UserError
from textvae.text.fields import FieldOptions
from textvae.training.recipe import read_recipe
from textvae.training.schema import RATE, EvaluationOptions, ModelOptions

MINIMAL = """
corpus: {train: some.txt}
training: {output_dir: runs/x}
"""


@pytest.fixture
def read(tmp_path):
    """A function that reads a recipe from a string."""

    def read(text, *overrides):
        path = tmp_path / "recipe.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_recipe(path, overrides)

    return read


def test_no_is_a_strategy_and_not_false(read):
    recipe = read(MINIMAL, "training.save_strategy=no", "training.bf16=no")
    assert (recipe.training["save_strategy"], recipe.training["bf16"]) == ("no", False)


def test_defaults(read):
    recipe = read(MINIMAL)
    assert recipe.corpus == {"train": "some.txt"}
    assert (recipe.tokenizer, recipe.evaluation) == (FieldOptions(), EvaluationOptions())
    assert (recipe.model, recipe.objective) == (ModelOptions(TextVAEModel, {}), ELBO(target_rate=RATE))
    assert str(recipe.folder) == "runs/x"


def test_every_section_arrives(read):
    recipe = read("""
corpus: {train: grammar, sizes: [100, 10, 10]}
tokenizer: {kind: words, minimum_count: 2}
model: {latent_size: 8, dropout: 0, initial_range: null, encoder_from: runs/lm, start_from: runs/y}
objective: {free_bits: 4, kl_weight: {schedule: linear, start: 0, steps: 100}}
training: {output_dir: runs/x, learning_rate: 1e-3, optim: sgd, decay_on_plateau: {patience: 5}}
evaluation: {samples: 10}
""")
    assert recipe.corpus["sizes"] == (100, 10, 10)
    assert recipe.tokenizer == FieldOptions(kind="words", minimum_count=2)
    options = {"latent_size": 8, "dropout": 0.0, "initial_range": None}
    assert recipe.model == ModelOptions(TextVAEModel, options, start_from="runs/y", encoder_from="runs/lm")
    assert recipe.objective == ELBO(KLWeight("linear", steps=100), free_bits=4.0)
    assert recipe.training["learning_rate"] == 1e-3, "which YAML takes for a string"
    assert recipe.training["decay_on_plateau"] == {"patience": 5}
    assert recipe.evaluation.samples == 10


@pytest.mark.parametrize(
    ("override", "section", "expected"),
    [
        ("training.max_steps=100", "training", {"output_dir": "runs/x", "max_steps": 100}),
        ("training.output_dir=runs/y=z", "training", {"output_dir": "runs/y=z"}),
        ("corpus.sizes=[3, 2, 1]", "corpus", {"train": "some.txt", "sizes": (3, 2, 1)}),
    ],
)
def test_an_override_replaces_or_adds_a_value(read, override, section, expected):
    recipe = read(MINIMAL, override)
    assert getattr(recipe, section) == expected
    assert recipe.source[section].keys() == expected.keys(), (
        "the recipe that is saved is the one that was run"
    )


def test_an_override_replaces_or_adds_an_option_of_the_model(read):
    recipe = read(MINIMAL + "model: {latent_size: 8}", "model.latent_size=4", "model.initial_range=null")
    assert recipe.model.options == {"latent_size": 4, "initial_range": None}
    assert recipe.source["model"] == {"latent_size": 4, "initial_range": None}


def test_a_part_has_the_options_of_its_kind(read):
    """Defaults are filled in, so that the section describes the model completely; the source is not changed."""
    recipe = read(MINIMAL, "model.decoder.kind=dilated_convolution", "model.decoder.dilations=large")
    decoder = recipe.model.options["decoder"]
    assert (decoder["kind"], decoder["dilations"]) == ("dilated_convolution", "large")
    assert recipe.source["model"] == {"decoder": {"kind": "dilated_convolution", "dilations": "large"}}
    other = read(MINIMAL, "model.decoder={kind: dilated_convolution}").model.options["decoder"]
    assert decoder == other | {"dilations": "large"}
    assert read(MINIMAL, "model.bag_of_words=null").model.options == {"bag_of_words": None}
    assert read(MINIMAL, "model.bag_of_words={}").model.options["bag_of_words"]["kind"] == "softmax"


def test_an_override_reaches_inside(read):
    recipe = read(MINIMAL, "objective.kl_weight.schedule=linear", "objective.kl_weight.steps=7")
    assert recipe.objective.kl_weight == KLWeight("linear", steps=7)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("", RATE),
        ("objective: {free_bits: 2}", RATE),
        ("objective: {target_rate: 3}", 3.0),
        ("objective: {kl_weight: {end: 0.5}}", None),
        ("objective: {kl_weight: null, target_rate: 3}", 3.0),
        ("objective: {kl_weight: {end: 0.5}, target_rate: null}", None),
        ("model: {latent_size: 0}", None),
    ],
    ids=str,
)
def test_the_rate_is_held_unless_the_recipe_says_otherwise(read, text, rate):
    assert read(MINIMAL + text).objective.target_rate == rate


def test_a_first_stage_is_an_auto_encoder(read):
    recipe = read("""
corpus: {train: some.txt}
model: {latent_size: 8}
objective: {free_bits: 4, kl_weight: {schedule: linear, steps: 100}}
training: {output_dir: runs/x, learning_rate: 1, optim: sgd, decay_on_plateau: {}}
pretraining: {training: {learning_rate: 0.5}}
""")
    first = recipe.pretraining
    assert first.objective == ELBO(KLWeight(end=0.0))
    assert first.model == recipe.model
    assert first.training == {
        "output_dir": "runs/x/pretraining",
        "learning_rate": 0.5,
        "optim": "sgd",
        "decay_on_plateau": None,
        "metric_for_best_model": "reconstruction",
    }
    assert recipe.training["learning_rate"] == 1.0
    assert first.pretraining is None
    assert recipe.source["pretraining"] == {"training": {"learning_rate": 0.5}}
    assert read(MINIMAL + "pretraining: {}").pretraining.objective == ELBO(KLWeight(end=0.0))
    assert read(MINIMAL).pretraining is None
    other = read(MINIMAL + "pretraining: {objective: {target_rate: 40}}").pretraining
    assert other.objective == ELBO(target_rate=40.0)


def test_a_learnt_prior_begins_with_the_second_stage(read):
    recipe = read(
        MINIMAL + "model: {prior: {kind: mixture, components: 3}}\npretraining: {keep_decoder: true}"
    )
    assert recipe.model.options["prior"] == {"kind": "mixture", "components": 3}
    assert recipe.pretraining.model.options == {}
    assert (recipe.keep_decoder, recipe.pretraining.keep_decoder) == (True, False)
    classes = read(MINIMAL + "model: {posterior: {kind: classes}, prior: {kind: classes}}\npretraining: {}")
    assert classes.pretraining.model == classes.model


def test_options_that_are_dicts_are_checked_too(read):
    recipe = read(MINIMAL, "training.aggressive={updates: 5}", "evaluation.refinement={steps: 3}")
    assert recipe.training["aggressive"] == {"updates": 5}
    assert recipe.evaluation.refinement == Refinement(steps=3)


FAULTS = {
    "objective: {kl_weight: {}, target_rate: 8}": "objective: expected kl_weight or target_rate, got both",
    "objective: {target_rate: 0}": "objective.target_rate: expected greater than 0, got 0",
    "objective: {kind: elb}": "objective.kind: expected one of elbo, got 'elb'; did you mean elbo?",
    "evaluation: {refinement: {step: 3}}": "evaluation.refinement.step: no such key; did you mean steps?",
    "evaluation: {refinement: {steps: 0}}": "evaluation.refinement.steps: expected greater than or equal to 1, got 0",
    "pretraining: {trainin: {}}": "pretraining: trainin: no such key; did you mean training?",
    "pretraining: {training: {max_step: 3}}": "pretraining: training.max_step: no such key; did you mean max_steps?",
    "pretraining: 3": "pretraining: expected the keys objective, training and keep_decoder, got 3",
    "objectiv: {}": "section objectiv: no such key; did you mean objective?",
    "model: {latent_sise: 3}": "model.latent_sise: no such key of a language model; did you mean latent_size?",
    "model: {xyz: 3}": "model.xyz: no such key of a language model$",
    "model: {vocab_size: 3}": "model.vocab_size: no such key",
    "model: {latent_size: many}": "model.latent_size: .*valid integer.*, got 'many'",
    "model: {latent_size: -1}": "model.latent_size: expected greater than or equal to 0, got -1",
    "model: {kind: seq3seq}": "model.kind: expected one of .*, got 'seq3seq'; did you mean seq2seq?",
    "model: {decoder_type: lstm}": "model.decoder_type: no such key of a language model",
    "model: {decoder: lstm}": "model.decoder: expected keys and values, such as {kind: lstm}, got 'lstm'",
    "model: {prior: null}": "model.prior: expected keys and values, such as {kind: standard_normal}, got None",
    "model: {decoder: {kind: lstn}}": "model.decoder.kind: expected one of lstm, .*, got 'lstn'; did you mean lstm?",
    "model: {encoder: {layers: 0}}": "model.encoder.layers: expected greater than or equal to 1, got 0",
    "model: {decoder: {dilations: small}}": "model.decoder.dilations: lstm has no such option, only .*layers, ",
    "model: {decoder: {layer: 2}}": "model.decoder.layer: lstm has no such option, only .*; did you mean layers?",
    "model: {prior: {kind: mixture, components: 0}}": "model.prior.components: expected greater than or equal to 1",
    "model: {posterior: {kind: classes}}": "model: expected posterior and prior both of kind classes",
    "model: [1, 2]": r"model: expected keys and values, got \[1, 2\]",
    "tokenizer: {kind: word}": "tokenizer.kind: .*'sentencepiece' or 'words', got 'word'",
    "objective: {free_bits: -1}": "objective.free_bits: expected greater than or equal to 0, got -1",
    "objective: {kl_weight: {schedule: linear}}": "objective.kl_weight: expected steps of 1 or more for the linear",
    "objective: {kl_weight: {step: 5}}": "objective.kl_weight.step: no such key; did you mean steps?",
    "evaluation: {samples: 1.5}": "evaluation.samples: .*integer.*, got 1.5",
}


@pytest.mark.parametrize(("text", "message"), FAULTS.items(), ids=FAULTS)
def test_a_fault_has_its_line(read, text, message):
    with pytest.raises(UserError, match=message):
        read(MINIMAL + text)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("learning_rat", "1", "training.learning_rat: no such key; did you mean learning_rate?"),
        ("learning_rate", "fast", "training.learning_rate: .*number.*, got 'fast'"),
        ("max_steps", "[1]", r"training.max_steps: .*integer, got \[1\]"),
        ("seed", "null", "training.seed: .*integer, got None"),
        ("aggressive", "{update: 3}", "training.aggressive.update: no such key; did you mean updates?"),
        (
            "aggressive",
            "{updates: 0}",
            "training.aggressive.updates: expected greater than or equal to 1, got 0",
        ),
        (
            "decay_on_plateau",
            "{patiense: 3}",
            "training.decay_on_plateau.patiense: no such key; did you mean patience?",
        ),
        ("decay_on_plateau", "{patience: few}", "training.decay_on_plateau.patience: .*integer.*, got 'few'"),
    ],
)
def test_a_fault_in_training_arguments_has_its_line(read, key, value, message):
    with pytest.raises(UserError, match=message):
        read(MINIMAL, f"training.{key}={value}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("max_steps=100", "max_steps=100: expected section.key=value"),
        ("training.max_steps", "training.max_steps: expected section.key=value"),
        ("training.output_dir.x=3", "training.output_dir.x=3: output_dir has no keys"),
        ("trainin.max_steps=3", "section trainin: no such key; did you mean training?"),
        ("training.max_steps=[1", r"training.max_steps=\[1: expected a value in YAML"),
    ],
)
def test_a_fault_in_an_override_has_its_line(read, override, message):
    with pytest.raises(UserError, match=message):
        read(MINIMAL, override)


def test_all_faults_come_at_once(read):
    with pytest.raises(UserError) as raised:
        read(
            "modle: {}\nmodel: {latent_sise: 3, dropout: high}\ntokenizer: {knd: words}",
            "training=3",
            "a.b=2",
        )
    message = str(raised.value)
    for part in (
        "recipe.yaml: 8 to mend: ",
        "training=3: expected section.key=value",
        "section a: no such key",
        "section modle: no such key; did you mean model?",
        "model.latent_sise: no such key of a language model; did you mean latent_size?",
        "model.dropout: ",
        "tokenizer.knd: no such key; did you mean kind?",
        "corpus.train: missing",
        "training.output_dir: missing",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", r"expected YAML in .*recipe\.yaml, got: "),
        (b"corpus: \xff", r"expected YAML in .*recipe\.yaml, got: "),
        ("just words", r"expected sections \(corpus, model, \.\.\.\) in .*recipe\.yaml, got str"),
        ("", "got NoneType"),
        ("- 1\n- 2", "got list"),
    ],
    ids=["cut", "latin", "words", "empty", "list"],
)
def test_what_is_no_recipe_is_refused(read, text, message):
    with pytest.raises(UserError, match=message) as raised:
        read(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_is_not_there(tmp_path, name):
    with pytest.raises(UserError, match=r"expected a recipe in .*, got: (No such file|Is a directory)"):
        read_recipe(tmp_path / name)


# ---- conditional models

PAIRS = """
corpus: {train: {source: a.en, target: a.de}}
training: {output_dir: runs/x}
"""
OF_PAIRS = PAIRS + "model: {kind: seq2seq}\n"


def test_a_conditional_recipe_has_the_options_of_its_model(read):
    recipe = read(
        PAIRS + "model: {kind: seq2seq, latent: {kind: step}, latent_size: 8, start_from: runs/y}\n"
        "tokenizer: {joint: false}\n"
        "evaluation: {translation: {num_beams: 3, tokenize: none}}"
    )
    assert recipe.corpus == {"train": {"source": "a.en", "target": "a.de"}}
    assert (recipe.model.kind, recipe.model.start_from) == (Seq2SeqVAEModel, "runs/y")
    assert recipe.model.options.keys() == {"latent", "latent_size"}
    assert (recipe.model.options["latent"]["kind"], recipe.model.options["latent_size"]) == ("step", 8)
    assert recipe.tokenizer == FieldOptions(joint=False)
    assert recipe.evaluation.meters["translation"] == {"num_beams": 3, "tokenize": "none"}
    assert recipe.objective == ELBO(target_rate=RATE)
    assert read(OF_PAIRS).evaluation == EvaluationOptions(meters={"translation": {}})


def test_overrides_reach_files_and_options(read):
    recipe = read(
        PAIRS, "model.kind=seq2seq", "corpus.train.source=b.en", "evaluation.translation.num_beams=1"
    )
    assert recipe.corpus["train"] == {"source": "b.en", "target": "a.de"}
    assert recipe.evaluation.meters["translation"] == {"num_beams": 1}


def test_a_first_stage_of_a_conditional_model_is_an_auto_encoder_too(read):
    recipe = read(OF_PAIRS + "pretraining: {}")
    assert (recipe.pretraining.model, recipe.pretraining.objective) == (recipe.model, ELBO(KLWeight(end=0.0)))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.latent.kind=word",
            "model.latent.kind: expected one of sentence, attention, step, got 'word'",
        ),
        ("model.decoder.kind=dilated_convolution", "model.decoder.kind: expected one of .*, got 'dilated"),
        ("model.source_vocab_size=3", "model.source_vocab_size: no such key of a seq2seq model"),
        ("model.classes=true", "model.classes: no such key of a seq2seq model"),
        ("model.prior.kind=mixture", "model.prior: no such key of a seq2seq model"),
        ("model.posterior.kind=classes", "model.posterior: no such key of a seq2seq model"),
        ("training.refinement.step=3", "training.refinement.step: no such key; did you mean steps?"),
        (
            "evaluation.translation={tokenize: japanese}",
            "evaluation.translation: expected tokenize to be one of .*, got 'japanese'",
        ),
        (
            "evaluation.translation={num_beams: 0}",
            "evaluation.translation.num_beams: expected greater than or equal to 1, got 0",
        ),
        (
            "evaluation.translation={num_beam: 3}",
            "evaluation.translation.num_beam: no such key; did you mean num_beams?",
        ),
    ],
)
def test_a_fault_in_a_conditional_recipe_has_its_line(read, override, message):
    with pytest.raises(UserError, match=message):
        read(OF_PAIRS, override)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("evaluation: {translation: {}}", "evaluation.translation: no such key"),
        ("model: {latent: {kind: step}}", "model.latent: no such key of a language model"),
        ("model: {source_vocab_size: 3}", "model.source_vocab_size: no such key of a language model"),
    ],
)
def test_a_language_model_has_none_of_it(read, text, message):
    assert read(MINIMAL).model.kind is TextVAEModel
    with pytest.raises(UserError, match=message):
        read(MINIMAL + text)
