"""Every recipe is valid unchanged and runs for three steps on a substitute for its corpus."""

import json
from pathlib import Path

import pytest

from textvae.interfaces.text_vae import TextVAE
from textvae.training.recipe import read_recipe
from textvae.training.run import run

FOLDER = Path(__file__).parents[2] / "recipes" / "language_model"
TRAIN = "language_model/train.py"
RECIPES = sorted(FOLDER.glob("*.yaml"))
KEYS = {
    "neg_elbo",
    "iw_nll",
    "iw_samples",
    "ppl",
    "kl",
    "mutual_information",
    "active_units",
    "tokens",
    "sentences",
}
SMALL = [
    "model.embedding_size=8",
    "model.hidden_size=12",
    "tokenizer.vocabulary_size=null",
    "training.max_steps=3",
    "training.warmup_steps=0",
    "training.per_device_train_batch_size=8",
    "evaluation.samples=3",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> list[str]:
    """Overrides that replace the corpus by 40 sentences."""
    file = tmp_path_factory.mktemp("corpus") / "sentences.txt"
    nouns = ["cat", "dog", "nurse", "singer", "boat"]
    lines = [f"the {a} saw the {b} {when}" for a in nouns for b in nouns for when in ("today", "twice")]
    file.write_text("\n".join(lines), encoding="utf-8")
    splits = [f"corpus.{split}={file}" for split in ("train", "validation", "test")]
    return [*splits, *(f"corpus.{key}=null" for key in ("revision", "columns", "maximum_train", "sizes"))]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_recipe_runs(recipe, corpus, tmp_path):
    result = run(read_recipe(recipe, [*SMALL, *corpus, f"training.output_dir={tmp_path}"]))
    assert result.sentences == 50
    assert set(json.loads((tmp_path / "evaluation.json").read_text())) >= KEYS
    assert len(TextVAE.from_pretrained(tmp_path).sample(2, seed=0)) == 2


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_header_says_what_to_run(recipe):
    header = recipe.read_text(encoding="utf-8").split("\ncorpus:")[0]
    assert f"python recipes/language_model/train.py recipes/language_model/{recipe.name}" in header
    assert header.startswith("# ")


def test_the_script_reports_and_refuses_a_second_run(script, corpus, tmp_path):
    options = [FOLDER / "demo.yaml", *SMALL, *corpus, f"training.output_dir={tmp_path}"]
    first = script(TRAIN, *options)
    assert first.code == 0, first.err
    assert "neg_elbo" in first.out
    second = script(TRAIN, *options)
    assert second.code == 2
    assert "--resume" in second.err


@pytest.mark.parametrize("options", [(), ("--overwrite", "--quiet")], ids=["bare", "options first"])
def test_the_script_names_every_fault_in_one_line(script, options):
    result = script(TRAIN, FOLDER / "demo.yaml", *options, "model.latent_sise=3", "training.max_step=2")
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "did you mean latent_size" in result.err
    assert "did you mean max_steps" in result.err
