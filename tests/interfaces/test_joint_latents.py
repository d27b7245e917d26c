"""The methods of `TextVAE` for a model whose latent is a class y and a vector z."""

import numpy as np
import pytest
import tiny
import torch

from textvae.interfaces.clustering import find_clusters
from textvae.interfaces.text_vae import TextVAE
from textvae.latent_space.paths import spherical
from textvae.modules.classes import with_likeliest_class
from textvae.support.errors import UserError

SHORT = {"maximum_length": 6}


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    classes = {"posterior": {"kind": "classes"}, "prior": {"kind": "classes"}, "classes": ["a", "b", "c"]}
    return TextVAE(tiny.model(**classes), tiny.tokenizer())


def onehot(place):
    return np.eye(3)[place]


def test_the_likeliest_class_is_taken():
    vectors = torch.tensor([[0.5, 2.0, 0.2, 0.7, 0.1], [1.0, -1.0, 0.4, -0.1, 0.7]])
    expected = [[0.5, 2.0, 0.0, 1.0, 0.0], [1.0, -1.0, 0.0, 0.0, 1.0]]
    torch.testing.assert_close(with_likeliest_class(vectors, 3), torch.tensor(expected))


def test_a_mean_is_decoded_with_its_likeliest_class(vae):
    vectors = vae.encode(["a b", "c d e"])
    exact = np.hstack([vectors[:, :3], onehot(vectors[:, 3:].argmax(1))])
    assert not np.allclose(vectors, exact)
    assert (
        vae.decode(vectors, **SHORT)
        == vae.decode(exact, **SHORT)
        == vae.reconstruct(["a b", "c d e"], **SHORT)
    )
    np.testing.assert_array_equal(vae.score(["a b", "c"], vectors), vae.score(["a b", "c"], exact))


def test_each_class_decodes_and_scores_otherwise(vae):
    z = np.hstack([np.zeros((3, 3)), np.eye(3)])
    assert len(set(vae.score(["a b"] * 3, z).round(6))) == 3


def test_an_analogy_moves_z_and_the_class(vae):
    a, b, c = vae.encode(["a b", "c d e", "f"])
    moved = a - b + c
    expected = vae.decode(np.concatenate([moved[:3], onehot(moved[3:].argmax())]), **SHORT)
    assert [vae.analogy("a b", "c d e", "f", **SHORT)] == expected


def test_a_path_bends_in_z_and_is_straight_in_the_class(vae):
    first, last = vae.encode(["a b", "c d e"]).astype(float)
    path = vae.path_between("a b", "c d e", 5, "spherical")
    np.testing.assert_allclose(path[:, :3], spherical(first[:3], last[:3], 5), rtol=1e-5)
    np.testing.assert_allclose(path[:, 3:].sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(path[2, 3:], (first + last)[3:] / 2, rtol=1e-5)


def test_a_traversal_keeps_the_class(vae):
    mean = vae.encode("a b").astype(float)
    ends = np.tile(np.concatenate([mean[:3], onehot(mean[3:].argmax())]), (2, 1))
    ends[:, 1] = -3, 3
    assert vae.traverse("a b", 1, 2, **SHORT) == vae.decode(ends, **SHORT)


@pytest.mark.parametrize("dimension", [3, 5])
def test_a_class_is_not_traversed(vae, dimension):
    with pytest.raises(
        UserError, match=rf"expected a dimension of z from 0 to 2, got {dimension}, which is a class"
    ):
        vae.traverse("a b", dimension)


def test_clusters_of_the_prior_need_a_mixture(vae):
    with pytest.raises(
        UserError, match="expected a model whose prior is a mixture, got one with another prior"
    ):
        find_clusters(vae, np.zeros((4, 6)), method="prior")
