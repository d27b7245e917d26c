"""Clustering of texts, with a model of sentences about two topics: fruit and animals."""

import json
from string import ascii_lowercase
from typing import get_args, get_type_hints

import numpy as np
import pytest
import tiny
import torch

from textvae.commands.cluster import cluster as command
from textvae.interfaces import clustering
from textvae.interfaces.clustering import cluster_texts, find_clusters
from textvae.interfaces.text_vae import TextVAE
from textvae.latent_space.clusters import fit_clusters
from textvae.support.errors import UserError


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(1)
    return TextVAE(tiny.model(initial_range=1.0), tiny.tokenizer())


@pytest.fixture(scope="module")
def with_prior():
    """A model whose prior has one component at the vector of "b b b" and one at the vector of "y y y"."""
    torch.manual_seed(1)
    vae = TextVAE(tiny.model(initial_range=1.0, prior_components=3), tiny.tokenizer())
    far = np.full((1, 3), 50.0)
    means = torch.from_numpy(np.concatenate([vae.encode(["b b b", "y y y"]), far])).double()
    vae.model.prior.start_from(torch.tensor([0.5, 0.3, 0.2]), means, torch.full((3, 3), 0.01))
    return vae


@pytest.fixture(scope="module")
def texts():
    random = np.random.default_rng(0)
    return [" ".join(random.choice(list(ascii_lowercase), size=random.integers(1, 9))) for _ in range(60)]


def test_each_text_belongs_to_the_cluster_of_its_vector(vae, texts):
    found = cluster_texts(vae, texts, 4, "k-means", seed=3, maximum_length=5)
    fitted = fit_clusters(vae.encode(texts), 4, "k-means", random_state=3)
    assert np.array_equal(found.labels, fitted.predict(vae.encode(texts)))
    np.testing.assert_allclose(found.probabilities, fitted.probabilities(vae.encode(texts)))
    assert [cluster.size for cluster in found.clusters] == np.bincount(found.labels, minlength=4).tolist()
    assert len(set(found.labels)) == 4


def test_the_nearest_are_the_clusters_own_texts_by_distance_once_each(vae, texts):
    found = cluster_texts(vae, texts + texts[:20], 3, nearest=4, maximum_length=5)
    vectors = vae.encode(texts)
    for number, cluster in enumerate(found.clusters):
        members = np.flatnonzero(found.labels[:60] == number)
        distances = np.linalg.norm(vectors[members] - found.fitted.centres[number], axis=1)
        expected = [texts[members[i]] for i in distances.argsort()]
        assert cluster.nearest == list(dict.fromkeys(expected))[:4]


def test_sentences_are_decoded_from_the_centre_and_from_draws_around_it(vae, texts):
    found = cluster_texts(vae, texts, 3, draws=2, seed=7, maximum_length=6, batch_size=4)
    for number, cluster in enumerate(found.clusters):
        centre = found.fitted.centres[number]
        assert cluster.centre == vae.decode(centre, maximum_length=6, num_beams=5)[0]
        drawn = sorted(set(vae.decode(found.fitted.draw(number, 8, seed=7), maximum_length=6)))
        bounds = {text: vae.log_likelihood(text, 200)[0] / (len(text.split()) + 1) for text in drawn}
        assert set(cluster.draws) <= set(drawn)
        assert len(cluster.draws) == min(2, len(drawn))
        for text in set(drawn) - set(cluster.draws):
            assert bounds[text] <= min(bounds[each] for each in cluster.draws) + 0.2
    assert len({cluster.centre for cluster in found.clusters}) > 1, "or any centre would do"


def test_words_tell_the_clusters_apart(vae):
    texts = ["b b b", "b b b c", "b b b b"] * 3 + ["y y y", "y y y x", "y y y y"] * 3
    found = cluster_texts(vae, texts, 2, "k-means", words=1, maximum_length=3)
    assert {cluster.words[0] for cluster in found.clusters} == {"b", "y"}


def test_the_prior_in_place_of_a_fit(with_prior):
    texts = ["y y y", "b b b", "y y y", "y y y"]
    found = cluster_texts(with_prior, texts, method="prior", maximum_length=4)
    assert found.labels.tolist() == [1, 0, 1, 1]
    assert [cluster.size for cluster in found.clusters] == [1, 3, 0]
    empty = found.clusters[2]
    assert (empty.words, empty.nearest, len(empty.draws)) == ([], [], 1)
    z = torch.randn(20, 3).double()
    expected = with_prior.model.prior.responsibilities(z).detach()
    np.testing.assert_allclose(found.fitted.probabilities(z), expected, atol=1e-12)
    assert np.array_equal(found.fitted.centres, with_prior.model.prior.means.detach())


def test_a_prior_that_is_no_mixture_is_refused(vae, texts):
    with pytest.raises(UserError, match=r"whose prior is a mixture.*model\.prior\.components"):
        find_clusters(vae, vae.encode(texts), method="prior")


def test_mistakes_are_named(vae, texts):
    with pytest.raises(UserError, match="got 4 clusters and 2 different vectors"):
        cluster_texts(vae, ["b", "c", "b"], 4)
    with pytest.raises(UserError, match="expected method to be one of"):
        cluster_texts(vae, texts, 2, "em")
    with pytest.raises(UserError, match="latent_size 0"):
        cluster_texts(TextVAE(tiny.model(latent_size=0), tiny.tokenizer()), texts)


def test_the_seed_decides(vae, texts):
    one, same, other = (cluster_texts(vae, texts, 6, "k-means", seed=s, maximum_length=5) for s in (1, 1, 2))
    assert one.to_dict() == same.to_dict() != other.to_dict()


def test_the_dictionary_is_json(vae, texts):
    found = cluster_texts(vae, texts, None, "diagonal-mixture", words=2, nearest=1, draws=0, maximum_length=4)
    read = json.loads(json.dumps(found.to_dict()))
    assert read["labels"] == found.labels.tolist()
    assert read["probabilities"] == pytest.approx(found.probabilities.max(1))
    assert list(read["clusters"][0]) == ["size", "words", "nearest", "centre", "draws"]
    assert read["clusters"][0]["draws"] == []


def test_the_report_has_a_paragraph_for_each_cluster(vae):
    long = " ".join(["b"] * 300)
    found = cluster_texts(
        vae, ["b b b", "b b b", long, "y y y"], 2, "k-means", nearest=1, draws=1, maximum_length=4
    )
    first, second = found.report().split("\n\n")
    size = found.clusters[0].size
    assert first.splitlines()[0] == f"cluster 0: {size} of 4 texts ({25 * size}.0%)"
    assert [line.split()[0] for line in second.splitlines()] == [
        "cluster",
        "words",
        "nearest",
        "centre",
        "draw",
    ]
    assert all(len(line) <= 11 + clustering.WIDTH for line in found.report().splitlines())


def test_the_command_has_the_methods():
    methods = get_args(get_args(get_type_hints(command)["method"])[0])
    assert methods == (*get_args(clustering.latent.Method), "prior")
