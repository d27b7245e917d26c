"""Every option runs in pure bf16 and on a device without float64: training, evaluation and the interface."""

import numpy as np
import pytest
import tiny
import torch
from refusing import OnDevice, moved, refusing

from textvae.evaluation.evaluate import evaluate
from textvae.interfaces.clustering import find_clusters
from textvae.interfaces.text_vae import TextVAE
from textvae.modules.posteriors import NormalizedMeans
from textvae.objectives.elbo import ELBO
from textvae.text.fields import LabelField
from textvae.training.prior import start_prior

CONVOLUTIONS = {"encoder_type": "convolution", "decoder_type": "dilated_convolution"}
CLASSES = {"prior": {"kind": "classes"}, "classes": ["a", "b", "c"]}
OPTIONS = {
    "convolutions": CONVOLUTIONS,
    "LSTMs": {},
    "bag-of-words encoder": CONVOLUTIONS | {"encoder_type": "bag_of_words"},
    "skip connection": CONVOLUTIONS | {"skip_connection": True},
    "skip connection of an LSTM": {"skip_connection": True},
    "bag of words": CONVOLUTIONS | {"bag_of_words": {"kind": "softmax"}},
    "bag of words, hidden": CONVOLUTIONS | {"bag_of_words": {"hidden_size": 5, "weights": "tf_idf"}},
    "normalised means": CONVOLUTIONS | {"posterior": {"normalize_means": 0.6}},
    "mixture prior": CONVOLUTIONS | {"prior": {"kind": "mixture", "components": 3}},
    "classes": CONVOLUTIONS | CLASSES | {"posterior": {"kind": "classes"}},
    "classes at a temperature": CONVOLUTIONS
    | CLASSES
    | {"posterior": {"kind": "classes", "temperature": 0.5}},
    "language model": CONVOLUTIONS | {"latent_size": 0},
    "tied words": CONVOLUTIONS | {"tie_word_embeddings": True},
}
PAIRS = {
    "no z": {"latent_size": 0},
    "a z": {},
    "a z, bag of words": {"bag_of_words": {"kind": "softmax"}},
    "a z at each step": {"latent": {"kind": "step"}},
}
TEXTS = ["a b", "c d e"]


@pytest.fixture(autouse=True)
def device():
    with refusing():
        yield


def bf16(model):
    return model.to(torch.bfloat16)


def batch_for(model):
    rows = tiny.sentences()
    labelled = [{**row, "label": number % 3} for number, row in enumerate(rows)]
    return tiny.collate(labelled if model.config.classes else rows)


def fields_of(model):
    return tiny.fields(*([LabelField(model.config.classes)] if model.config.classes else []))


def train(model, batch):
    """The loss of a step; the model is in evaluation mode afterwards."""
    model.train()
    loss = ELBO(free_bits=0.1)(model(**batch), 1.0).loss
    loss.backward()
    model.eval()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    return loss.item()


def use(vae):
    """Call every method of the model's interface, with short texts, because generation takes most of the time."""
    short = {"max_new_tokens": 3}
    z = vae.encode(TEXTS)
    found = [
        vae.sample(2, seed=0, **short),
        vae.decode(z, **short),
        vae.decode(z, temperature=1.0, seed=0, **short),
    ]
    found += [vae.interpolate("a", "b c", 3, **short), vae.score(TEXTS, z), vae.neighbours(TEXTS, TEXTS, 1)]
    if vae.model.config.classes is None:
        found += [
            vae.analogy("a", "b", "c", **short),
            vae.fill("a ___ c", particles=20),
            vae.traverse("a", 0, 3, **short),
        ]
        found.append(
            vae.sample(
                2, prior=vae.fit_prior(["a b", "c d e", "f", "g h"] * 20, components=1), seed=0, **short
            )
        )
    return found


@pytest.mark.filterwarnings("ignore:expected an effective sample size")
@pytest.mark.parametrize("precision", [bf16, moved], ids=["bf16", "no float64"])
@pytest.mark.parametrize("case", OPTIONS)
def test_every_option_runs(case, precision):
    if precision is bf16 and case in ("LSTMs", "skip connection of an LSTM") and not tiny.lstm_in_bf16():
        pytest.skip("needs a CPU that computes LSTMs in bf16")
    torch.manual_seed(0)
    model = tiny.model(**OPTIONS[case])
    batch = batch_for(model)
    model = precision(model)
    assert np.isfinite(train(model, batch))
    found = evaluate(model, [batch], samples=3, fields=fields_of(model)).to_dict()
    assert np.isfinite([found["neg_elbo"], found["iw_nll"], found["ppl"]]).all()
    vae = TextVAE(model, tiny.tokenizer())
    assert np.isfinite(vae.log_likelihood(TEXTS, 3)).all()
    if model.has_latent:
        use(vae)


@pytest.mark.parametrize("precision", [bf16, moved], ids=["bf16", "no float64"])
@pytest.mark.parametrize("case", PAIRS)
def test_every_conditional_option_runs(case, precision):
    if precision is bf16 and not tiny.lstm_in_bf16():
        pytest.skip("needs a CPU that computes LSTMs in bf16")
    torch.manual_seed(0)
    model = precision(tiny.seq2seq(**PAIRS[case]))
    batch = tiny.collate_pairs(tiny.pairs())
    train(model, batch)
    assert np.isfinite(evaluate(model, [batch], samples=3, fields=tiny.pair_fields()).neg_elbo)


def test_the_mock_refuses_float64():
    model = moved(tiny.model())
    output = model(**tiny.batch())
    assert isinstance(output.score, OnDevice)
    for refused in (output.score.double, lambda: output.score.to(torch.float64)):
        with pytest.raises(TypeError, match="the device has no float64"):
            refused()
    assert output.score.cpu().double().dtype == torch.float64


def test_a_training_evaluates_without_float64_on_the_device(tmp_path):
    trainer = tiny.trainer(tmp_path, max_steps=2, eval_strategy="steps", eval_steps=1)
    moved(trainer.model)
    trainer.train()
    assert [logs for logs in trainer.state.log_history if "eval_neg_elbo" in logs]
    assert isinstance(trainer.model.output_layer.linear.weight, OnDevice)


def test_clusters_of_a_prior_need_no_float64_on_the_device():
    model = tiny.model(prior={"kind": "mixture", "components": 2})
    exact = find_clusters(TextVAE(model.float(), tiny.tokenizer()), np.zeros((3, 3)), method="prior")
    vae = TextVAE(moved(model), tiny.tokenizer())
    found = find_clusters(vae, np.zeros((3, 3)), method="prior")
    np.testing.assert_array_equal(found.centres, exact.centres)
    start_prior(model, tiny.dataset([3, 1, 5, 4, 2, 6]), tiny.fields(), batch_size=4, seed=0)
    assert isinstance(model.prior.means, OnDevice)


@pytest.mark.parametrize("training", [True, False])
def test_normalised_means_are_those_of_batch_norm(training):
    ours = NormalizedMeans(3, 0.6).train(training)
    reference = torch.nn.BatchNorm1d(3, eps=1e-12, affine=False).train(training)
    for _ in range(3):
        means = torch.randn(8, 3)
        torch.testing.assert_close(ours(means), 0.6 * reference(means))
    torch.testing.assert_close(ours.norm.running_mean, reference.running_mean)
    torch.testing.assert_close(ours.norm.running_var, reference.running_var)
