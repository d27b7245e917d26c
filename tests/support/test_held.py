"""Calls leave the global state as it was, even if they overlap or fail."""

import logging
import random
import threading
from contextlib import ExitStack

import datasets
import numpy as np
import pytest
import tiny
import torch
from sklearn.base import clone
from transformers.utils import logging as transformers_logging

from textvae.evaluation.evaluate import evaluate
from textvae.inference.mode import evaluating
from textvae.interfaces.clustering import cluster_texts
from textvae.interfaces.text_vae import TextVAE
from textvae.latent_space.semi_supervised import M2Classifier
from textvae.models.refinement import Refinement
from textvae.support.held import (
    Held,
    evaluation_mode,
    flushes_denormals,
    flushing_denormals,
    undisturbed,
    without_gradients,
)
from textvae.support.quiet import silenced, without_bars
from textvae.text.corpus import load_corpus
from textvae.training.recipe import recipe_of
from textvae.training.run import run

TEXTS = ["a b", "c d e", "f g", "h", "i j k", "x y z"] * 4


def state():
    """The global state that a call could change."""
    return {
        "random": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),
        "torch": torch.get_rng_state().tolist(),
        "denormals": flushes_denormals(),
        "verbosity": transformers_logging.get_verbosity(),
        "bars": transformers_logging.is_progress_bar_enabled(),
        "bars of datasets": datasets.are_progress_bars_disabled(),
        "builders": logging.getLogger("datasets.packaged_modules").level,
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
    }


# ---- blocks that overlap


def overlapping(block):
    """Begin two blocks, and end the first before the second."""
    first, second = ExitStack(), ExitStack()
    first.enter_context(block())
    second.enter_context(block())
    first.close()
    second.close()


@pytest.mark.parametrize(
    "block", [silenced, without_bars, flushing_denormals, without_gradients], ids=lambda block: block.__name__
)
def test_overlapping_blocks_leave_nothing(block):
    before = state()
    overlapping(block)
    assert state() == before
    with block():
        assert state() != before


def test_the_first_value_comes_back():
    values = ["before"]
    held = Held(lambda: values[-1], values.append)
    first, second = held("first"), held("second")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert values == ["before", "first", "second"]
    second.__exit__(None, None, None)
    assert values[-1] == "before"


@pytest.mark.parametrize("block", [evaluating, evaluation_mode], ids=lambda block: block.__name__)
@pytest.mark.parametrize("training", [True, False])
def test_overlapping_evaluations_restore_the_mode_of_each_module(block, training):
    model = tiny.model().train(training)
    model.encoder.train(not training)
    before = [module.training for module in model.modules()]
    first, second = block(model), block(model)
    first.__enter__()
    second.__enter__()
    assert not any(module.training for module in model.modules())
    first.__exit__(None, None, None)
    assert not any(module.training for module in model.modules())
    second.__exit__(None, None, None)
    assert [module.training for module in model.modules()] == before
    assert torch.is_grad_enabled()


def test_overlapping_evaluations_with_refinement_leave_a_model_in_training_mode():
    """Two threads refine posteriors at the same time."""
    model, batch = tiny.model().train(), tiny.batch()
    meeting = threading.Barrier(2)

    def measure():
        meeting.wait()
        for _ in range(3):
            evaluate(model, [batch], samples=2, refinement=Refinement(steps=2))

    threads = [threading.Thread(target=measure) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(module.training for module in model.modules())


def test_what_fails_leaves_nothing():
    model = tiny.model().train()
    before = state()
    with pytest.raises(ZeroDivisionError), silenced(), flushing_denormals(), undisturbed(), evaluating(model):
        torch.rand(3), random.random(), np.random.rand()
        raise ZeroDivisionError
    assert state() == before
    assert model.training


# ---- calls


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    torch.manual_seed(0)
    vae = TextVAE(tiny.model().float(), tiny.tokenizer())
    vae.save_pretrained(folder := tmp_path_factory.mktemp("run"))
    vae.folder, vae.batch = folder, tiny.batch()
    return vae


CALLS = {
    "from_pretrained": lambda vae: TextVAE.from_pretrained(vae.folder),
    "save_pretrained": lambda vae: vae.save_pretrained(vae.folder / "again"),
    "load_corpus": lambda vae: load_corpus("grammar", sizes=(9, 2, 2)),
    "encode": lambda vae: vae.encode(TEXTS),
    "decode": lambda vae: vae.decode(np.zeros((2, 3))),
    "decode with draws": lambda vae: vae.decode(np.zeros((2, 3)), temperature=1.0, seed=1),
    "sample": lambda vae: vae.sample(2, seed=1, temperature=1.0),
    "reconstruct": lambda vae: vae.reconstruct(TEXTS[:2]),
    "log_likelihood": lambda vae: vae.log_likelihood(TEXTS[:2], 3),
    "score": lambda vae: vae.score(TEXTS[:2], np.zeros((2, 3))),
    "fill": lambda vae: vae.fill("a ___ c", particles=9),
    "interpolate": lambda vae: vae.interpolate("a", "b c", 3),
    "traverse": lambda vae: vae.traverse("a", 0, 3),
    "analogy": lambda vae: vae.analogy("a", "b", "c"),
    "neighbours": lambda vae: vae.neighbours(TEXTS[:2], TEXTS, 2),
    "fit_prior": lambda vae: vae.fit_prior(TEXTS, components=2),
    "cluster_texts": lambda vae: cluster_texts(vae, TEXTS, 2),
    "evaluate": lambda vae: evaluate(vae.model, [vae.batch], samples=2, fields=tiny.fields()),
    "classifier": lambda vae: clone(M2Classifier(latent_size=2, epochs=2, random_state=0)).fit(
        vae.encode(TEXTS), [0, 1] * 12
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_a_call_leaves_nothing_behind(name, vae):
    vae.model.train()
    before = state()
    CALLS[name](vae)
    assert state() == before
    assert vae.model.training
    vae.model.eval()


def test_a_trainer_leaves_nothing_behind(tmp_path):
    before = tiny.trainer(tmp_path, max_steps=2, eval_strategy="steps", eval_steps=1) and state()
    trainer = tiny.trainer(tmp_path, max_steps=2, eval_strategy="steps", eval_steps=1)
    assert state() == before, "both began with the same seed, and drew the same weights"
    trainer.train()
    assert state() == before
    trainer.evaluate()
    assert state() == before


def test_a_training_does_not_depend_on_the_global_state(tmp_path):
    options = {"max_steps": 3, "model_options": {"dropout": 0.3, "word_dropout": 0.3}}
    plain, disturbed = (tiny.trainer(tmp_path, **options) for _ in range(2))
    plain.train()
    torch.rand(5)
    disturbed.train()
    torch.testing.assert_close(tiny.weights(disturbed.model), tiny.weights(plain.model), rtol=0, atol=0)


def test_a_run_leaves_nothing_behind(tmp_path):
    sections = {
        "corpus": {"train": "grammar", "sizes": [20, 4, 4]},
        "tokenizer": {"kind": "words"},
        "model": {"latent_size": 2, "hidden_size": 4, "embedding_size": 4},
        "training": {"output_dir": str(tmp_path / "run"), "max_steps": 1, "use_cpu": True},
        "evaluation": {"samples": 1},
    }
    before = state()
    run(recipe_of(sections), quiet=True)
    assert state() == before
