"""The values of a recipe that the planner chooses."""

import pytest

from textvae.support.errors import UserError
from textvae.training import automatic
from textvae.training.automatic import filled, flat, put_missing, without
from textvae.training.recipe import planned_recipe, read_recipe
from textvae.training.speed import Sizes, estimated_speed, nominal_speed
from textvae.training.trial import calibrated_speed

pytestmark = pytest.mark.usefixtures("apart")

RECIPE = """
corpus: {train: some.txt}
tokenizer: {kind: sentencepiece, vocabulary_size: auto, maximum_length: 12}
model: {latent_size: 8, hidden_size: auto}
training: {output_dir: run, max_steps: auto, num_train_epochs: 3, warmup_steps: 7}
"""


@pytest.fixture(autouse=True)
def at_one_speed(monkeypatch):
    """Measure no speed, so that plans are the same on every machine."""
    monkeypatch.setattr(automatic, "calibrated_speed", lambda sizes: nominal_speed)


@pytest.fixture
def some(apart, tmp_path):
    """A corpus of 200 sentences in the working directory, and a recipe beside it."""
    sizes, animals, verbs = (
        ("old", "big", "red", "wet", "sad"),
        "abcdefgh",
        ("sleeps", "walks", "sings", "eats", "runs"),
    )
    texts = [f"the {size} {animal}, it {verb}." for size in sizes for animal in animals for verb in verbs]
    (tmp_path / "some.txt").write_text("\n".join(texts))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def test_auto_is_chosen_and_the_rest_is_kept(some):
    recipe = read_recipe("recipe.yaml")
    assert recipe.model.options == {"latent_size": 8, "hidden_size": 128}
    assert 260 < recipe.tokenizer.vocabulary_size < 400
    assert recipe.training["max_steps"] >= 600
    assert recipe.training["warmup_steps"] == 7
    assert [choice.key for choice in recipe.plan.choices] == [
        "tokenizer.vocabulary_size",
        "model.hidden_size",
        "training.max_steps",
    ]
    assert automatic.automatic(recipe.source) == []


def test_a_corpus_alone_gets_all_values(some):
    recipe = planned_recipe(
        "some.txt", ["training.output_dir=run", "model.latent_size=5", "model.bag_of_words=null"]
    )
    values = flat(recipe.source)
    assert (values["model.latent_size"], values["model.bag_of_words"]) == (5, None)
    assert {choice.key for choice in recipe.plan.choices} <= values.keys()
    assert (values["corpus.validation_size"], values["corpus.test_size"]) == (20, 20), "of all 200 texts"


def test_auto_on_the_command_line_is_as_if_nothing_were_said(some):
    recipes = [
        planned_recipe("some.txt", ["training.output_dir=run", *more])
        for more in ([], ["training.max_steps=auto"])
    ]
    assert recipes[0].source == recipes[1].source


def test_a_resumed_run_keeps_its_values(some):
    run = some / "run"
    run.mkdir()
    earlier = put_missing(
        {}, {"tokenizer.vocabulary_size": 300, "model.hidden_size": 77, "training.max_steps": 5}
    )
    (run / "recipe.yaml").write_text(str(earlier))
    recipe = read_recipe("recipe.yaml", resume=True)
    assert recipe.plan is None
    assert (recipe.tokenizer.vocabulary_size, recipe.model.options["hidden_size"]) == (300, 77)
    assert recipe.training["max_steps"] == 5
    assert read_recipe("recipe.yaml").training["max_steps"] >= 600


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.dropout=auto", r"got it for model\.dropout; did you mean model\.word_dropout"),
        (
            "training.logging_step=auto",
            r"got it for training\.logging_step; did you mean training\.logging_steps\?",
        ),
        ("training.max_step=3", r"training\.max_step: no such key; did you mean max_steps\?"),
        ("corpus.streaming=true", "expected a stored corpus to look at, got a stream"),
        ("corpus.trian=x", r"corpus\.trian: no such key; did you mean train\?"),
        ("training.max_steps", "expected section.key=value"),
    ],
)
def test_faults_are_named(some, override, message):
    with pytest.raises(UserError, match=message):
        read_recipe("recipe.yaml", [override])


def test_pairs_have_no_single_text(some):
    source = {"train": {"source": "some.txt", "target": "some.txt"}}
    with pytest.raises(UserError, match="one text a row to choose values for, got one with source, target"):
        filled({"corpus": source, "training": {"output_dir": "run"}}, ["training.max_steps"])


def test_keys_are_removed_at_any_depth():
    source = {"a": {"b": 1, "c": {"d": 2, "e": 3}}}
    assert without(source, ["a.b", "a.c.e"]) == {"a": {"c": {"d": 2}}}
    assert source == {"a": {"b": 1, "c": {"d": 2, "e": 3}}}, "the source is not changed"
    assert put_missing({"a": None}, {"a.b": 1}) == {"a": None}


def test_a_trial_scales_the_estimate():
    tried, other = Sizes(50, 8, 8, 4, 4, 5), Sizes(100, 16, 16, 4, 4, 5)
    speed = calibrated_speed(tried, seconds=0.05)
    assert 10 < speed(tried) < 1e6
    assert speed(other) / speed(tried) == pytest.approx(estimated_speed(other) / estimated_speed(tried))


def test_processes_agree_without_a_trial(some, monkeypatch):
    """Each would measure another speed, so none is measured."""
    monkeypatch.setattr(automatic, "calibrated_speed", None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert read_recipe("recipe.yaml", since=-1_000.0).source == read_recipe("recipe.yaml").source
