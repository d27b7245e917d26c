"""Methods of semi-supervised classification; each takes a corpus with few labels and returns an accuracy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from supervised import LSTMClassifier

from textvae.interfaces.text_vae import TextVAE
from textvae.latent_space.semi_supervised import M2Classifier
from textvae.text.corpus import load_corpus
from textvae.training.recipe import Recipe, read_recipe
from textvae.training.run import run_once

UNSUPERVISED = [
    "model.posterior={kind: gaussian}",
    "model.prior={kind: standard_normal}",
    "objective.classification=null",
    "corpus.labelled=null",
    "corpus.labelled_share=null",
]


class Bench:
    """A corpus with a seed and a number of labels, and the models trained on all of its text.

    Args:
        path: path of the recipe.
        overrides: changes to the recipe, "section.key=value".
        labels: number of sentences with a label.
        seed: seed of the corpus, of training and of all draws.
    """

    def __init__(self, path: str, overrides: list[str], labels: int, seed: int) -> None:
        self.path, self.overrides, self.labels, self.seed = path, overrides, labels, seed
        self.recipe = self.read()
        self.folder = self.recipe.folder.parent
        self.corpus: Any = load_corpus(**self.recipe.corpus)

    def read(self, *more: str) -> Recipe:
        """The recipe for this seed, with more overrides."""
        own = [f"corpus.labelled={self.labels}", f"corpus.seed={self.seed}", f"training.seed={self.seed}"]
        return read_recipe(self.path, [*self.overrides, *own, *more])

    def model(self, name: str, *more: str) -> TextVAE:
        """The model of a run: trained now, or loaded if it is finished."""
        folder = self.folder / name / f"seed{self.seed}"
        run_once(self.read(*more, f"training.output_dir={folder}"), resume=folder.exists())
        return TextVAE.from_pretrained(folder)

    @property
    def labelled(self) -> Dataset:
        """The labelled sentences of the train split, each once."""
        return load_corpus(**{**self.recipe.corpus, "labelled_share": None})["train"].filter(
            lambda label: label is not None, input_columns="label"
        )

    @property
    def test(self) -> Dataset:
        """The test split."""
        return self.corpus["test"]

    def vae(self) -> TextVAE:
        """M1: a VAE trained on all sentences, without labels."""
        return self.model("vae", *UNSUPERVISED)

    def language_model(self) -> TextVAE:
        """A language model with the same decoder, without z."""
        return self.model("language_model", *UNSUPERVISED, "model.latent_size=0")


def tfidf(bench: Bench) -> float:
    """Accuracy of TF-IDF and logistic regression."""
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10.0, max_iter=1_000))
    model.fit(bench.labelled["text"][:], bench.labelled["label"][:])
    return float(model.score(bench.test["text"][:], bench.test["label"][:]))


def lstm(bench: Bench, start: TextVAE | None = None) -> float:
    """Accuracy of a supervised LSTM."""
    source = start or bench.language_model()
    config = source.model.config
    model = LSTMClassifier(
        source.tokenizer,
        config.embedding_size,
        config.hidden_size,
        maximum_length=bench.recipe.tokenizer.maximum_length,
        start_from=start.model if start else None,
        random_state=bench.seed,
    )
    model.fit(bench.labelled["text"][:], bench.labelled["label"][:])
    return float(model.score(bench.test["text"][:], bench.test["label"][:]))


def m1(bench: Bench) -> float:
    """Accuracy of logistic regression on a VAE's vectors."""
    vae = bench.vae()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    model.fit(vae.encode(bench.labelled["text"][:]), bench.labelled["label"][:])
    return float(model.score(vae.encode(bench.test["text"][:]), bench.test["label"][:]))


def m1_m2(bench: Bench) -> float:
    """Accuracy of M2 on a VAE's vectors."""
    vae = bench.vae()
    corpus = load_corpus(**{**bench.recipe.corpus, "labelled_share": None})["train"]
    labels = np.array([-1 if label is None else label for label in corpus["label"]])
    model = M2Classifier(random_state=bench.seed).fit(vae.encode(corpus["text"][:]), labels)
    return float(model.score(vae.encode(bench.test["text"][:]), bench.test["label"][:]))


def m2(bench: Bench) -> float:
    """Accuracy of the recipe's own model."""
    vae = bench.model(f"m2-{bench.labels}")
    found = vae.classify(bench.test["text"][:]).argmax(1)
    return float((found == np.array(bench.test["label"][:])).mean())


METHODS: dict[str, Callable[[Bench], float]] = {
    "tfidf": tfidf,
    "lstm": lstm,
    "fine-tuned": lambda bench: lstm(bench, bench.language_model()),
    "m1": m1,
    "m2": m2,
    "m1+m2": m1_m2,
}
"""The methods of `classify.py`, by name."""
