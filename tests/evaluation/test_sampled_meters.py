"""Probes and clusters of the posterior means of a sample of texts."""

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset

from textvae.evaluation.diagnosis import diagnose
from textvae.evaluation.evaluate import evaluate_rows
from textvae.evaluation.meters.probe import Probe
from textvae.evaluation.meters.topics import Topics
from textvae.evaluation.quantities import Setting
from textvae.inference.mode import evaluating
from textvae.interfaces.text_vae import TextVAE
from textvae.models.documents import DocumentVAEConfig, DocumentVAEModel
from textvae.text.counts import CountsField
from textvae.text.fields import FieldOptions, Fields, LabelField

WORDS = [[f"{topic}{n}" for n in range(150)] for topic in ("fruit", "pet")]


def corpus(n=400):
    """Texts of 5 to 20 words about one of two topics; half of them begin with "the of and"."""
    draw = np.random.default_rng(0)
    texts = [
        " ".join(
            [
                *(["the", "of", "and"] if row % 4 < 2 else []),
                *draw.choice(WORDS[row % 2], draw.integers(5, 20)),
            ]
        )
        for row in range(n)
    ]
    return Dataset.from_dict({"text": texts, "label": [row % 2 for row in range(n)]})


@pytest.fixture(scope="module")
def rows():
    return corpus()


def probed(rows, z, monkeypatch, kind=Probe):
    """The results of a meter if the posterior means were z."""
    meter = kind(None, None, rows, 32, 0)
    monkeypatch.setattr(meter, "means", lambda: z)
    return {name: value for name, (value, _) in meter.results().items()}


def test_a_z_that_knows_everything(rows, monkeypatch):
    lengths = np.log1p([len(text.split()) for text in rows["text"]])
    the = np.array([text.startswith("the") for text in rows["text"]])
    found = probed(rows, np.stack([lengths, the, rows["label"]], 1).astype(float), monkeypatch)
    assert found["z_knows_length"] > 0.999
    assert found["z_knows_common_words"] == 1.0
    assert found["z_knows_topic_words"] > 0.65  # the topic tells which half of the words is possible


def test_a_z_that_knows_nothing(rows, monkeypatch):
    noise = np.random.default_rng(1).normal(size=(len(rows), 3))
    found = probed(rows, noise, monkeypatch)
    assert found["z_knows_length"] < 0.02
    assert found["z_knows_common_words"] == pytest.approx(0.5, abs=0.06)
    assert found["z_knows_topic_words"] == pytest.approx(0.5, abs=0.06)


def test_texts_of_one_length_and_rare_words_are_not_probed(monkeypatch):
    rows = Dataset.from_dict({"text": [f"a{row} b{row}" for row in range(200)]})
    assert probed(rows, np.zeros((200, 2)), monkeypatch) == {}


def test_texts_without_words_are_not_probed(monkeypatch):
    rows = Dataset.from_dict({"text": [""] * 200})
    assert probed(rows, np.zeros((200, 2)), monkeypatch) == {}


def test_topics_stand_beside_the_baseline(rows, monkeypatch):
    noise = np.random.default_rng(1).normal(size=(len(rows), 3))
    good = probed(rows, noise + 9 * np.eye(3)[rows["label"]], monkeypatch, Topics)
    assert good["cluster_accuracy"] == good["cluster_accuracy_linear"] == 1.0
    bad = probed(rows, noise, monkeypatch, Topics)
    assert bad["cluster_accuracy"] < 0.6
    assert bad["cluster_stability"] < 0.8 < bad["cluster_stability_linear"]
    unlabelled = probed(rows.remove_columns("label"), noise, monkeypatch, Topics)
    assert set(unlabelled) == {
        f"cluster_{name}{side}" for name in ("stability", "silhouette") for side in ("", "_linear")
    }


def test_the_means_are_those_of_encode_in_the_order_of_the_rows():
    torch.manual_seed(0)
    vae = TextVAE(tiny.model(initial_range=1.0), tiny.tokenizer())
    rows = Dataset.from_dict({"text": ["a b c d e f"[: 2 * (row % 6) + 1] for row in range(100)]})
    found = Probe.of(Setting(vae.model, vae.fields, batch_size=7, rows=rows))
    with evaluating(vae.model):
        means = found.means()
    np.testing.assert_allclose(means, vae.encode(rows["text"][:]), atol=1e-6)


@pytest.mark.parametrize("case", ["few", "stream", "none", "no fields", "no text", "no latent"])
def test_where_it_does_not_apply(case):
    model, fields, rows = tiny.model(), tiny.fields(), corpus(100)
    assert Probe.of(Setting(model, fields, rows=rows)) is not None
    model = tiny.model(latent_size=0) if case == "no latent" else model
    changed = {
        "few": rows.select(range(99)),
        "stream": rows.to_iterable_dataset(),
        "none": None,
        "no text": rows.rename_column("text", "review"),
    }
    given = Setting(model, None if case == "no fields" else fields, rows=changed.get(case, rows))
    assert Probe.of(given) is None
    assert Topics.of(given) is None


def test_labels_are_not_told_to_a_model_with_classes():
    model = tiny.model(
        prior={"kind": "classes"}, posterior={"kind": "classes"}, classes=["a", "b"], initial_range=1.0
    )
    fields = tiny.fields(LabelField(["a", "b"]))
    rows = corpus(100)
    other = rows.remove_columns("label").add_column("label", [1 - label for label in rows["label"]])
    with evaluating(model):
        means = [Probe.of(Setting(model, fields, rows=each)).means() for each in (rows, other)]
    np.testing.assert_array_equal(*means)


def test_an_evaluation_of_documents_says_where_the_baseline_is_better(rows):
    torch.manual_seed(0)
    fields = Fields([CountsField.learn(rows, FieldOptions())])
    model = DocumentVAEModel(DocumentVAEConfig(latent_size=4, **fields[0].sizes()))
    found = evaluate_rows(model, fields, rows, samples=2)
    assert found.cluster_accuracy < 0.9 < found.cluster_accuracy_linear
    assert "TF-IDF, SVD and k-means cluster these texts better (cluster_accuracy " in diagnose(found).advice
