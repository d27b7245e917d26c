"""The VAE of documents: its start, its score, and what training changes."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfTransformer
from torch.distributions import kl_divergence
from transformers import AutoModel

from textvae.models.documents import DocumentVAEConfig, DocumentVAEModel, counts_of
from textvae.support.errors import UserError
from textvae.text.batches import Batch
from textvae.text.counts import CountsField
from textvae.text.fields import Fields
from textvae.text.vocabulary import CountOptions, Vocabulary

WORDS = 9
VOCABULARY = Vocabulary(
    {f"w{place}": 1 for place in range(WORDS)}, frozenset(), 1, CountOptions(units="words")
)
FIELDS = Fields([CountsField(VOCABULARY)])
OPTIONS = {
    "default": {},
    "linear": {"encoder": {"kind": "linear"}},
    "counts": {"weights": {"kind": "counts"}},
    "mixture": {"prior": {"kind": "mixture", "components": 2}},
    "dropout": {"dropout": 0.5},
}
EACH = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def rows(count=40, seed=0, words=WORDS):
    """Prepared documents of random words; the first has no words."""
    draw = np.random.default_rng(seed)
    counts = draw.poisson(draw.gamma(0.5, 1.5, (count, words)))
    counts[0] = 0
    return Dataset.from_dict(
        {
            "words": [np.flatnonzero(row).tolist() for row in counts],
            "counts": [row[row > 0].tolist() for row in counts],
            "unseen": [0] * count,
        }
    )


def model(latent_size=3, started=True, **options):
    torch.manual_seed(0)
    config = DocumentVAEConfig(vocab_size=WORDS, latent_size=latent_size, hidden_size=5, **options)
    made = DocumentVAEModel(config).double().eval()
    if started:
        made.start(rows(), seed=0)
    return made


def moved(made):
    """The model with every weight changed from its initial value."""
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def batch(places=(3, 0, 7, 12)):
    given = rows()
    return FIELDS.collate([given[place] for place in places])


def table():
    return counts_of(rows(), WORDS).toarray().astype(float)


KNOWN = np.flatnonzero(table().sum(1))
"""Documents that are not empty."""


def test_at_step_0_the_means_are_those_of_latent_semantic_analysis():
    directions = TfidfTransformer(sublinear_tf=True).fit_transform(table()).toarray()
    _, _, vectors = np.linalg.svd(directions, full_matrices=False)
    semantic = directions @ vectors[:3].T
    semantic = (semantic - semantic.mean(0)) / semantic.std(0).max()
    found = model().read(**FIELDS.collate(list(rows()))).posterior.mean.detach().numpy()
    signs = np.sign((found[KNOWN] * semantic[KNOWN]).sum(0))
    np.testing.assert_allclose(found[KNOWN], signs * semantic[KNOWN], atol=1e-9)


def test_at_step_0_the_logits_are_the_bags_that_so_many_dimensions_give():
    made = model(latent_size=WORDS)
    directions = TfidfTransformer(sublinear_tf=True).fit_transform(table()).toarray()
    reading = made.read(**FIELDS.collate(list(rows())))
    logits = made.decoder.logits(reading.posterior.mean) - made.decoder.bias
    expected = (directions - directions.mean(0)) * np.sqrt(WORDS) / 2
    np.testing.assert_allclose(logits.detach().numpy()[KNOWN], expected[KNOWN], atol=1e-9)


def test_at_step_0_words_are_as_frequent_as_their_weights_say_where_z_is_0():
    """Those of the train split, and one word more that is spread over the vocabulary."""
    made = model(weights={"kind": "counts"})
    expected = (table().sum(0) + 1 / WORDS) / (table().sum() + 1)
    np.testing.assert_allclose(made.decoder.bias.detach().exp().numpy(), expected)


def test_all_documents_with_words_have_the_same_deviations():
    made = moved(model())
    found = made.read(**batch()).posterior.variance.log()
    known = torch.tensor([[float(place in KNOWN)] for place in (3, 0, 7, 12)])
    assert known.any()
    torch.testing.assert_close(found, known * made.deviations.log_variance)


def test_the_score_is_that_of_the_weighted_bag():
    made, given = moved(model()), rows()
    z = torch.randn(2, 4, 3).double()
    found = made.read(**batch()).score(z)
    frequency = (table() > 0).sum(0)
    weights = np.where(table() > 0, 1 + np.log(np.maximum(table(), 1)), 0)
    weights = weights * (1 + np.log((1 + len(given)) / (1 + frequency)))
    weights *= 20 * len(given) / weights.sum()
    assert weights.sum(1).mean() == pytest.approx(20)
    chosen = torch.from_numpy(weights[[3, 0, 7, 12]])
    logits = z @ made.decoder.weight.T + made.decoder.bias
    torch.testing.assert_close(found, (chosen * logits.log_softmax(-1)).sum(-1), rtol=1e-6, atol=1e-6)


def test_with_counts_as_weights_the_score_is_the_log_likelihood_of_the_words():
    made = moved(model(weights={"kind": "counts"}))
    z = torch.randn(1, 4, 3).double()
    words = torch.from_numpy(table()[[3, 0, 7, 12]])
    expected = torch.distributions.Multinomial(
        1, logits=z @ made.decoder.weight.T + made.decoder.bias, validate_args=False
    )
    torch.testing.assert_close(made.read(**batch()).score(z), (words * expected.logits).sum(-1))


@EACH
def test_pads_and_neighbours_change_nothing(options):
    made, given = moved(model(**options)), batch()
    z = torch.randn(2, 4, 3).double()
    wider = Batch(
        dict(given)
        | {
            name: torch.cat([given[name], torch.full((4, 3), fill, dtype=given[name].dtype)], 1)
            for name, fill in (("words", 5), ("counts", 2), ("mask", 0))
        }
    )
    reading = made.read(**given)
    for other in (made.read(**wider), made.read(**given)):
        torch.testing.assert_close(other.score(z), reading.score(z))
        torch.testing.assert_close(other.posterior.mean, reading.posterior.mean)
    for place, row in enumerate((3, 0, 7, 12)):
        alone = made.read(**batch((row,)))
        torch.testing.assert_close(alone.score(z[:, place : place + 1])[:, 0], reading.score(z)[:, place])
        torch.testing.assert_close(alone.posterior.mean[0], reading.posterior.mean[place])
        torch.testing.assert_close(alone.posterior.stddev[0], reading.posterior.stddev[place])


@EACH
@pytest.mark.parametrize("samples", [1, 3])
def test_each_sample_is_scored_by_itself(options, samples):
    made = moved(model(**options))
    z = torch.randn(samples, 4, 3).double()
    score = made.read(**batch()).score
    together = score(z)
    torch.testing.assert_close(together, torch.cat([score(part[None]) for part in z]))
    with torch.no_grad():
        torch.testing.assert_close(score(z), together)


@EACH
@pytest.mark.parametrize("started", [True, False])
def test_gradient_reaches_every_parameter(options, started):
    made = moved(model(started=started, **options)).train()
    torch.manual_seed(0)
    output = made(**FIELDS.collate(list(rows())), samples=2)
    (output.score.sum() - kl_divergence(output.posterior, output.prior).sum()).backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_gradient_reaches_the_dimensions_beyond_the_rank():
    made = model(latent_size=WORDS + 2).train()
    made(**batch()).score.sum().backward()
    assert (made.encoder.linear.projection.grad.abs().sum(0) > 0).all()
    assert (made.decoder.weight.grad.abs().sum(0) > 0).all()


def test_an_empty_document_says_nothing():
    reading = moved(model()).read(**batch((0, 3)))
    assert kl_divergence(reading.posterior, reading.prior)[0] == 0
    assert reading.score(torch.randn(2, 2, 3).double())[:, 0].tolist() == [0, 0]
    assert torch.isfinite(reading.posterior.mean).all()


@pytest.mark.parametrize("count", [1, 2], ids=["a single empty document", "an empty one and another"])
def test_starts_from_hardly_anything(count):
    made = model(started=False)
    made.start(rows(count), seed=0)
    output = made(**FIELDS.collate(list(rows(count))))
    assert torch.isfinite(output.score).all()
    assert torch.isfinite(output.posterior.mean).all()


def test_the_same_seed_starts_alike():
    first, again = model(latent_size=WORDS + 1), model(latent_size=WORDS + 1)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


@pytest.mark.parametrize("loader", [DocumentVAEModel, AutoModel])
def test_a_saved_model_comes_back_whole(tmp_path, loader):
    made = moved(model())
    made.save_pretrained(tmp_path)
    loaded = loader.from_pretrained(tmp_path, dtype=torch.double)
    assert isinstance(loaded, DocumentVAEModel)
    z = torch.randn(1, 4, 3).double()
    torch.testing.assert_close(loaded.read(**batch()).score(z), made.read(**batch()).score(z), rtol=0, atol=0)


def test_the_parameters_of_q_are_those_that_the_score_does_not_need():
    made = moved(model())
    made.read(**batch()).score(torch.randn(1, 4, 3).double()).sum().backward()
    reached = {id(parameter) for parameter in made.parameters() if parameter.grad is not None}
    assert reached == {id(parameter) for parameter in made.generative_parameters()}


def test_options_of_the_parts_are_checked():
    with pytest.raises(UserError, match=r"weights.length: expected .*greater than 0"):
        DocumentVAEConfig(weights={"length": -1.0})
    with pytest.raises(UserError, match=r"prior.kind: expected one of standard_normal, mixture"):
        DocumentVAEConfig(prior={"kind": "classes"})
