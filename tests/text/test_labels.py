"""Tests of semi-supervised corpora: which sentences keep their label."""

from collections import Counter

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from textvae.support.errors import UserError
from textvae.text.corpus import load_corpus
from textvae.text.labels import keep_labels

FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b", "c"])})


@pytest.fixture
def rows():
    """60 sentences; the class of sentence i is i mod 3."""
    return Dataset.from_dict(
        {"text": [f"s{i}" for i in range(60)], "label": [i % 3 for i in range(60)]}, FEATURES
    )


def test_of_each_class_equally_many_keep_theirs(rows):
    found = keep_labels(rows, 9, None, seed=0)
    assert found["text"] == rows["text"]
    assert Counter(found["label"]) == {0: 3, 1: 3, 2: 3, None: 51}
    assert all(label in (None, i % 3) for i, label in enumerate(found["label"]))
    assert found.features == rows.features
    assert sorted(Counter(keep_labels(rows, 8, None, seed=0)["label"]).values()) == [2, 3, 3, 52]


def test_the_seed_decides(rows):
    one, same, other = (keep_labels(rows, 9, None, seed)["label"] for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_the_labelled_are_repeated(rows):
    """9 of 60 keep their label and are repeated until they are half: 51 without, and 6 · 9 = 54, the nearest, with."""
    found = keep_labels(rows, 9, 0.5, seed=0)
    assert Counter(found["label"])[None] == 51
    counts = Counter(
        text for text, label in zip(found["text"], found["label"], strict=True) if label is not None
    )
    assert set(counts.values()) == {6}
    assert len(counts) == 9


def test_what_has_no_label_cannot_keep_it():
    rows = Dataset.from_dict({"text": ["x"] * 6, "label": [0, 0, 1, 1, 2, None]}, FEATURES)
    assert keep_labels(rows, 3, None, seed=0)["label"].count(None) == 3
    with pytest.raises(UserError, match="expected 2 sentences of class c to keep their label, found 1"):
        keep_labels(rows, 6, None, seed=0)


@pytest.mark.parametrize("share", [0, 1, 1.5])
def test_a_share_is_a_part(rows, share):
    with pytest.raises(UserError, match="labelled_share over 0 and under 1"):
        keep_labels(rows, 9, share, seed=0)


def test_a_corpus_keeps_labels_in_train_alone(tmp_path):
    lines = [f"text {i},{'xyz'[i % 3]}" for i in range(90)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *lines]))
    corpus = load_corpus(str(tmp_path / "a.csv"), validation_size=15, test_size=15, labelled=6)
    assert 60 - corpus["train"]["label"].count(None) == 6
    assert None not in [*corpus["validation"]["label"], *corpus["test"]["label"]]


def test_labels_are_needed(tmp_path):
    (tmp_path / "a.txt").write_text("x\ny\nz\n" * 9)
    with pytest.raises(UserError, match="expected a label for each sentence"):
        load_corpus(str(tmp_path / "a.txt"), validation_size=3, test_size=3, labelled=2)
    with pytest.raises(UserError, match="expected labelled with labelled_share"):
        load_corpus(str(tmp_path / "a.txt"), labelled_share=0.5)
