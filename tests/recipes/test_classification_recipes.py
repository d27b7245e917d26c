"""Every method of the classification recipe runs for a few steps on a substitute for its corpus."""

import importlib
import json
import re
from pathlib import Path

import pytest

from textvae.training.recipe import read_recipe

SCRIPT = "classification/classify.py"
FOLDER = Path(__file__).parents[2] / "recipes" / "classification"
SMALL = [
    "model.embedding_size=8",
    "model.hidden_size=12",
    "model.latent_size=4",
    "tokenizer.kind=words",
    "tokenizer.vocabulary_size=null",
    "training.max_steps=3",
    "training.warmup_steps=0",
    "training.per_device_train_batch_size=8",
    "evaluation.samples=2",
]


@pytest.fixture
def corpus(tmp_path) -> list[str]:
    """Overrides that replace the corpus by two classes that share no word."""
    file = tmp_path / "rows.jsonl"
    words = {"beasts": "cat dog cow hen", "news": "bank vote film race"}
    texts = [(f"{ws} {label}{i}", label) for label, ws in words.items() for i in range(40)]
    file.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in texts))
    return [f"corpus.{split}={file}" for split in ("train", "validation", "test")]


@pytest.mark.parametrize("recipe", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_recipe_and_its_variants_are_recipes(recipe, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    unsupervised = importlib.import_module("methods").UNSUPERVISED
    found = read_recipe(recipe).model.options
    assert (found["posterior"]["kind"], found["prior"]["kind"]) == ("classes", "classes")
    found = read_recipe(recipe, unsupervised).model.options
    assert (found["posterior"]["kind"], found["prior"]["kind"]) == ("gaussian", "standard_normal")
    header = recipe.read_text(encoding="utf-8").split("\ncorpus:")[0]
    for overrides in re.findall(r"\S:   ((?:[\w.]+=\S+ ?)+)", header):
        read_recipe(recipe, overrides.split())


@pytest.mark.slow
def test_every_method_is_measured_once(script, corpus, tmp_path):
    arguments = [FOLDER / "agnews.yaml", *SMALL, *corpus, f"training.output_dir={tmp_path / 'runs' / 'm2'}"]
    ended = script(SCRIPT, *arguments, "--labels", 20)
    assert ended.code == 0
    methods = ["tfidf", "lstm", "fine-tuned", "m1", "m2", "m1+m2"]
    assert [line.split("|")[1].strip() for line in ended.out.splitlines()[-6:]] == methods
    results = json.loads((tmp_path / "runs" / "accuracy.json").read_text())
    found = {result["method"]: result["accuracy"] for result in results}
    assert list(found) == methods
    assert found["tfidf"] == 1.0, "the classes share no word"
    assert found["lstm"] > 0.6
    assert min(found.values()) >= 0.4
    again = script(SCRIPT, *arguments, "--labels", 20)
    assert again.out.splitlines() == ended.out.splitlines()[-8:], "nothing is measured twice"
