"""Every recipe is valid unchanged and runs for three steps on a substitute for its corpus."""

import json
from pathlib import Path

import pytest

from textvae.interfaces.translator import Translator
from textvae.training.recipe import read_recipe
from textvae.training.run import run

FOLDER = Path(__file__).parents[2] / "recipes" / "translation"
RECIPES = sorted(FOLDER.glob("*.yaml"))
SMALL = [
    "model.embedding_size=8",
    "model.hidden_size=8",
    "tokenizer.vocabulary_size=null",
    "training.max_steps=3",
    "training.warmup_steps=0",
    "training.per_device_train_batch_size=8",
    "evaluation.samples=2",
    "evaluation.translation.num_beams=2",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> list[str]:
    """Overrides that replace the corpus by 45 pairs."""
    folder = tmp_path_factory.mktemp("corpus")
    words = {"cat": "Katze", "dog": "Hündin", "nurse": "Schwester", "singer": "Sängerin", "boat": "Fähre"}
    whens = {"today": "heute", "twice": "zweimal", "": "gestern"}
    pairs = [
        (f"the {a} saw the {b} {when}.".replace(" .", "."), f"die {c} sah die {d} {wann}.")
        for a, c in words.items()
        for b, d in words.items()
        for when, wann in whens.items()
        if a != b
    ]
    for place, side in enumerate(("en", "de")):
        (folder / f"pairs.{side}").write_text("\n".join(pair[place] for pair in pairs), encoding="utf-8")
    files = f"{{source: {folder}/pairs.en, target: {folder}/pairs.de}}"
    splits = [f"corpus.{split}={files}" for split in ("train", "validation", "test")]
    return [*splits, *(f"corpus.{key}=null" for key in ("configuration", "columns", "sizes"))]


@pytest.fixture(scope="module")
def baseline(corpus, tmp_path_factory) -> Path:
    """A run of the model without z, from which other runs start."""
    folder = tmp_path_factory.mktemp("baseline")
    overrides = [*SMALL, *corpus, f"training.output_dir={folder}"]
    run(read_recipe(FOLDER / "multi30k_baseline.yaml", overrides))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipe_runs(path, corpus, baseline, tmp_path):
    overrides = [*SMALL, *corpus, f"training.output_dir={tmp_path}"]
    start = read_recipe(path, overrides).model.start_from
    if start:
        assert start == "runs/multi30k_baseline"
        # If z starts as the context, it must be as large as the states.
        overrides += [f"model.start_from={baseline}", "model.latent_size=8"]
    recipe = read_recipe(path, overrides)
    result = run(recipe)
    assert result.sentences == 60
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert found.keys() >= {"neg_elbo", "iw_nll", "bleu", "bleu_signature", "minutes"}
    assert ("bleu_shuffled_z" in found) == ("kl" in found) == (recipe.model.options["latent_size"] > 0)
    assert len(Translator.from_pretrained(tmp_path).translate(["the cat saw the dog."], samples=2)[0]) == 2


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_header_says_what_to_run(path):
    header = path.read_text(encoding="utf-8").split("\ncorpus:")[0]
    assert f"python recipes/translation/train.py recipes/translation/{path.name}" in header
    assert header.startswith("# ")
    assert f"| `{path.name}` |" in (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_scripts_report_and_compare(script, corpus, tmp_path):
    options = [
        FOLDER / "grammar.yaml",
        *SMALL,
        *corpus,
        f"training.output_dir={tmp_path}",
        "model.latent_size=2",
    ]
    first = script("translation/train.py", *options)
    assert first.code == 0, first.err
    assert "tok:13a" in first.out
    assert script("translation/train.py", *options).code == 2
    compared = script(
        "translation/diversity.py", tmp_path, "--translations", 3, "--sources", 4, "--temperatures", 0.5, 1
    )
    assert compared.code == 0, compared.err
    ways = ["z", "beam", "words at 0.5", "words at 1"]
    numbers = json.loads((tmp_path / "diversity" / "diversity.json").read_text())
    assert list(numbers) == ways
    assert all(way["translations"] == 3 for way in numbers.values())
    texts = json.loads((tmp_path / "diversity" / "translations.json").read_text(encoding="utf-8"))
    assert [[len(own) for own in texts[way]] for way in ways] == [[3] * 4] * 4
    assert (tmp_path / "diversity" / "diversity.png").read_bytes().startswith(b"\x89PNG")
    assert sum("*" in line for line in compared.out.splitlines() if line.startswith("words at")) == 1


def test_the_script_names_every_fault_in_one_line(script):
    result = script(
        "translation/train.py", FOLDER / "grammar.yaml", "model.latent_sise=3", "training.max_step=2"
    )
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "did you mean latent_size" in result.err
    assert "did you mean max_steps" in result.err
