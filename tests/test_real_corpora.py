"""The main jobs on real corpora: slow, and skipped if a corpus is missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from real import DATA, needs

from textvae.interfaces.text_vae import TextVAE
from textvae.training.recipe import read_recipe
from textvae.training.run import run

RECIPES = Path(__file__).parents[1] / "recipes" / "language_model"
pytestmark = pytest.mark.slow


@pytest.mark.timeout(1500)  # three minutes on a quiet machine
def test_the_demo_keeps_its_word(tmp_path):
    command = [sys.executable, RECIPES / "demo.py", f"training.output_dir={tmp_path}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    measured = json.loads((tmp_path / "evaluation.json").read_text())
    assert measured["iw_nll"] <= 1.15 * measured["entropy"]
    assert measured["iw_nll"] >= 0.98 * measured["entropy"]  # nothing is more probable than the truth
    assert measured["kl"] >= 3
    assert measured["mutual_information"] >= 3
    assert measured["active_units"] >= 5
    assert "Interpolation" in result.stdout
    assert (tmp_path / "map.png").stat().st_size > 10_000


@needs("ptb")
@pytest.mark.parametrize("latent_size", [0, 32])
def test_penn_treebank_at_the_published_size(tmp_path, latent_size):
    files = {"train": "train", "validation": "valid", "test": "test"}
    corpus = [f"corpus.{split}={DATA}/ptb/ptb.{name}.txt" for split, name in files.items()]
    short = ["training.max_steps=250", "training.logging_steps=50", "evaluation.samples=2"]
    short += ["corpus.revision=null", "corpus.columns=null", f"training.output_dir={tmp_path}"]
    recipe = read_recipe(RECIPES / "ptb.yaml", [*corpus, *short, f"model.latent_size={latent_size}"])
    result = run(recipe, quiet=True)
    assert (result.tokens, result.sentences) == (82_430, 3_761)
    # A unigram model of PTB has a perplexity of about 690; 250 steps are a fifth of the first epoch.
    assert result.ppl < 600
    assert result.neg_elbo >= result.iw_nll - 0.01


@needs("multi30k_captions")
def test_raw_captions_with_sentencepiece(tmp_path):
    folder = DATA / "multi30k_captions"
    corpus = [f"corpus.train={folder}/train.1.en", f"corpus.validation={folder}/val.1.en"]
    corpus += [f"corpus.test={folder}/test_2016.1.en", "model.hidden_size=128", "model.embedding_size=128"]
    short = ["training.max_steps=300", "training.learning_rate=5e-3", "evaluation.samples=2"]
    run(
        read_recipe(RECIPES / "captions.yaml", [*corpus, *short, f"training.output_dir={tmp_path}"]),
        quiet=True,
    )
    vae = TextVAE.from_pretrained(tmp_path)
    sentences = vae.sample(8, seed=0, maximum_length=60)
    assert len(set(sentences)) >= 4
    assert sum(sentence.startswith("A") for sentence in sentences) >= 4  # as most captions do
    a, b = vae.log_likelihood(["A man is riding a bike.", "bike a A. riding man is"], samples=20)
    assert a > b + 5
