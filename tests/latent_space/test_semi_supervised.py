"""Unlabelled vectors improve the classifier."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from textvae.latent_space.semi_supervised import M2Classifier, VectorM2
from textvae.modules.distributions import surprise_of_class
from textvae.objectives.elbo import ELBO
from textvae.support.errors import UserError


def blobs(n, seed):
    """Two clusters at ±0.5 standard deviations in each of twenty dimensions; and each vector's cluster."""
    generator = np.random.default_rng(seed)
    y = generator.integers(2, size=n)
    side = np.where(np.arange(20) % 2, 0.5, -0.5)
    return generator.normal(size=(n, 20)) + (2 * y[:, None] - 1) * side, y


@pytest.mark.slow
def test_vectors_without_a_label_help():
    """With two labels for each class, the shape of the clusters provides the rest."""
    X, y = blobs(1_000, 0)
    labels = np.full(1_000, -1)
    for label in (0, 1):
        labels[np.flatnonzero(y == label)[:2]] = label
    options = {"latent_size": 2, "hidden_size": 32, "learning_rate": 0.01, "random_state": 0}
    both = M2Classifier(**options).fit(X, labels)
    alone = M2Classifier(**options, epochs=200).fit(X[labels >= 0], labels[labels >= 0])
    fresh, truth = blobs(1_000, 1)
    assert (both.predict(fresh) == truth).mean() > 0.97
    assert (alone.predict(fresh) == truth).mean() < 0.9


def test_probabilities_are_of_the_classes():
    X, y = blobs(60, 0)
    model = M2Classifier(epochs=2, random_state=0).fit(X, ["ab"[label] for label in y])
    found = model.predict_proba(X)
    assert found.shape == (60, 2)
    assert found.sum(1) == pytest.approx(np.ones(60))
    assert model.classes_.tolist() == ["a", "b"]
    assert set(model.predict(X)) <= {"a", "b"}


def test_the_seed_decides_and_nothing_else_is_drawn():
    X, y = blobs(60, 0)
    state = torch.random.get_rng_state()
    one, same, other = (
        M2Classifier(epochs=1, random_state=seed).fit(X, y).predict_proba(X) for seed in (0, 0, 1)
    )
    assert (one == same).all()
    assert (one != other).any()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_units_and_zeros_of_the_vectors_do_not_matter():
    X, y = blobs(60, 0)
    scale = 10.0 ** np.arange(-2, 3).repeat(4)
    plain, scaled = (
        M2Classifier(epochs=3, random_state=0).fit(given, y).predict_proba(given)
        for given in (X, 5 + scale * X)
    )
    np.testing.assert_allclose(scaled, plain, atol=0.01)


def test_it_is_an_estimator():
    model = M2Classifier(latent_size=3, random_state=1)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(UserError, match="expected some labels"):
        model.fit([[0.0], [1.0]], [-1, -1])


def test_the_likelihood_is_that_of_its_gaussian():
    model = VectorM2(3, 2, 2, 4, 0.0)
    vectors, labels = torch.randn(5, 3), torch.tensor([0, 1, -1, -1, 1])
    output = model(vectors, labels)
    mean, log_variance = model.decoder(output.z).chunk(2, -1)
    expected = torch.distributions.Normal(mean, (0.5 * log_variance).exp()).log_prob(vectors).sum(-1)
    torch.testing.assert_close(output.score, expected)
    torch.testing.assert_close(output.weights, output.posterior.probabilities.T)
    assert surprise_of_class(output.posterior).shape == (3,)
    ELBO()(output, 1.0).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
