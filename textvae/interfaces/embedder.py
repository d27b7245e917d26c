"""The scikit-learn interface: an estimator that trains a text VAE on strings and encodes strings as vectors."""

from __future__ import annotations

import io
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from datasets import Dataset
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from textvae.evaluation.diagnosis import diagnose
from textvae.interfaces.text_vae import TextVAE
from textvae.support.errors import UserError
from textvae.support.files import replacing
from textvae.support.held import undisturbed
from textvae.support.seeds import check_seed
from textvae.text.given import as_list, columns_of
from textvae.text.statistics import statistics_of
from textvae.training.automatic import flat, put_missing, timed_plan
from textvae.training.planner import FEWEST_TEXTS, plan
from textvae.training.recipe import Recipe, recipe_of
from textvae.training.run import run
from textvae.training.speed import nominal_speed

AUTO = "auto"

Automatic: TypeAlias = int | Literal["auto"]
"""A number, or "auto": the number is chosen from the statistics of the texts."""

NOMINAL = 5.0
"""Training time in minutes on a machine of `nominal_speed`, if the user gives no time."""

FEW = {
    "tokenizer.maximum_length": 100,
    "model.latent_size": 32,
    "model.hidden_size": 256,
    "model.dropout": 0.1,
    "model.tie_word_embeddings": True,
    "model.initial_range": None,
    "training.num_train_epochs": 10,
    "training.learning_rate": 3e-3,
    "training.max_grad_norm": 5.0,
}
"""Values of "auto" if there are too few texts to choose from."""

HELD_OUT = 0.05
"""Fraction of the texts, at most 5,000 texts, that is held out to choose the best epoch and to evaluate the model."""

ENOUGH = 20
"""Minimum number of held-out texts for a reliable diagnosis of posterior collapse."""

PARAMETERS = "embedder.json"


class TextVAEEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Learn vectors of texts: the posterior means of a text VAE.

    `fit` trains a tokenizer and a model, `transform` encodes, `inverse_transform` decodes. `load` gives the estimator
    of a trained model. It is frozen, like scikit-learn's `FrozenEstimator`: `fit` does not train the model, even in a
    pipeline or a search. ``TextVAEEmbedder(**loaded.get_params())`` is a new estimator that `fit` trains.

    Values that are "auto" are chosen from the number, length and vocabulary of the texts, by the rules of ``textvae
    train``. The same texts give the same values on every machine, unless ``minutes`` are given.

    Args:
        latent_size: size of the vectors, or "auto".
        hidden_size: hidden size of encoder and decoder, or "auto".
        encoder: a key of `ENCODERS`, such as "convolution", which learns quickly, or "bag_of_words", which captures
            the topics of documents.
        decoder: a key of `DECODERS`.
        vocabulary_size: number of tokens, or "auto"; None: 8,000, or fewer if the texts have fewer.
        maximum_length: training cuts texts to this many tokens, `transform` reads longer texts in chunks; or "auto";
            None: no limit.
        epochs: number of passes over the texts, or "auto".
        minutes: about how long training may take on this machine if ``epochs`` is "auto"; None: about five minutes on
            a common CPU core, or less if more would only overfit.
        recipe: further options as sections of a recipe, such as ``{"objective": {"target_rate": 15.0}, "training":
            {"learning_rate": 0.001}}``; they override the arguments above.
        random_state: seed for the weights, the batches, the samples of z and the choice of the held-out texts.
        verbose: whether to show what was chosen and the progress of training.

    Attributes:
        vae_: the trained `TextVAE`.
        evaluation_: the `Evaluation` on the held-out texts (5 % of the texts given to `fit`, excluded from training).
            Its KL and mutual information show how much information the vectors carry. A loaded estimator has no
            ``evaluation_``.
        frozen_: True for a loaded estimator, which `fit` does not train; False after training.
        plan_: the `Plan` that chose the values of "auto", with its reasons; None if there are too few texts. A loaded
            estimator has no ``plan_``.

    Example:
        >>> from textvae import TextVAEEmbedder, load_corpus
        >>> texts = load_corpus("grammar", sizes=(60, 1, 1))["train"]["text"]
        >>> embedder = TextVAEEmbedder(latent_size=4, hidden_size=16, epochs=1, random_state=0)
        >>> embedder.fit_transform(texts).shape
        (60, 4)
        >>> len(embedder.inverse_transform(embedder.transform(["Anna baked a cake."])))
        1
    """

    def __init__(
        self,
        latent_size: Automatic = "auto",
        hidden_size: Automatic = "auto",
        encoder: str = "convolution",
        decoder: str = "lstm",
        vocabulary_size: Automatic | None = "auto",
        maximum_length: Automatic | None = "auto",
        epochs: Automatic = "auto",
        minutes: float | None = None,
        recipe: Mapping[str, Mapping[str, Any]] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.latent_size = latent_size
        self.hidden_size = hidden_size
        self.encoder = encoder
        self.decoder = decoder
        self.vocabulary_size = vocabulary_size
        self.maximum_length = maximum_length
        self.epochs = epochs
        self.minutes = minutes
        self.recipe = recipe
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> TextVAEEmbedder:
        """Train a tokenizer and a model on texts; a frozen estimator, see `load`, is returned as it is.

        Args:
            X: at least two texts, in any form that `given.as_list` takes, such as a list, a Series or a table.
            y: ignored.

        Raises:
            UserError: if there are fewer than two texts, a parameter is not valid in a recipe, or the random state is
                out of range.
        """
        if self._frozen:
            return self
        texts = _checked(X)
        if len(texts) < 2:
            raise UserError(f"expected 2 texts or more to learn from, got {len(texts)}: give more")
        if not isinstance(self.random_state, np.random.RandomState):
            check_seed(self.random_state, "random_state")
        draw = check_random_state(self.random_state)
        seed = int(draw.randint(2**31 - 1))
        rows = Dataset.from_dict({"text": texts})
        order = draw.permutation(len(texts))
        held_out = max(1, min(5_000, round(HELD_OUT * len(texts))))
        rest, train = rows.select(order[:held_out]), rows.select(order[held_out:])
        with tempfile.TemporaryDirectory() as folder, _leaving_no_trace(self.verbose):
            recipe = self._recipe(texts, held_out, folder, seed)
            train = train.take(recipe.source["corpus"].get("maximum_train") or len(train))
            corpus = {"train": train, "validation": rest, "test": rest}
            self.evaluation_ = run(replace(recipe, corpus=corpus), quiet=not self.verbose)
            self.vae_, self.frozen_ = TextVAE.from_pretrained(folder), False
        diagnosis = diagnose(self.evaluation_)
        if diagnosis and diagnosis.state != "healthy" and held_out >= ENOUGH:
            warnings.warn(diagnosis.sentence, ConvergenceWarning, stacklevel=2)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """The posterior means of n texts, (n, latent_size).

        Args:
            X: n texts of any length, in any form that `fit` takes.
        """
        check_is_fitted(self)
        return self.vae_.encode(_checked(X), show_progress_bar=self.verbose)

    def inverse_transform(self, X: ArrayLike) -> list[str]:
        """The text that greedy decoding finds for each of n vectors, without UNK and loops (see `TextVAE.decode`).

        Args:
            X: vectors, (n, latent_size).
        """
        check_is_fitted(self)
        return self.vae_.decode(np.asarray(X), maximum_length=self.vae_.maximum_length or 100)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean importance-weighted bound on log p(x), K = 10, in nats per text; higher is better.

        Args:
            X: n texts.
            y: ignored.
        """
        check_is_fitted(self)
        return float(self.vae_.log_likelihood(_checked(X), samples=10).mean())

    def save(self, folder: str | Path) -> None:
        """Write the model and the parameters to a folder, which `TextVAE.from_pretrained` can read too.

        The files are JSON and safetensors, none is a pickle. A ``random_state`` that is not a number is not saved.

        Args:
            folder: the folder, which is created if it does not exist.
        """
        check_is_fitted(self)
        self.vae_.save_pretrained(folder)
        parameters = self.get_params(deep=False)
        if not isinstance(self.random_state, int):
            del parameters["random_state"]
        with replacing(Path(folder) / PARAMETERS) as partial:
            partial.write_text(json.dumps(parameters, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> TextVAEEmbedder:
        """A fitted estimator, loaded from a folder written by `save`, from a run folder, or from the Hub.

        The estimator is frozen: `fit` returns it as it is, `sklearn.base.clone` returns the estimator itself, and
        `set_params` takes only ``verbose``, as other parameters would have no effect.

        Args:
            folder: a folder, or ``owner/name`` on the Hub.

        Raises:
            UserError: see `TextVAE.from_pretrained`.
        """
        vae = TextVAE.from_pretrained(folder)
        file = Path(folder).expanduser() / PARAMETERS
        config = vae.model.config
        parameters = (
            json.loads(file.read_text(encoding="utf-8"))
            if file.is_file()
            else {
                "latent_size": config.latent_size,
                "hidden_size": config.hidden_size,
                "encoder": config.encoder["kind"],
                "decoder": config.decoder["kind"],
                "maximum_length": vae.maximum_length,
            }
        )
        estimator = cls(**parameters)
        estimator.vae_, estimator.frozen_ = vae, True
        return estimator

    @property
    def _frozen(self) -> bool:
        return getattr(self, "frozen_", False)

    def set_params(self, **params: Any) -> TextVAEEmbedder:
        """Set parameters, as every estimator of scikit-learn does.

        Raises:
            UserError: if the estimator is frozen, and a parameter other than ``verbose`` is given.
        """
        if self._frozen and (idle := params.keys() - {"verbose"}):
            raise UserError(
                f"expected no new parameters for a loaded estimator, which fit does not train, got "
                f"{', '.join(sorted(idle))}: make a new one with TextVAEEmbedder(**loaded.get_params())"
            )
        return super().set_params(**params)

    def __sklearn_clone__(self) -> TextVAEEmbedder:
        """The estimator itself if it is frozen, as a clone without the model could not be used."""
        return self if self._frozen else super().__sklearn_clone__()

    @property
    def _n_features_out(self) -> int:
        """The number of names that `get_feature_names_out` returns."""
        return self.vae_.model.vector_size

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that the inputs are strings and that the output is always float32."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """The state to pickle, for joblib's processes; the model is stored as the bytes of its files."""
        state = dict(super().__getstate__())
        if "vae_" in state:
            with tempfile.TemporaryDirectory() as folder:
                self.vae_.save_pretrained(folder)
                state["vae_"] = {file.name: file.read_bytes() for file in Path(folder).iterdir()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state, and load the model from the bytes of its files."""
        state = dict(state)
        if "vae_" in state:
            with tempfile.TemporaryDirectory() as folder:
                for name, content in state["vae_"].items():
                    (Path(folder) / name).write_bytes(content)
                state["vae_"] = TextVAE.from_pretrained(folder)
        super().__setstate__(state)

    def _recipe(self, texts: list[str], held_out: int, folder: str, seed: int) -> Recipe:
        """The recipe, with values chosen for the texts; sets `plan_`.

        Args:
            texts: the texts that `fit` was given.
            held_out: number of them that are held out from training.
            folder: folder of the run.
            seed: seed of the run.
        """
        name = "the parameters of the embedder"
        source = self._given(folder, seed)
        # Report all faults before anything is chosen.
        recipe_of(source, name=name)
        statistics = statistics_of(texts)
        if statistics.distinct < FEWEST_TEXTS:
            self.plan_ = None
            return recipe_of(put_missing(source, FEW), name=name)
        sizes = {"corpus.validation_size": held_out, "corpus.test_size": held_out}
        given = flat(source) | sizes
        del given["corpus.train"]
        if self.minutes is None:
            self.plan_ = plan(statistics, NOMINAL, nominal_speed, given)
        else:
            self.plan_ = timed_plan(statistics, self.minutes, 0.0, given)
        if self.verbose:
            print(self.plan_, file=sys.stderr)
        values = {key: value for key, value in self.plan_.values().items() if key not in sizes}
        return recipe_of(put_missing(source, values), name=name)

    def _given(self, folder: str, seed: int) -> dict[str, Any]:
        """The sections of the recipe that the parameters determine."""
        parameters = {
            "tokenizer.vocabulary_size": self.vocabulary_size,
            "tokenizer.maximum_length": self.maximum_length,
            "model.latent_size": self.latent_size,
            "model.hidden_size": self.hidden_size,
            "training.num_train_epochs": self.epochs,
        }
        given = {name: dict(section) for name, section in (self.recipe or {}).items()}
        given = put_missing(given, {key: value for key, value in parameters.items() if value != AUTO})
        fixed = {
            "corpus.train": "texts",
            "model.encoder.kind": self.encoder,
            "model.decoder.kind": self.decoder,
            "training.output_dir": folder,
            "training.seed": seed,
            "evaluation.samples": 10,
        }
        return put_missing(given, fixed)


def _checked(texts: Any) -> list[str]:
    """The texts as a list; a table must have a column of texts."""
    if isinstance(texts, str) or (getattr(texts, "ndim", 1) != 1 and columns_of(texts) is None):
        raise UserError(f"expected a list of texts, got {texts!r:.80}: give a list, or one column of a table")
    return as_list(texts)


@contextmanager
def _leaving_no_trace(verbose: bool) -> Iterator[None]:
    """Restore the global random states at the end of the block, and print nothing in it unless ``verbose``."""
    with undisturbed(), nullcontext() if verbose else redirect_stderr(io.StringIO()):
        yield
