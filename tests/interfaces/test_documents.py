"""`DocumentVAE`: vectors, words and bounds of documents; and the commands on a run trained by the recipe."""

import json
import logging

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from scipy.special import log_softmax
from sklearn.feature_extraction.text import TfidfVectorizer

from textvae.inference.bounds import bounds
from textvae.interfaces.clustering import cluster_texts
from textvae.interfaces.documents import DocumentVAE
from textvae.interfaces.table import INTERFACES, load_encoder
from textvae.models.documents import DocumentVAEConfig, DocumentVAEModel
from textvae.models.kinds import KINDS
from textvae.support.errors import UserError
from textvae.text.corpus import load_corpus
from textvae.text.vocabulary import CountOptions, Vocabulary
from textvae.training.recipe import read_recipe
from textvae.training.recipes import shipped
from textvae.training.run import run

TOPICS = {
    "beasts": "cat dog cow hen pig fox owl bee".split(),
    "money": "bank loan rate fund tax debt cash bond".split(),
}


def texts(count, seed=0):
    """``count`` documents whose topics alternate, with some words common to all; and one document without words."""
    draw = np.random.default_rng(seed)
    topics = list(TOPICS.values())
    made = [
        " ".join([*draw.choice(topics[place % 2], 4), "the", "and", f"x{place}"]) for place in range(count)
    ]
    return [*made, "!"]


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    vocabulary = Vocabulary.learn(texts(60), CountOptions(maximum_share=0.6))
    model = DocumentVAEModel(DocumentVAEConfig(vocab_size=len(vocabulary), latent_size=3, hidden_size=4))
    made = DocumentVAE(model, vocabulary)
    rows = made._rows(texts(60))
    model.start(Dataset.from_list(rows), seed=0)
    with torch.no_grad():
        model.encoder.output.weight.normal_(0, 0.1)
    return made


def recipe(folder, **training):
    """The shipped recipe with a small corpus."""
    (file,) = (found.file for found in shipped() if found.name == "documents")
    rows = folder / "rows.jsonl"
    if not rows.exists():
        lines = [{"text": text, "label": list(TOPICS)[place % 2]} for place, text in enumerate(texts(240))]
        rows.write_text("\n".join(map(json.dumps, lines[:-1])))
    options = {"num_train_epochs": 8, "per_device_train_batch_size": 16} | training
    return read_recipe(
        file,
        [
            f"corpus.train={rows}",
            "corpus.validation_size=40",
            "corpus.test_size=40",
            "tokenizer.counts.maximum_share=0.6",
            "model.latent_size=4",
            "model.hidden_size=8",
            *(f"training.{name}={value}" for name, value in options.items()),
        ],
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the shipped recipe."""
    folder = tmp_path_factory.mktemp("documents")
    run(recipe(folder, output_dir=folder / "run"), quiet=True)
    return folder


# ---- the interface


def test_every_kind_has_an_interface():
    assert {name: interface.kind for name, interface in INTERFACES.items()} == KINDS


def test_vectors_are_the_posterior_means_in_the_order_of_the_texts(vae):
    given = texts(30, seed=3)
    together = vae.encode(given, batch_size=7)
    assert together.shape == (31, 3)
    assert together.dtype == np.float32
    for place, text in enumerate(given[:-1]):
        np.testing.assert_allclose(vae.encode(text), together[place], atol=1e-6)
    assert not together[-1].any(), "an empty document is at the prior's mean"
    lengths = np.linalg.norm(vae.encode(given, normalize_embeddings=True), axis=1)
    np.testing.assert_allclose(lengths[:-1], 1, atol=1e-6)
    assert vae.encode([]).shape == (0, 3)


def test_documents_without_known_words_are_said_once(vae, caplog):
    vae._remarked = False
    with caplog.at_level(logging.WARNING):
        vae.encode(["zebra", "cat", ""])
        vae.encode(["zebra"])
    assert [record.getMessage()[:41] for record in caplog.records] == [
        "2 of 3 documents have no word that the mo"
    ]
    assert vae.unseen(["zebra zebra cat the", "dog"]).tolist() == [2, 0]


def test_the_words_of_a_vector_are_those_that_it_makes_likelier(vae):
    z = vae.encode(["cat dog cow", "bank loan"])
    weight, bias = (part.detach().numpy() for part in (vae.model.decoder.weight, vae.model.decoder.bias))
    known, usual = log_softmax(z @ weight.T + bias, axis=1), log_softmax(bias)
    order = np.argsort(-np.exp(known) * (known - usual), axis=1, kind="stable")
    expected = [[vae.vocabulary.words[place] for place in row[:5]] for row in order]
    assert vae.words(z, 5) == expected
    assert vae.words(z[0], 5) == expected[:1]
    assert set(vae.words(z, 3)[0]) <= {*TOPICS["beasts"]}
    assert set(vae.words(z, 3)[1]) <= {*TOPICS["money"]}
    with pytest.raises(UserError, match=r"expected vectors \(m, 3\), got \(2, 2\)"):
        vae.words(z[:, :2])


def test_the_log_likelihood_is_the_importance_weighted_bound(vae):
    given = ["cat dog", "bank bank tax", ""]
    found = vae.log_likelihood(given, samples=4, seed=5, batch_size=3)
    batch = vae.fields.collate(vae._rows(given))
    generator = torch.Generator().manual_seed(5)
    expected = -bounds(vae.model, batch, 4, generator=generator).iw_nll
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert found[2] == pytest.approx(0, abs=1e-6), "no words are certain"
    with pytest.raises(UserError, match="expected 1 sample or more"):
        vae.log_likelihood(given, samples=0)


def test_the_nearest_are_of_the_same_topic(vae):
    places, _ = vae.neighbours(["cat pig", "tax debt"], texts(20)[:-1], k=5)
    assert (places % 2 == [[0], [1]]).all()
    assert vae.similarity(vae.encode("cat dog"), vae.encode("dog cat"))[0, 0] == pytest.approx(1)


def test_clusters_are_described_by_words_and_documents_alone(vae):
    found = cluster_texts(vae, texts(40)[:-1], 2, words=4)
    assert len({*found.labels[::2]}) == len({*found.labels[1::2]}) == 1
    for cluster in found.clusters:
        assert (cluster.size, cluster.centre, cluster.draws) == (20, None, [])
        assert any({*cluster.words} <= {*topic} for topic in TOPICS.values())
    assert "centre" not in found.report()
    assert "nearest" in found.report()


def test_a_vocabulary_of_another_size_is_refused(vae):
    with pytest.raises(UserError, match="expected the tokenizer that the model was trained with"):
        DocumentVAE(vae.model, Vocabulary({"cat": 1}, frozenset(), 1, CountOptions(units="words")))


def test_it_comes_back_as_it_was_saved(vae, tmp_path):
    vae.save_pretrained(tmp_path)
    loaded = load_encoder(tmp_path)
    assert isinstance(loaded, DocumentVAE)
    assert loaded.fingerprint() == vae.fingerprint()
    np.testing.assert_array_equal(loaded.encode(texts(5)), vae.encode(texts(5)))


# ---- a run


@pytest.mark.slow
def test_training_improves_on_the_start(trained):
    log = json.loads(max((trained / "run").glob("checkpoint-*/trainer_state.json")).read_text())[
        "log_history"
    ]
    bound = [entry["eval_neg_elbo"] for entry in log if "eval_neg_elbo" in entry]
    vae = DocumentVAE.from_pretrained(trained / "run")
    given = texts(200, seed=1)[:-1]
    rows = vae._rows(given)
    start = DocumentVAEModel(vae.model.config).eval()
    start.start(Dataset.from_list(rows), seed=0)
    batch = vae.fields.collate(rows)
    after, before = (
        bounds(model, batch, 8, generator=torch.Generator().manual_seed(0)).neg_elbo.mean()
        for model in (vae.model, start)
    )
    assert after < before - 1
    assert min(bound) < bound[0]


def test_a_run_begins_at_latent_semantic_analysis(tmp_path, monkeypatch):
    """After a step with a tiny learning rate, the vectors are still those of an SVD of scikit-learn's TF-IDF."""
    run(recipe(tmp_path, output_dir=tmp_path / "run", max_steps=1, learning_rate=1e-12), quiet=True)
    vae = DocumentVAE.from_pretrained(tmp_path / "run")
    rows = load_corpus(str(tmp_path / "rows.jsonl"), validation_size=40, test_size=40)["train"]["text"][:]
    vectorizer = TfidfVectorizer(
        analyzer=vae.vocabulary.units, vocabulary=vae.vocabulary.words, sublinear_tf=True
    )
    directions = vectorizer.fit_transform(rows).toarray()
    expected = np.linalg.svd(directions)[2][:4] @ directions.T
    found = vae.encode(rows)
    found = found - found.mean(0)
    for row, own in zip(expected - expected.mean(1, keepdims=True), found.T, strict=True):
        assert abs(np.corrcoef(row, own)[0, 1]) > 0.9999


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_weights(tmp_path):
    options = {"num_train_epochs": 4, "eval_steps": 5, "save_steps": 5, "save_total_limit": 9}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        run(recipe(tmp_path, output_dir=folder, **options), quiet=True)
    last = max(broken.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    for path in (last / "trainer_state.json", broken / "model.safetensors", broken / "evaluation.json"):
        path.unlink()
    run(recipe(tmp_path, output_dir=broken, **options), resume=True, quiet=True)
    expected, found = (load_file(folder / "model.safetensors") for folder in (whole, broken))
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_the_commands_take_the_run(trained, textvae, monkeypatch):
    monkeypatch.chdir(trained)
    code, out, err = textvae("cluster", "run", "rows.jsonl", "--clusters", "2", "--json")
    assert code == 0, err
    assert json.loads(out)["scores"]["accuracy"] > 0.95
    assert textvae("encode", "run", "rows.jsonl", "-o", "z.npy")[0] == 0
    assert np.load("z.npy").shape == (240, 4)
    code, out, err = textvae("evaluate", "run", "--samples", "3", "--json")
    assert code == 0, err
    assert json.loads(out)["sentences"] == 40
    assert textvae("map", "run", "rows.jsonl", "--method", "pca", "-o", "map.png")[0] == 0
    assert (trained / "map.html").exists()
    code, _, err = textvae("sample", "run")
    assert code == 2
    assert "expected a TextVAEModel in run, got a DocumentVAEModel: use DocumentVAE, or textvae encode" in err


@pytest.mark.slow
def test_a_run_is_deleted_with_its_vocabulary(tmp_path):
    options = {"output_dir": tmp_path / "run", "max_steps": 1}
    run(recipe(tmp_path, **options), quiet=True)
    (tmp_path / "run" / "vocabulary.json").write_text("{}")
    run(recipe(tmp_path, **options), overwrite=True, quiet=True)
    assert DocumentVAE.from_pretrained(tmp_path / "run").vocabulary.words
