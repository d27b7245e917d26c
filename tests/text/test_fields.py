"""Tests of the label field: a class keeps its number, even if a file lists the classes in another order."""

import json

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from textvae.support.errors import UserError
from textvae.text.fields import FieldOptions, Fields, LabelField


def rows(names, labels):
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    return Dataset.from_dict({"text": ["a"] * len(labels), "label": labels}, features=features)


def named(dataset):
    names = dataset.features["label"].names
    return [None if label is None else names[label] for label in dataset["label"]]


@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [
        (["news", "sport", "talk"], [0, 2, None, 1], [0, 2, None, 1]),
        (["talk", "news", "sport"], [0, 2, None, 1], [2, 1, None, 0]),
        (["news", "talk"], [0, 1, None, 1], [0, 2, None, 2]),
        (["talk"], [0, None], [2, None]),
    ],
    ids=["the same", "another order", "one lacks", "one alone"],
)
def test_labels_are_numbered_by_their_names(names, labels, expected):
    given = rows(names, labels)
    found = LabelField(["news", "sport", "talk"]).align(given)
    assert found["label"][:] == expected
    assert found.features["label"].names == ["news", "sport", "talk"]
    assert named(found) == named(given)
    assert found["text"][:] == given["text"][:]


def test_a_class_that_the_model_does_not_know_is_named():
    with pytest.raises(UserError, match="expected the classes of the model, news, sport, got talk too"):
        LabelField(["news", "sport"]).align(rows(["talk", "news"], [1, 1]))


@pytest.mark.parametrize("column", [{}, {"label": [1, 0]}], ids=["none", "numbers"])
def test_what_has_no_names_stays_as_it_is(column):
    given = Dataset.from_dict({"text": ["a", "b"], **column})
    assert LabelField(["news", "sport"]).align(given) is given


def test_a_prepared_split_has_the_numbers_of_the_model():
    fields = Fields([LabelField(["news", "sport"])])
    prepared = fields.prepare({"test": rows(["sport", "news"], [0, 1, None])})["test"]
    assert fields.collate(list(prepared)).labels.tolist() == [1, 0, -1]


def test_a_label_that_is_missing_is_not_known():
    assert LabelField(["a", "b"]).collate([{"label": 1}, {}, {"label": None}])["labels"].tolist() == [
        1,
        -1,
        -1,
    ]


def test_names_come_from_the_corpus_and_from_a_run(tmp_path):
    field = LabelField.learn(rows(["news", "sport"], [0, 1]), FieldOptions())
    assert field.sizes() == {"classes": ["news", "sport"]}
    (tmp_path / "config.json").write_text(json.dumps(field.sizes()))
    assert LabelField.load(str(tmp_path)).names == ["news", "sport"]
    assert field.agrees(LabelField.load(str(tmp_path)))
    assert not field.agrees(LabelField(["sport", "news"]))
    with pytest.raises(UserError, match="expected a stored corpus with labels for a model with classes"):
        LabelField.learn(Dataset.from_dict({"text": ["a"]}), FieldOptions())
