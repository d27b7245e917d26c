"""The scikit-learn interface: its contract, the methods of a fitted estimator, and other tools that use it."""

import copy
import pickle
import pickletools
import random

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from datasets import Dataset, DatasetDict
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.validation import validate_data

from textvae.interfaces.embedder import TextVAEEmbedder
from textvae.interfaces.text_vae import TextVAE
from textvae.support.errors import UserError
from textvae.text.corpus import load_corpus
from textvae.training.automatic import flat
from textvae.training.speed import nominal_speed

FAST = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
RECIPE = {"tokenizer": {"kind": "words"}, "training": FAST, "evaluation": {"samples": 1}}
SMALL = {"latent_size": 2, "hidden_size": 4, "epochs": 1, "recipe": RECIPE, "random_state": 0}


@pytest.fixture(scope="module")
def rows():
    return load_corpus("grammar", sizes=(60, 1, 1))["train"]


@pytest.fixture(scope="module")
def texts(rows):
    return list(rows["text"])


@pytest.fixture(scope="module")
def fitted(texts):
    return TextVAEEmbedder(**SMALL).fit(texts)


# ---- fit


@pytest.mark.slow
def test_fit_says_nothing_and_leaves_the_random_states(texts, capfd):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    estimator = TextVAEEmbedder(**SMALL)
    assert estimator.fit(np.array(texts), y=None) is estimator
    assert states() == before
    assert capfd.readouterr() == ("", "")
    assert estimator.evaluation_.sentences == 3, "a twentieth is held out"


@pytest.mark.slow
def test_the_random_state_decides(fitted, texts):
    vectors = fitted.transform(texts)
    again = clone(fitted).fit(pd.Series(texts, index=range(60, 0, -1)))
    assert np.array_equal(again.transform(texts), vectors)
    assert not np.allclose(clone(fitted).set_params(random_state=1).fit(texts).transform(texts), vectors)


@pytest.mark.slow
def test_more_epochs_fit_better(fitted, texts):
    quick = RECIPE | {"training": FAST | {"per_device_train_batch_size": 8, "learning_rate": 0.02}}
    longer = clone(fitted).set_params(epochs=10, hidden_size=16, recipe=quick).fit(texts)
    assert longer.score(texts) > fitted.score(texts) + 10


@pytest.mark.slow
def test_parameters_reach_the_model(texts):
    recipe = {"tokenizer": {"maximum_length": 9}, "training": {"max_steps": 1}}
    estimator = TextVAEEmbedder(
        3, 5, "lstm", "dilated_convolution", vocabulary_size=320, maximum_length=5, recipe=recipe
    )
    vae = estimator.fit(texts).vae_
    config = vae.model.config
    assert (config.latent_size, config.hidden_size) == (3, 5)
    assert (config.encoder["kind"], config.decoder["kind"]) == ("lstm", "dilated_convolution")
    assert config.vocab_size == 320
    assert vae.maximum_length == 9, "the recipe goes over the parameters"


def test_unknown_parameters_are_named(texts):
    with pytest.raises(UserError, match=r"training\.learning_rat: no such key; did you mean learning_rate\?"):
        TextVAEEmbedder(recipe={"training": {"learning_rat": 1}}).fit(texts)
    with pytest.raises(UserError, match=r"section trainin: no such key; did you mean training\?"):
        TextVAEEmbedder(recipe={"trainin": {}}).fit(texts)
    with pytest.raises(UserError, match=r"model\.encoder\.kind.*gru"):
        TextVAEEmbedder(encoder="gru").fit(texts)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("one text", "expected a list of texts, got 'one text'"),
        (
            np.array([["a", "b"]]),
            "expected a list of texts, got array.*give a list, or one column of a table",
        ),
        (
            pd.DataFrame({"a": ["x"], "b": ["y"]}),
            r"a table with a column text, got a DataFrame with a, b: take one",
        ),
        (["alone"], "expected 2 texts or more to learn from, got 1"),
        (["a", float("nan")], r"expected strings, got nan \(float\) at place 1"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        TextVAEEmbedder().fit(given)


def test_collapse_is_not_silent(texts, monkeypatch):
    monkeypatch.setattr("textvae.interfaces.embedder.ENOUGH", 3)
    with pytest.warns(ConvergenceWarning, match="z says nothing that the decoder does not know without it"):
        TextVAEEmbedder(**SMALL).fit(texts)


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({}, {"model.latent_size": 16, "model.hidden_size": 128, "training.max_steps": 600}),
        ({"latent_size": 3, "epochs": 1}, {"model.latent_size": 3, "training.max_steps": None}),
        ({"recipe": {"training": {"max_steps": 7}}}, {"training.max_steps": 7, "training.eval_steps": 1}),
        ({"minutes": 2, "hidden_size": 4}, {"model.hidden_size": 4, "training.max_steps": 600}),
    ],
)
def test_what_is_not_given_is_chosen(given, chosen, texts, monkeypatch):
    """By the planner, from the texts."""
    monkeypatch.setattr("textvae.training.automatic.calibrated_speed", lambda sizes: nominal_speed)
    seen = []
    monkeypatch.setattr("textvae.interfaces.embedder.run", lambda recipe, **_: seen.append(recipe) or stop())
    estimator = TextVAEEmbedder(**given)
    with pytest.raises(StopIteration):
        estimator.fit(texts)
    values = flat(seen[0].source)
    assert {key: values.get(key) for key in chosen} == chosen
    reasons = {choice.key: choice.reason for choice in estimator.plan_.choices}
    assert all(reasons[key] == "as you set it" for key in chosen.keys() & reasons.keys() if key in given)


def stop():
    raise StopIteration


def test_of_few_texts_nothing_is_chosen():
    estimator = TextVAEEmbedder(random_state=0, epochs=1).fit(["a b", "c d", "e f"])
    assert estimator.plan_ is None
    assert estimator.vae_.model.config.latent_size == 32


# ---- the methods of a fitted estimator


def test_transform_encodes_and_inverse_transform_decodes(fitted, texts):
    vectors = fitted.transform(texts)
    assert (vectors.shape, vectors.dtype) == ((60, 2), np.float32)
    assert np.array_equal(vectors, fitted.vae_.encode(texts))
    assert fitted.inverse_transform(vectors[:3]) == fitted.vae_.reconstruct(texts[:3])
    assert fitted.transform([]).shape == (0, 2)
    assert fitted.score(texts) == pytest.approx(fitted.vae_.log_likelihood(texts, samples=10).mean())


def test_columns_have_names(fitted, texts):
    names = ["textvaeembedder0", "textvaeembedder1"]
    assert fitted.get_feature_names_out().tolist() == names
    table = clone(fitted).set_output(transform="pandas")
    table.__dict__ |= {"vae_": fitted.vae_}
    frame = table.transform(pd.Series(texts, index=range(60, 0, -1)))
    assert frame.columns.tolist() == names
    assert frame.index.tolist() == list(range(60, 0, -1)), "rows keep their labels"
    assert table.inverse_transform(frame[:2]) == fitted.inverse_transform(fitted.transform(texts[:2]))


@pytest.mark.parametrize("verb", ["transform", "inverse_transform", "score", "save", "get_feature_names_out"])
def test_nothing_comes_before_fit(verb):
    with pytest.raises(NotFittedError):
        getattr(TextVAEEmbedder(), verb)(*[["a"]] * (verb != "get_feature_names_out"))


def test_saved_and_loaded_it_is_the_same(fitted, texts, tmp_path):
    fitted.save(tmp_path / "run")
    loaded = TextVAEEmbedder.load(tmp_path / "run")
    assert loaded.get_params() == fitted.get_params()
    assert np.array_equal(loaded.transform(texts), fitted.transform(texts))
    assert np.array_equal(TextVAE.from_pretrained(tmp_path / "run").encode(texts), fitted.transform(texts))
    assert {file.suffix for file in (tmp_path / "run").iterdir()} == {".json", ".safetensors"}


@pytest.fixture
def loaded(tmp_path):
    """An estimator that was loaded from the files of an untrained model."""
    vae = TextVAE(tiny.model(encoder_type="convolution"), copy.deepcopy(tiny.tokenizer()))
    vae.save_pretrained(tmp_path)
    return TextVAEEmbedder.load(tmp_path)


LETTERS = ["a b", "c", "d e f", "b a", "x y z", "c c"]


def test_a_loaded_one_is_frozen(loaded):
    vectors, vae = loaded.transform(LETTERS), loaded.vae_
    assert loaded.frozen_
    assert loaded.fit(["other texts", "of other words"]) is loaded
    assert clone(loaded) is loaded
    pipeline = make_pipeline(loaded, LogisticRegression()).fit(LETTERS, [0, 1] * 3)
    assert pipeline[0].vae_ is vae
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1.0]}, cv=2).fit(
        LETTERS, [0, 0, 0, 1, 1, 1]
    )
    assert search.best_estimator_[0].vae_ is vae
    for same in (loaded, pickle.loads(pickle.dumps(loaded)), copy.deepcopy(loaded)):
        assert same.frozen_
        assert np.array_equal(same.fit(LETTERS).transform(LETTERS), vectors)
    assert np.array_equal(loaded.fit_transform(LETTERS), vectors)


def test_a_frozen_one_takes_no_parameters_that_would_do_nothing(loaded):
    with pytest.raises(
        UserError, match=r"expected no new parameters for a loaded estimator.* got latent_size: make"
    ):
        loaded.set_params(latent_size=9)
    search = GridSearchCV(
        make_pipeline(loaded, LogisticRegression()), {"textvaeembedder__epochs": [1, 2]}, cv=2
    )
    with pytest.raises(UserError, match="got epochs"):
        search.fit(LETTERS, [0, 0, 0, 1, 1, 1])
    assert loaded.set_params(verbose=True).verbose
    assert loaded.set_params() is loaded


def test_a_new_one_of_the_same_parameters_is_trained(fitted, texts, tmp_path):
    assert not fitted.frozen_
    fitted.save(tmp_path)
    again = TextVAEEmbedder(**TextVAEEmbedder.load(tmp_path).get_params()).set_params(latent_size=1)
    assert again.fit(texts).transform(texts).shape == (60, 1)


def test_any_run_can_be_loaded(tmp_path):
    vae = TextVAE(tiny.model(encoder_type="convolution"), copy.deepcopy(tiny.tokenizer()))
    vae.tokenizer.model_max_length = 7
    vae.save_pretrained(tmp_path)
    loaded = TextVAEEmbedder.load(tmp_path)
    expected = {"latent_size": 3, "hidden_size": 8, "encoder": "convolution", "maximum_length": 7}
    assert expected.items() <= loaded.get_params().items()
    np.testing.assert_allclose(loaded.transform(["a b", "c"]), vae.encode(["a b", "c"]), rtol=1e-5)


def test_a_pickle_holds_the_files_of_the_model(fitted, texts):
    pickled = pickle.dumps(fitted)
    words = [word for _, word, _ in pickletools.genops(pickled) if isinstance(word, str)]
    assert not [word for word in words if word.split(".")[0] == "torch"], (
        "no class of torch's is named, only weights"
    )
    assert np.array_equal(pickle.loads(pickled).transform(texts), fitted.transform(texts))
    assert "vae_" not in vars(pickle.loads(pickle.dumps(clone(fitted))))


@pytest.mark.slow
def test_it_works_in_pipelines_and_searches(rows, texts):
    classes = [int(label) for label in np.arange(60) % 2]
    pipeline = make_pipeline(TextVAEEmbedder(**SMALL), LogisticRegression())
    search = GridSearchCV(pipeline, {"textvaeembedder__latent_size": [1, 3]}, cv=2).fit(texts, classes)
    assert search.best_params_["textvaeembedder__latent_size"] in (1, 3)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(texts[:5]).shape == (5,)
    alone = GridSearchCV(TextVAEEmbedder(**SMALL), {"hidden_size": [4]}, cv=2, refit=False).fit(texts)
    assert alone.best_score_ < 0, "its own score is a log-likelihood"


# ---- scikit-learn's checks


class OfNumbers(TextVAEEmbedder):
    """The estimator with rows of numbers as texts, because scikit-learn's checks skip estimators of strings.

    The checks cover everything except how X is read, for which this class uses scikit-learn's `validate_data`.
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = False, True
        return tags

    def fit(self, X, y=None):
        return super().fit(_words(validate_data(self, X)), y)

    def transform(self, X):
        return super().transform(_words(validate_data(self, X, reset=False)))

    def score(self, X, y=None):
        return super().score(_words(validate_data(self, X, reset=False)))


def _words(rows):
    return [" ".join(f"{place}:{value:.0f}" for place, value in enumerate(row)) for row in rows]


EXCLUDED = {"check_fit2d_1sample": "the check expects the word samples in the message, ours says texts"}
"""The checks that are expected to fail, and why."""

INSTANT = {
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_mixin_order",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_estimators_unfitted",
    "check_transformers_unfitted",
}
"""The quick checks; each of the others trains at least one model."""


def checks():
    for estimator, check in estimator_checks_generator(OfNumbers(**SMALL)):
        name = check.func.__name__
        excluded = pytest.mark.xfail(reason=EXCLUDED.get(name, ""), strict=True)
        marks = [excluded] * (name in EXCLUDED) + [pytest.mark.slow] * (name not in INSTANT)
        yield pytest.param(estimator, check, marks=marks, id=name)


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
@pytest.mark.filterwarnings("ignore")
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)  # raises an error if the estimator breaks the rule


# ---- tools that use an embedding model


@pytest.mark.filterwarnings("ignore")
def test_bertopic_takes_it_in_a_pipeline(fitted, texts):
    """BERTopic chooses its backend by the class of the embedding model and accepts a scikit-learn pipeline."""
    bertopic = pytest.importorskip("bertopic")
    topics = bertopic.BERTopic(
        embedding_model=make_pipeline(fitted),
        umap_model=bertopic.dimensionality.BaseDimensionalityReduction(),
        hdbscan_model=KMeans(3, n_init=1, random_state=0),
    )
    found, _ = topics.fit_transform(texts)
    expected = KMeans(3, n_init=1, random_state=0).fit_predict(fitted.transform(texts))
    assert len(set(zip(found, expected, strict=True))) == len(set(found)) == 3, (
        "the same but for their numbers"
    )
    assert np.array_equal(topics.embedding_model.embed(texts), fitted.transform(texts))


@pytest.mark.filterwarnings("ignore")
def test_mteb_takes_it_unchanged(fitted, texts):
    mteb = pytest.importorskip("mteb")
    abstasks = pytest.importorskip("mteb.abstasks")
    long = [int(len(text) > 45) for text in texts]
    rows = Dataset.from_dict({"text": texts, "label": long})

    class LongOrShort(abstasks.AbsTaskClassification):
        metadata = mteb.TaskMetadata(
            name="LongOrShort",
            description="Whether a sentence is long.",
            dataset={"path": "local", "revision": "1"},
            type="Classification",
            category="t2c",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="accuracy",
        )
        samples_per_label = 8
        n_experiments = 2

        def load_data(self, **_):
            self.dataset = DatasetDict({"train": rows, "test": rows})
            self.data_loaded = True

    class Alike(abstasks.AbsTaskSTS):
        metadata = mteb.TaskMetadata(
            name="Alike",
            description="Whether two sentences are alike.",
            dataset={"path": "local", "revision": "1"},
            type="STS",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="cosine_spearman",
        )
        min_score, max_score = 0, 1

        def load_data(self, **_):
            pairs = {"sentence1": texts[:20], "sentence2": texts[1:21], "score": [i / 20 for i in range(20)]}
            self.dataset = DatasetDict({"test": Dataset.from_dict(pairs)})
            self.data_loaded = True

    results = mteb.evaluate(fitted.vae_, [LongOrShort(), Alike()], cache=None, show_progress_bar=False)
    assert results.model_revision == fitted.vae_.fingerprint()
    first, second = (result.get_score() for result in results.task_results)
    assert 0 <= first <= 1
    assert -1 <= second <= 1
