"""Invariances of every pair of encoder and decoder. Published code has broken each of them."""

import pytest
import tiny
import torch
from torch.distributions import kl_divergence

PAIRS = pytest.mark.parametrize(
    "options",
    [
        pytest.param(encoder | decoder, id=f"{encoder_name}-{decoder_name}")
        for encoder_name, encoder in tiny.ENCODERS.items()
        for decoder_name, decoder in tiny.DECODERS.items()
    ]
    + [
        pytest.param(
            decoder
            | {
                "skip_connection": True,
                "normalize_means": 0.5,
                "bag_of_words": True,
                "prior_components": 2,
            },
            id=f"every-cure-{decoder_name}",
        )
        for decoder_name, decoder in tiny.DECODERS.items()
    ],
)
OPTIONS = {
    "defaults": {},
    "dropout": {"dropout": 0.3},
    "variational-dropout": {"dropout": 0.3, "variational_dropout": True},
    "recurrent-dropout": {"recurrent_dropout": 0.5},
    "word-dropout": {"word_dropout": 0.5},
    "tied": {"tie_word_embeddings": True},
    "no-z": {"latent_size": 0},
    "no-z-but-all-that-needs-it": {
        "latent_size": 0,
        "skip_connection": True,
        "bag_of_words": True,
        "normalize_means": 0.5,
    },
    "skip": {"skip_connection": True},
    "bag-of-words": {"bag_of_words": True},
    "weighted-bag-of-words": {"bag_of_words": True, "bag_of_words_weights": "tf_idf"},
    "linear-bag-of-words": {"bag_of_words": True, "bag_of_words_hidden": False},
    "normalised-means": {"normalize_means": 0.5},
    "mixture-prior": {"prior_components": 2},
    "classes": {"classes": ["a", "b"]},
    "classes-drawn": {"classes": ["a", "b"], "class_temperature": 0.5},
    "torch-initial-weights": {"initial_range": None},
    "small": {"decoder_type": "dilated_convolution", "dilations": "small"},
    "medium": {"decoder_type": "dilated_convolution", "dilations": "medium"},
    "large": {"decoder_type": "dilated_convolution", "dilations": "large"},
    "very-large": {"decoder_type": "dilated_convolution", "dilations": "very-large"},
} | {f"encoder-{name}": options for name, options in tiny.ENCODERS.items()}


def score(model, batch, samples=2):
    """log p(x | z), (K, B), and the posterior's mean and standard deviation, given a z that no batch changes."""
    posterior = model.encode(batch.targets, batch.mask)
    z = (torch.arange(samples)[:, None, None] + 0.5) * posterior.mean + posterior.stddev
    scores = model.score(z, batch.inputs, batch.targets, batch.mask)
    return scores, posterior.mean, posterior.stddev


@PAIRS
@pytest.mark.parametrize("columns", [1, 9])
def test_more_padding_changes_nothing(options, columns):
    model, batch = tiny.model(**options), tiny.batch()
    torch.testing.assert_close(score(model, tiny.padded(batch, columns)), score(model, batch))


@PAIRS
def test_a_batch_gives_what_its_sentences_give_alone(options):
    model, batch = tiny.model(**options), tiny.batch()
    scores, *posterior = score(model, batch)
    alone = [score(model, tiny.row(batch, index)) for index in range(len(batch.inputs))]
    torch.testing.assert_close(scores, torch.cat([one[0] for one in alone], 1))
    for together, apart in zip(posterior, zip(*(one[1:] for one in alone), strict=True), strict=True):
        torch.testing.assert_close(together, torch.cat(apart))


@PAIRS
def test_gradient_of_padding_is_zero(options):
    """Pads do not change the gradient either."""
    model, batch = tiny.model(**options), tiny.batch()

    def gradients(given):
        model.zero_grad()
        score(model, given)[0].sum().backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    torch.testing.assert_close(gradients(tiny.padded(batch, 3)), gradients(batch))


@PAIRS
@pytest.mark.parametrize("samples", [1, 3])
def test_each_sample_is_scored_by_itself(options, samples):
    model, batch = tiny.model(**options), tiny.batch()
    z = torch.randn(samples, 4, 3).double()
    arguments = (batch.inputs, batch.targets, batch.mask)
    one_by_one = torch.cat([model.score(part[None], *arguments) for part in z])
    torch.testing.assert_close(model.score(z, *arguments), one_by_one)


@PAIRS
@pytest.mark.parametrize("tied", [False, True])
def test_gradient_reaches_every_parameter(options, tied):
    """It also reaches each word vector that is used, even the last one, which padding_idx=-1 would freeze."""
    model = tiny.model(**options, tie_word_embeddings=tied).train()
    batch = tiny.collate([{"ids": [4, 5, tiny.VOCABULARY - 1, 6]}, {"ids": [tiny.VOCABULARY - 1]}])
    output = model(**batch)
    bag = sum(scores.sum() for scores in output.auxiliary.values())
    kl = kl_divergence(output.posterior, output.prior).sum()
    (output.score.sum() + bag + kl).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert model.decoder.embedding.weight.grad[-1].abs().sum() > 0
    assert model.encoder.embedding.weight.grad[-1].abs().sum() > 0
    assert (model.output_layer.linear.weight.grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_option_runs_alone(options):
    model, batch = tiny.model(**options).train(), tiny.batch()
    output = model(**batch, samples=2)
    # Two draws each, and of a model that tries all of its classes as many for each of the two.
    draws = 2 if output.weights is None else 4
    size = model.vector_size
    assert output.score.shape == (draws, 4)
    assert output.z.shape == (draws, 4, size)
    assert output.posterior.batch_shape == output.prior.batch_shape == (4,)
    assert output.posterior.event_shape == output.prior.event_shape == (size,)
    assert ("bag_of_words" in output.auxiliary) is (model.bag_of_words is not None)
    output.score.sum().backward()
    assert torch.isfinite(output.score).all()
    model.eval()
    assert model.generate(output.z[0], max_new_tokens=3, do_sample=False).shape[0] == 4


@PAIRS
def test_evaluation_is_deterministic_with_every_dropout(options):
    model, batch = tiny.model(**options, dropout=0.5, word_dropout=0.5), tiny.batch()
    torch.testing.assert_close(score(model, batch), score(model, batch), rtol=0, atol=0)
    model.train()
    assert not torch.equal(score(model, batch)[0], score(model, batch)[0])


@PAIRS
def test_row_of_z_belongs_to_row_of_text(options):
    """If the latent codes came back sorted by length, they would be paired with the wrong texts."""
    model, rows = tiny.model(**options), tiny.sentences((2, 6, 1, 4, 3))
    order = torch.tensor([3, 0, 4, 1, 2])
    straight, shuffled = tiny.collate(rows), tiny.collate([rows[index] for index in order])
    means = model.encode(straight.targets, straight.mask).mean
    torch.testing.assert_close(model.encode(shuffled.targets, shuffled.mask).mean, means[order])


@pytest.mark.parametrize("decoder", tiny.DECODERS.values(), ids=tiny.DECODERS)
@pytest.mark.parametrize("samples", [1, 2, 7])
def test_forward_decodes_as_many_samples_as_asked_for(decoder, samples):
    model, batch = tiny.model(**decoder), tiny.batch()
    decoded = []
    model.decoder.register_forward_hook(
        lambda module, arguments, result: decoded.append(arguments[1].shape[0])
    )
    output = model(**batch, samples=samples)
    assert decoded == [samples]
    assert output.z.shape[0] == output.score.shape[0] == samples
    assert len(output.z.unique(dim=0)) == samples


def test_evaluation_ignores_every_training_trick():
    """The same weights give the same bound, whatever dropout the configuration has."""
    tricks = {"dropout": 0.5, "word_dropout": 0.5, "bag_of_words": True}
    plain, tricked, batch = tiny.model(), tiny.model(**tricks), tiny.batch()
    tricked.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(score(tricked, batch), score(plain, batch), rtol=0, atol=0)
    assert not tricked(**batch).auxiliary
