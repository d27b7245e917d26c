import math
from dataclasses import replace

import pytest
import tiny
import torch
from torch.distributions import kl_divergence

from textvae.models.outputs import VAEOutput
from textvae.modules.classes import UNLABELLED, ClassGaussian
from textvae.modules.distributions import diagonal_gaussian
from textvae.modules.priors import ClassPrior, StandardNormalPrior
from textvae.objectives.elbo import ELBO
from textvae.support.errors import UserError


@pytest.fixture
def parameters():
    """Means and standard deviations of three sentences; dimension 0 of the first has KL 0.5, all others 0."""
    mean = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.double, requires_grad=True)
    return mean, torch.ones(3, 4, dtype=torch.double, requires_grad=True)


def output_of(mean, scale, log_likelihood=None):
    posterior = diagonal_gaussian(mean, scale)
    scores = torch.zeros(1, len(mean)).double() if log_likelihood is None else log_likelihood
    prior = StandardNormalPrior(mean.shape[1])(len(mean), mean)
    return VAEOutput(posterior, prior, mean[None], scores)


def test_loss_by_hand(parameters):
    """Two samples, three sentences: reconstruction terms 3, 1 and 4, KLs 0.5, 0 and 0."""
    scores = torch.tensor([[-2.0, -1, -8], [-4, -1, 0]]).double()
    terms = ELBO()(output_of(*parameters, scores), 1.0)
    assert terms.loss.item() == pytest.approx((3 + 1 + 4 + 0.5) / 3)
    assert terms.per_sentence["reconstruction"].tolist() == pytest.approx([3, 1, 4])
    assert terms.per_sentence["kl"].tolist() == pytest.approx([0.5, 0, 0])


@pytest.mark.parametrize("decoder", tiny.DECODERS.values(), ids=tiny.DECODERS)
def test_loss_is_the_negative_bound_of_a_model(decoder):
    output = tiny.model(**decoder)(**tiny.batch(), samples=3)
    bound = output.score.mean(0) - kl_divergence(output.posterior, output.prior)
    torch.testing.assert_close(ELBO()(output, 1.0).loss, -bound.mean())


def test_kl_is_weighted(parameters):
    for weight in (0.2, 0.6, torch.tensor(1.5)):
        terms = ELBO()(output_of(*parameters), weight)
        assert terms.loss.item() == pytest.approx(weight * 0.5 / 3)
        assert terms.per_sentence["kl"].tolist() == pytest.approx([0.5, 0, 0]), "the raw KL is logged"


@pytest.mark.parametrize("samples", [1, 4])
def test_an_auto_encoder_has_no_kl_in_its_gradient(parameters, samples):
    scores = torch.randn(samples, 3).double().requires_grad_()
    ELBO()(output_of(*parameters, scores), 0.0).loss.backward()
    assert all(parameter.grad.abs().sum() == 0 for parameter in parameters)
    torch.testing.assert_close(scores.grad, torch.full_like(scores, -1 / (3 * samples)))


def test_free_bits_by_hand(parameters):
    """One nat over four dimensions: each dimension costs at least 0.25 for each sentence, not for their mean."""
    terms = ELBO(free_bits=1.0)(output_of(*parameters), 1.0)
    assert terms.loss.item() == pytest.approx(((0.5 + 3 * 0.25) + 1.0 + 1.0) / 3)
    assert terms.per_sentence["kl"].tolist() == pytest.approx([0.5, 0, 0]), "the raw KL is logged"


def test_gradient_of_free_bits_vanishes_below_their_share():
    mean = torch.tensor([[1.0, 0.5, 0.6, -0.9]], dtype=torch.double, requires_grad=True)
    kl = 0.5 * mean.detach().square()
    ELBO(free_bits=4 * 0.2)(output_of(mean, torch.ones_like(mean)), 1.0).loss.backward()
    torch.testing.assert_close(mean.grad, torch.where(kl > 0.2, mean.detach(), 0.0))
    assert (mean.grad == 0).any()


def test_free_bits_of_a_model_without_z_are_none():
    output = tiny.model(latent_size=0)(**tiny.batch())
    torch.testing.assert_close(ELBO(free_bits=3.0)(output, 1.0).loss, -output.score.mean())


def test_terms_are_not_part_of_the_graph(parameters):
    scores = torch.zeros(1, 3).double().requires_grad_()
    terms = ELBO()(output_of(*parameters, scores), 1.0)
    assert terms.loss.requires_grad
    assert not any(term.requires_grad for term in terms.per_sentence.values())


@pytest.mark.parametrize("free", [0.4, 2.0])
def test_free_bits_on_the_batch_by_hand(free):
    """The KLs of dimension 0 are 0.5 and 0, with mean 0.25; those of dimension 1 are 0."""
    mean = torch.tensor([[1.0, 0], [0, 0]], dtype=torch.double, requires_grad=True)
    terms = ELBO(free_bits=free, free_bits_on="batch")(output_of(mean, torch.ones_like(mean)), 1.0)
    assert terms.loss.item() == pytest.approx(max(0.25, free / 2) + free / 2)
    assert terms.per_sentence["kl"].tolist() == pytest.approx([0.5, 0])
    terms.loss.backward()
    expected = [[0.5, 0], [0, 0]] if free == 0.4 else [[0, 0], [0, 0]]
    assert mean.grad.tolist() == expected, "the share of the mean is paid for, or it is free"


def test_free_bits_on_the_batch_are_means_over_sentences():
    """Both KLs of the first sentence are 0.5, so both means are 0.25; a share is 0.3."""
    mean = torch.tensor([[1.0, 1], [0, 0]], dtype=torch.double)
    terms = ELBO(free_bits=0.6, free_bits_on="batch")(output_of(mean, torch.ones_like(mean)), 1.0)
    assert terms.loss.item() == pytest.approx(0.6)


def test_draws_count_by_their_weights(parameters):
    scores = torch.tensor([[-2.0, -1, -8], [-4, -1, 0]]).double()
    weights = torch.tensor([[0.9, 0.5, 0.2], [0.1, 0.5, 0.8]]).double()
    output = replace(output_of(*parameters, scores), weights=weights, auxiliary={"bag_of_words": 2 * scores})
    terms = ELBO()(output, 1.0)
    assert terms.per_sentence["reconstruction"].tolist() == pytest.approx([2.2, 1, 1.6])
    assert terms.per_sentence["bag_of_words"].tolist() == pytest.approx([4.4, 2, 3.2])
    assert terms.loss.item() == pytest.approx((3 * 4.8 + 0.5) / 3)


def test_bag_of_words_is_a_term_of_its_own(parameters):
    output = replace(
        output_of(*parameters),
        auxiliary={"bag_of_words": torch.tensor([[-2.0, -1, 0], [-4, -1, -2]]).double()},
    )
    terms = ELBO(bag_of_words=0.5)(output, 1.0)
    assert terms.per_sentence["bag_of_words"].tolist() == pytest.approx([3, 1, 1])
    assert terms.loss.item() == pytest.approx((0.5 + 0.5 * 5) / 3)


@pytest.fixture
def with_class():
    """Two sentences, two classes; the second's class is known. The first's KLs of z are (0.5, 0) for each class."""
    chances = torch.tensor([[0.9, 0.1], [0.3, 0.7]], dtype=torch.double).requires_grad_()
    mean = torch.zeros(2, 2, 2, dtype=torch.double)
    mean[0, :, 0] = 1.0
    mean.requires_grad_()
    labels = torch.tensor([UNLABELLED, 1])
    posterior = ClassGaussian(chances.log(), mean, torch.ones_like(mean), labels)
    scores = torch.zeros(1, 2, dtype=torch.double)
    output = VAEOutput(posterior, ClassPrior(2, 2)(2, mean[:, 0]), posterior.mean[None], scores)
    of_class = [math.log(2) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1), math.log(2)]
    return output, chances, mean, of_class


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_a_class_counts_in_full_whatever_z_costs(with_class, weight):
    output, _, _, of_class = with_class
    terms = ELBO(classification=0.0)(output, weight)
    assert terms.loss.item() == pytest.approx((weight * 0.5 + sum(of_class)) / 2)
    assert terms.per_sentence["class_kl"].tolist() == pytest.approx(of_class)
    assert terms.per_sentence["kl"].tolist() == pytest.approx([0.5 + of_class[0], of_class[1]])
    assert terms.rate.tolist() == pytest.approx([0.5, 0]), "a target rate holds what it weighs"


@pytest.mark.parametrize("of", ["sentence", "batch"])
def test_free_bits_are_of_z_alone(with_class, of):
    output, chances, mean, of_class = with_class
    loss = ELBO(free_bits=20.0, free_bits_on=of, classification=0.0)(output, 3.0).loss
    assert loss.item() == pytest.approx(3 * 20 + sum(of_class) / 2)
    loss.backward()
    assert mean.grad.abs().sum() == 0
    assert chances.grad[0].abs().sum() > 0


@pytest.mark.parametrize(("of", "charged"), [("sentence", (0.5 + 3 * 0.2) / 2), ("batch", 0.25 + 0.2)])
def test_free_bits_are_shared_by_the_dimensions_of_z(with_class, of, charged):
    """A share is 0.2 of 0.4, and the KL of the class is not among them."""
    output, _, _, of_class = with_class
    loss = ELBO(free_bits=0.4, free_bits_on=of, classification=0.0)(output, 3.0).loss
    assert loss.item() == pytest.approx(3 * charged + sum(of_class) / 2)


def test_the_classifier_s_loss_is_a_mean_over_the_labelled_sentences(with_class):
    """Of the two sentences one has a label, so the sum is not divided by two."""
    output, *_ = with_class
    surprise = -output.posterior.log_probabilities[1, output.posterior.labels[1]].item()
    difference = ELBO(classification=3.0)(output, 1.0).loss - ELBO(classification=0.0)(output, 1.0).loss
    assert surprise > 0.01
    assert difference.item() == pytest.approx(3 * surprise)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"free_bits": -1.0}, r"free_bits: expected greater than or equal to 0, got -1\.0"),
        ({"free_bits_on": "word"}, "free_bits_on: expected 'sentence' or 'batch', got 'word'"),
        ({"target_rate": 0.0}, r"target_rate: expected greater than 0, got 0\.0"),
        ({"bag_of_words": -1.0}, r"bag_of_words: expected greater than or equal to 0, got -1\.0"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        ELBO(**options)
