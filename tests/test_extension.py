"""Add a new kind of model, and a new part of each kind, from outside the package: one class and one line each.

Each is trained from a recipe by ``textvae train``, measured, saved and loaded again.
"""

import json
from dataclasses import dataclass

import pytest
import torch
from datasets import Dataset
from torch import nn
from torch.distributions import Independent, Normal, StudentT
from transformers import AutoConfig

from textvae.evaluation.meters.sums import Sums
from textvae.evaluation.meters.table import METERS
from textvae.evaluation.quantities import Description
from textvae.inference.bounds import bounds
from textvae.interfaces.text_vae import TextVAE
from textvae.models.base import VAEModel
from textvae.models.checkpoint import load_run
from textvae.models.configuration import VAEConfig
from textvae.models.kinds import KINDS
from textvae.models.outputs import Reading
from textvae.modules.decoders import DECODERS
from textvae.modules.distributions import diagonal_gaussian, pathwise
from textvae.modules.encoders import ENCODERS, mean_of_real
from textvae.modules.posteriors import POSTERIORS
from textvae.modules.priors import PRIORS
from textvae.objectives.elbo import ELBO, OBJECTIVES
from textvae.support.options import Count, Positive, Size
from textvae.text.fields import Field

# ---- parts


class ShapeField(Field):
    """A vector with the length of a text and its number of vowels."""

    columns = ("text",)

    @classmethod
    def learn(cls, rows, options):
        return cls()

    @classmethod
    def load(cls, run):
        return cls()

    def prepare(self, rows):
        return {"vector": [[len(text) / 10, sum(map(text.count, "aeiou")) / 5] for text in rows["text"]]}

    def collate(self, examples):
        return {"vectors": torch.tensor([example["vector"] for example in examples])}


class GaussianVectorConfig(VAEConfig):
    model_type = "test-gaussian-vectors"
    latent_size: Count = 1


class GaussianVectors(VAEModel):
    """z ~ N(0, 1), v ~ N(W z + b, I); the posterior is exact, so the bound equals log p(v)."""

    config_class = GaussianVectorConfig
    main_input_name = "vectors"

    def __init__(self, config):
        super().__init__(config)
        self.linear = nn.Linear(config.latent_size, 2)
        self.post_init()

    def _init_weights(self, module):
        pass

    @classmethod
    def field_kinds(cls, config):
        return (ShapeField,)

    def read(self, vectors, **_):
        w = self.linear.weight
        covariance = torch.linalg.inv(torch.eye(w.shape[1]) + w.T @ w)  # one dimension: a number
        mean = (vectors - self.linear.bias) @ w @ covariance
        posterior = diagonal_gaussian(mean, covariance.diagonal().sqrt().expand_as(mean))
        prior = diagonal_gaussian(torch.zeros_like(mean), torch.ones_like(mean))
        return Reading(
            posterior, prior, lambda z: diagonal_gaussian(self.linear(z), torch.ones(2)).log_prob(vectors)
        )

    def exact(self, vectors):
        w, b = self.linear.weight, self.linear.bias
        covariance = torch.eye(2) + w @ w.T
        return torch.distributions.MultivariateNormal(b, covariance).log_prob(vectors)


class LastWordEncoder(nn.Module):
    def __init__(self, *, vocabulary_size: Size, embedding_size: Size, scale: Positive = 1.0):
        super().__init__()
        self.embedding, self.scale = nn.Embedding(vocabulary_size, embedding_size), scale
        self.output_size = embedding_size

    def forward(self, ids, mask):
        return self.scale * mean_of_real(self.embedding(ids), mask)


class BigramDecoder(nn.Module):
    """A decoder whose state depends only on the last word and z."""

    def __init__(self, *, vocabulary_size: Size, embedding_size: Size, latent_size: Count):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.of_z = nn.Linear(latent_size, embedding_size)
        self.output_size = embedding_size

    def forward(self, inputs, z, cache=None):
        return (self.embedding(inputs) + self.of_z(z)[:, :, None]).tanh(), (z[0],)


class StudentPosterior(nn.Module):
    """q(z | x) with heavy tails, whose KL has no closed form."""

    def __init__(self, input_size: Size, latent_size: Size, degrees: Positive = 5.0):
        super().__init__()
        self.mean, self.degrees = nn.Linear(input_size, latent_size), degrees

    def forward(self, summary):
        mean = self.mean(summary).float()  # under autocast the product may be bf16
        return Independent(StudentT(self.degrees, mean, torch.full_like(mean, 0.5)), 1)


class WidePrior(nn.Module):
    def __init__(self, latent_size: Count, width: Positive = 2.0):
        super().__init__()
        self.latent_size, self.width = latent_size, width

    def forward(self, batch_size, like):
        mean = like.new_zeros(batch_size, self.latent_size)
        return diagonal_gaussian(mean, torch.full_like(mean, self.width))


@dataclass(frozen=True)
class Doubled:
    """Twice the ELBO's loss."""

    samples: Size = 2
    target_rate: Positive | None = None

    def draw(self, posterior, samples):
        return pathwise(posterior, samples)

    def kl_weight(self, step):
        return 1.0

    def __call__(self, output, kl_weight):
        terms = ELBO()(output, kl_weight)
        return type(terms)(2 * terms.loss, terms.per_sentence)


class MeanOfZ(Sums):
    describes = (Description("mean_of_z", "nats", panel="mean of z", progress="mean of z"),)

    @classmethod
    def of(cls, setting):
        return cls() if setting.model.has_latent else None

    def measure(self, model, batch, found, number, generator):
        return float(found.reading.posterior.mean.sum()), batch.size

    def results(self):
        total, count = self.totals
        return {"mean_of_z": (total / count, "over all dimensions")}


@pytest.fixture
def registered(monkeypatch):
    for table, name, made in (
        (KINDS, "gaussian_vectors", GaussianVectors),
        (ENCODERS, "last_word", LastWordEncoder),
        (DECODERS, "bigram", BigramDecoder),
        (POSTERIORS, "student", StudentPosterior),
        (PRIORS, "wide", WidePrior),
        (OBJECTIVES, "doubled", Doubled),
        (METERS, "mean_of_z", MeanOfZ),
    ):
        monkeypatch.setitem(table, name, made)
    AutoConfig.register(GaussianVectorConfig.model_type, GaussianVectorConfig, exist_ok=True)


TRAINING = """
corpus: {train: texts.txt, validation_size: 8, test_size: 8}
tokenizer: {kind: words}
training: {output_dir: run, max_steps: 4, eval_strategy: steps, eval_steps: 2, save_steps: 2, save_strategy: steps,
  logging_steps: 2, per_device_train_batch_size: 8}
evaluation: {samples: 3}
"""
KIND = """
model: {kind: gaussian_vectors, latent_size: 1}
objective: {kind: doubled}
"""
PARTS = """
model: {latent_size: 2, embedding_size: 8, hidden_size: 8, encoder: {kind: last_word, scale: 0.5},
  decoder: {kind: bigram}, posterior: {kind: student, degrees: 4}, prior: {kind: wide, width: 1.5}}
objective: {target_rate: 1}
"""


@pytest.fixture
def recipe(apart, tmp_path):
    words = ["red", "old", "cat", "dog", "sleeps", "sings"]
    lines = [" ".join(words[(place * k) % 6] for k in (1, 5, 7)) for place in range(48)]
    (tmp_path / "texts.txt").write_text("\n".join(f"{line} {place}" for place, line in enumerate(lines)))

    def written(model):
        (tmp_path / "recipe.yaml").write_text(TRAINING + model)
        return "recipe.yaml"

    return written


@pytest.mark.parametrize("model", [KIND, PARTS], ids=["kind", "parts"])
def test_trains_measures_and_loads(registered, recipe, textvae, tmp_path, model):
    code, out, err = textvae("train", recipe(model))
    assert code == 0, err
    assert "mean_of_z" in out, "the report has the new quantity"
    assert "mean of z" in err, "and so has the progress line"
    stored = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    state = json.loads(
        (sorted((tmp_path / "run").glob("checkpoint-*"))[-1] / "trainer_state.json").read_text()
    )
    assert any("eval_mean_of_z" in entry for entry in state["log_history"]), "and the curves"
    code, out, err = textvae("evaluate", "run", "--samples", "3", "--seed", "42", "--json")
    assert code == 0, err
    assert json.loads(out)["mean_of_z"] == pytest.approx(stored["mean_of_z"])
    assert json.loads(out)["iw_nll"] == pytest.approx(stored["iw_nll"])


def test_the_bound_of_the_kind_is_exact(registered, recipe, textvae):
    assert textvae("train", recipe(KIND), "--quiet")[0] == 0
    model, fields = load_run("run")
    rows = Dataset.from_dict({"text": ["red cat", "dog"]})
    batch = fields.collate(list(fields.prepare(rows)))
    found = bounds(model, batch, samples=5)
    torch.testing.assert_close(found.iw_nll, -model.exact(batch.vectors))
    torch.testing.assert_close(found.neg_elbo.mean(), found.iw_nll.mean(), rtol=0.5, atol=0.5)


def test_the_parts_write_text(registered, recipe, textvae):
    assert textvae("train", recipe(PARTS), "--quiet")[0] == 0
    vae = TextVAE.from_pretrained("run")
    assert isinstance(vae.model.encoder, LastWordEncoder)
    assert (vae.model.encoder.scale, vae.model.prior.width) == (0.5, 1.5)
    assert len(vae.sample(3, seed=0)) == 3
    assert vae.encode(["red cat", "dog"]).shape == (2, 2)


def test_options_of_the_parts_are_checked(registered, recipe, textvae):
    code, _, err = textvae("train", recipe(PARTS), "model.encoder.scales=1", "model.prior.width=-1")
    assert code == 2
    assert "model.encoder.scales: last_word has no such option, only embedding_size, scale" in err
    assert "model.prior.width: expected greater than 0, got -1" in err


def test_a_posterior_without_a_closed_form_has_a_monte_carlo_kl():
    q = Independent(StudentT(5.0, torch.zeros(1, 2), torch.ones(1, 2)), 1)
    p = Independent(Normal(torch.zeros(1, 2), torch.ones(1, 2)), 1)
    from textvae.modules.distributions import kl_per_dimension, kl_per_sentence

    z = q.sample((200_000,))
    grid = torch.linspace(-60, 60, 400_001, dtype=torch.double)
    t, n = StudentT(5.0), Normal(0.0, 1.0)
    exact = torch.trapezoid(t.log_prob(grid).exp() * (t.log_prob(grid) - n.log_prob(grid)), grid)
    assert float(kl_per_sentence(q, p, z)) == pytest.approx(2 * float(exact), rel=0.1)
    torch.testing.assert_close(kl_per_dimension(q, p, z).sum(-1), kl_per_sentence(q, p, z))
