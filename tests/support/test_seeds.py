"""Pydantic, Python calls and the command line refuse the same seeds."""

import re

import numpy as np
import pytest
import tiny
import torch
from pydantic import TypeAdapter, ValidationError

from textvae.evaluation.evaluate import evaluate
from textvae.interfaces.clustering import cluster_texts
from textvae.interfaces.embedder import TextVAEEmbedder
from textvae.interfaces.text_vae import TextVAE
from textvae.interfaces.translator import Translator
from textvae.latent_space.clusters import Clusters, fit_clusters
from textvae.latent_space.fitted_priors import fit_flow, fit_mixture
from textvae.latent_space.maps import project
from textvae.latent_space.semi_supervised import M2Classifier
from textvae.support.errors import UserError
from textvae.support.seeds import END, Seed, check_seed
from textvae.text.corpus import load_corpus

WRONG = [-1, END, 2**64, 2**200]
POINTS = np.eye(3)


@pytest.mark.parametrize("seed", [0, 1, END - 1, np.int64(7), np.uint8(7), None])
def test_a_seed_is_taken(seed):
    check_seed(seed)


@pytest.mark.parametrize("seed", [*WRONG, 1.0, "1", True, np.nan, [1], np.int64(-1)])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(
        UserError, match=r"^expected the_seed to be a whole number from 0 to 4294967295, got "
    ):
        check_seed(seed, "the_seed")


@pytest.mark.parametrize("seed", WRONG)
def test_pydantic_knows_the_range(seed):
    with pytest.raises(ValidationError):
        TypeAdapter(Seed).validate_python(seed)
    assert TypeAdapter(Seed).validate_python(END - 1) == END - 1


def test_the_largest_seed_is_taken_by_all_libraries():
    seed = END - 1
    torch.manual_seed(seed)
    assert project(np.eye(12), "tsne", seed).shape == (12, 2)
    assert len(fit_clusters(POINTS, 2, random_state=seed).draw(0, 2, seed)) == 2
    load_corpus("grammar", sizes=(3, 1, 1), seed=seed)


CLUSTERS = Clusters(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)))
CALLS = {
    "load_corpus": lambda seed: load_corpus("grammar", sizes=(1, 1, 1), seed=seed),
    "project": lambda seed: project(POINTS, random_state=seed),
    "fit_clusters": lambda seed: fit_clusters(POINTS, 2, random_state=seed),
    "draw": lambda seed: CLUSTERS.draw(0, 1, seed),
    "fit_mixture": lambda seed: fit_mixture(POINTS, POINTS, 2, seed=seed),
    "fit_flow": lambda seed: fit_flow(POINTS, POINTS, seed=seed),
    "M2Classifier": lambda seed: M2Classifier(random_state=seed).fit(POINTS, [0, 1, -1]),
    "TextVAEEmbedder": lambda seed: TextVAEEmbedder(random_state=seed).fit(["a b", "c d"]),
    "decode": lambda seed: vae().decode(np.zeros(3), seed=seed),
    "sample": lambda seed: vae().sample(1, seed=seed),
    "fit_prior": lambda seed: vae().fit_prior(["a", "b"], seed=seed),
    "fill": lambda seed: vae().fill("a ___", seed=seed),
    "log_likelihood": lambda seed: vae().log_likelihood("a", seed=seed),
    "cluster_texts": lambda seed: cluster_texts(vae(), ["a", "b"], seed=seed),
    "translate": lambda seed: translator().translate("a", seed=seed),
    "log_likelihood of pairs": lambda seed: translator().log_likelihood("a", "b", seed=seed),
    "evaluate": lambda seed: evaluate(tiny.model(), [tiny.batch()], seed=seed),
}


def vae():
    return TextVAE(tiny.model(), tiny.tokenizer())


def translator():
    return Translator(tiny.seq2seq(source_vocab_size=tiny.VOCABULARY), tiny.tokenizer(), tiny.tokenizer())


@pytest.mark.parametrize("seed", WRONG)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_python_refuses_it(call, seed):
    with pytest.raises(
        UserError, match=rf"(to be a whole number|seed: expected).*, got {re.escape(str(seed))}"
    ):
        call(seed)


@pytest.mark.parametrize("seed", WRONG)
@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "no-run"],
        ["sample", "no-run"],
        ["cluster", "no-run", "no-file"],
        ["map", "no-run", "no-file"],
        ["fill", "no-run", "a ___"],
        ["fit-prior", "no-run", "no-file"],
        ["translate", "no-run", "no-file"],
    ],
    ids=lambda command: command[0],
)
def test_the_command_line_refuses_it_before_any_work(textvae, command, seed):
    message = f"error: expected --seed to be a whole number from 0 to {END - 1}, got {seed}: choose another\n"
    assert textvae(*command, "--seed", seed) == (2, "", message)
