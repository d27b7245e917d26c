"""The table of transfer on a corpus of two topics that share no word: every row, and a repeated call."""

import json

import numpy as np
import pytest

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
