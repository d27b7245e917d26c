"""Bags of words: which words are counted, in any language, and how often each occurs in a document."""

import json
import math

import pytest
import torch
from datasets import Dataset

from textvae.support.errors import UserError
from textvae.text.counts import CountsField
from textvae.text.fields import FieldOptions
from textvae.text.vocabulary import CountOptions, Vocabulary

JAPANESE = ["犬が走る", "犬が眠る", "猫が眠る", "猫が走る"]


def learnt(texts, **options):
    return Vocabulary.learn(texts, CountOptions(**options))


@pytest.mark.parametrize(
    ("texts", "options", "words", "stop_words"),
    [
        (["Bb aa", "aa cc"], {"maximum_share": 1.0}, ["aa", "bb", "cc"], set()),
        (["Bb aa", "aa cc"], {"maximum_share": 0.9}, ["bb", "cc"], {"aa"}),
        (["Bb aa", "aa cc"], {"maximum_share": 1.0, "lower": False}, ["aa", "Bb", "cc"], set()),
        (["Bb aa", "aa cc"], {"maximum_share": 1.0, "vocabulary_size": 1}, ["aa"], set()),
        (["Bb aa", "aa cc"], {"maximum_share": 1.0, "pattern": "c+"}, ["cc"], set()),
        (["aa"] * 3, {}, ["aa"], set()),
        (["aa bb"] * 100 + ["cc cc cc"], {"maximum_share": 1.0}, ["aa", "bb"], set()),
        (["aa bb"] * 48 + ["cc"], {"maximum_share": 1.0}, ["aa", "bb", "cc"], set()),
        (JAPANESE, {"maximum_share": 0.9}, ["が眠", "が走", "犬が", "猫が", "眠る", "走る"], set()),
        (JAPANESE, {"maximum_share": 0.9, "length": 1}, ["犬", "猫", "眠", "走"], {"が", "る"}),
        (JAPANESE, {"maximum_share": 1.0, "units": "words"}, sorted(JAPANESE), set()),
        (["ab c"], {"units": "characters", "maximum_share": 1.0}, ["ab", "c"], set()),
    ],
)
def test_the_words_that_are_counted(texts, options, words, stop_words):
    found = learnt(texts, **options)
    assert found.words == words
    assert found.stop_words == stop_words
    assert len(found) == len(words)


def test_a_word_that_few_documents_repeat_is_no_stop_word():
    """For counts 9 and 1, exp(H) = 10 / (9^.9 · 1^.1), far below 2 documents."""
    texts = ["ball " * 9 + "and", "ball and", "xx", "yy"]
    assert learnt(texts, maximum_share=0.4).stop_words == {"and"}
    share = 10 / 9**0.9 / 4
    assert share == pytest.approx(math.exp(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1))) / 4)
    assert learnt(texts, maximum_share=share - 0.01).stop_words == {"and", "ball"}
    assert "ball" in learnt(texts, maximum_share=share + 0.01).words


def test_the_field_comes_back_as_it_was_saved(tmp_path):
    field = CountsField(learnt(["a dog barks", "the dog", "naïve 犬"], maximum_share=0.5))
    field.save(tmp_path)
    loaded = CountsField.load(str(tmp_path))
    assert loaded.tokenizer == field.tokenizer
    assert loaded.agrees(field)
    texts = {"text": ["dog DOG naïve", "", "cats"]}
    assert loaded.prepare(texts) == field.prepare(texts)
    assert "naïve" in (tmp_path / "vocabulary.json").read_text(encoding="utf-8")


def test_tokens_of_a_tokenizer_are_counted_and_saved(tmp_path):
    options = FieldOptions(kind="words", counts=CountOptions(units="tokens", maximum_share=1.0))
    field = CountsField.learn(Dataset.from_dict({"text": ["a b-c", "a a"]}), options)
    assert field.tokenizer.words == ["a", "b-c"]
    field.save(tmp_path)
    assert CountsField.load(str(tmp_path)).prepare({"text": ["a B-C a"]}) == {
        "words": [[0, 1]],
        "counts": [[2, 1]],
        "unseen": [0],
    }


def test_empty_documents_stay_and_unseen_words_are_counted():
    field = CountsField(learnt(["aa bb", "aa cc"], maximum_share=0.9))  # aa is a stop word
    rows = field.prepare({"text": ["", "aa aa", "zz aa yy zz", "cc bb cc"]})
    assert rows["unseen"] == [0, 0, 3, 0]
    batch = field.collate([{name: rows[name][place] for name in rows} for place in range(4)])
    assert batch["mask"].tolist() == [[False, False]] * 3 + [[True, True]]
    assert batch["counts"].tolist() == [[0, 0]] * 3 + [[1, 2]]
    assert batch["lengths"].tolist() == [0, 0, 0, 3]
    nothing = field.collate([{"words": [], "counts": [], "unseen": 0}])
    assert nothing["words"].shape == nothing["mask"].shape == (1, 1)


def test_a_vectorizer_counts_the_same():
    texts = ["Dogs bark at dogs", "cats sleep", ""]
    found = learnt(texts, maximum_share=1.0)
    table = torch.from_numpy(found.vectorizer().fit_transform(texts).toarray())
    for row, text in zip(table, texts, strict=True):
        assert {place: count for place, count in enumerate(row.tolist()) if count} == found.counts(text)[0]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"pattern": "("}, "expected a regular expression"),
        ({"maximum_share": 1.5}, "maximum_share"),
        ({"minimum_documents": 0}, "minimum_documents"),
        ({"units": "syllables"}, "units"),
    ],
)
def test_options_are_checked(options, fault):
    with pytest.raises(UserError, match=fault):
        CountOptions(**options)


def test_documents_without_words_are_refused():
    with pytest.raises(UserError, match=r"expected documents with words, got 2 without.*units=characters"):
        learnt(["!", "?"])


@pytest.mark.parametrize("content", [None, "{", json.dumps({"total": 1})])
def test_a_damaged_vocabulary_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "vocabulary.json").write_text(content)
    with pytest.raises(UserError, match=r"expected a vocabulary in .*copy the run again"):
        CountsField.load(str(tmp_path))
