"""The table of transfer on a corpus of two topics that share no word: every row, and a repeated call."""

import json

import numpy as np
import pytest

from textvae.training.recipe import read_recipe

SMALL = [
    "model.latent_size=4",
    "training.num_train_epochs=4",
    "training.per_device_train_batch_size=16",
    "tokenizer.counts.maximum_share=0.9",
    "corpus.validation_size=40",
]


@pytest.fixture
def corpus(tmp_path):
    draw = np.random.default_rng(0)
    words = [list("abcdefgh"), list("stuvwxyz")]
    texts = [" ".join(f"{word}{word}" for word in draw.choice(words[place % 2], 5)) for place in range(400)]
    rows = [{"text": text, "label": "ab"[place % 2]} for place, text in enumerate(texts)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "pairs.jsonl"


@pytest.mark.slow
def test_the_table_has_every_method_once(script, corpus, tmp_path):
    options = [corpus, *SMALL, "--seeds", 1, "--tuned", "pairs", "-o", tmp_path / "out"]
    ended = script("transfer/transfer.py", *options, "--methods", "NMF", "LDA")
    assert ended.code == 0, ended.err
    results = json.loads((tmp_path / "out" / "transfer.json").read_text())
    found = [(result["task"], result["method"]) for result in results]
    regressions = [
        (f"{labels} labels", method)
        for labels in (50, 200)
        for method in ("TF-IDF", "ours", "TF-IDF and ours")
    ]
    assert found == [("clusters", "NMF"), ("clusters", "LDA"), ("clusters", "ours"), *regressions]
    ours = next(result for result in results if result["method"] == "ours")
    assert ours["numbers"]["accuracy"] == 1
    assert (ours["test"], ours["classes"]) == (80, 2)
    table = (tmp_path / "out" / "transfer.md").read_text()
    assert "| pairs (tuned) |" in table
    assert "| ours | 100.0 / 100.0, " in table
    before = (tmp_path / "out" / "transfer.json").stat().st_mtime_ns
    assert script("transfer/transfer.py", *options).code == 0
    assert (tmp_path / "out" / "transfer.json").stat().st_mtime_ns == before, "nothing is measured twice"


def test_a_corpus_without_labels_is_refused(script, tmp_path):
    (tmp_path / "plain.txt").write_text("cat dog\n" * 40)
    ended = script("transfer/transfer.py", tmp_path / "plain.txt", "-o", tmp_path / "out")
    assert (ended.code, ended.err.count("\n")) == (2, 1)


@pytest.mark.slow
def test_the_language_model_of_a_corpus_has_the_same_steps(script, tmp_path):
    draw = np.random.default_rng(0)
    for name, count in (("train", 800), ("test", 50)):
        lines = (" ".join(draw.choice(list("abcdefgh"), 6)) for _ in range(count))
        (tmp_path / name).with_suffix(".txt").write_text("\n".join(lines))
    options = [
        f"letters={tmp_path / 'train.txt'}={tmp_path / 'test.txt'}",
        "--minutes",
        0.5,
        "-o",
        tmp_path / "out",
    ]
    ended = script("transfer/language.py", *options)
    assert ended.code == 0, ended.err
    (row,) = json.loads((tmp_path / "out" / "language.json").read_text())
    assert (row["corpus"], row["texts"]) == ("letters", 50)
    vae, without = (
        read_recipe(tmp_path / "out" / "runs" / name / "recipe.yaml")
        for name in ("letters-0", "letters-0-lm")
    )
    assert without.source["model"]["latent_size"] == 0 < vae.source["model"]["latent_size"]
    assert without.training["max_steps"] == vae.training["max_steps"] == row["steps"]
    table = (tmp_path / "out" / "language.md").read_text()
    assert f"| letters | 0 | 50 | {row['vocabulary']:,} | {row['steps']:,} |" in table
    before = (tmp_path / "out" / "language.json").stat().st_mtime_ns
    assert script("transfer/language.py", *options).code == 0
    assert (tmp_path / "out" / "language.json").stat().st_mtime_ns == before, "nothing is measured twice"
