"""`TextVAE`: the order of results, agreement with the model and the tokenizer, and error messages."""

import copy
import inspect
import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from string import ascii_lowercase

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file

from textvae.evaluation.evaluate import evaluate
from textvae.interfaces.readable import AS_IT_IS
from textvae.interfaces.text_vae import TextVAE
from textvae.latent_space.fitted_priors import save_prior
from textvae.modules.distributions import sample
from textvae.support.errors import UserError
from textvae.support.randomness import generator_of
from textvae.text.samplers import evaluation_loader
from textvae.text.tokenizer import train_tokenizer

LENGTHS = (5, 1, 7, 3, 3, 9, 2, 5)


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(1)
    return TextVAE(tiny.model(initial_range=1.0), tiny.tokenizer())


@pytest.fixture(scope="module")
def language_model():
    torch.manual_seed(1)
    return TextVAE(tiny.model(latent_size=0), tiny.tokenizer())


@pytest.fixture(scope="module")
def texts():
    draw = random.Random(0)
    return [" ".join(draw.choices(ascii_lowercase, k=length)) for length in LENGTHS]


@pytest.fixture(scope="module")
def saved(vae, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    vae.save_pretrained(folder)
    return folder


@pytest.fixture
def run(saved, tmp_path):
    """A copy of the run that a test may change."""
    return shutil.copytree(saved, tmp_path / "run")


# ---- encode


def test_row_i_belongs_to_text_i(vae, texts):
    vectors = vae.encode(texts, batch_size=3)
    assert (vectors.shape, vectors.dtype) == ((8, 3), np.float32)
    alone = np.stack([vae.encode(text) for text in texts])
    np.testing.assert_allclose(vectors, alone, rtol=1e-6)
    assert len(np.unique(vectors.round(4), axis=0)) == 8, "or any order would do"


def test_encode_gives_the_posterior_mean(vae):
    batch = tiny.collate([{"ids": [5, 6]}])
    expected = vae.model.encode(batch.targets, batch.mask).mean[0].detach()
    np.testing.assert_allclose(vae.encode("b c"), expected, rtol=1e-6)


def test_encode_returns_what_sentence_transformers_return(vae, texts):
    assert vae.encode("b").shape == (3,)
    assert vae.encode(["b"]).shape == (1, 3)
    assert vae.encode([]).shape == (0, 3)
    assert vae.encode(np.array(texts)).shape == (8, 3)
    tensor = vae.encode(texts, convert_to_tensor=True)
    assert isinstance(tensor, torch.Tensor)
    assert [row.shape for row in vae.encode(texts, convert_to_numpy=False)] == [(3,)] * 8
    unit = vae.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(unit * np.linalg.norm(tensor, axis=1)[:, None], tensor, rtol=1e-5)


def test_encode_refuses_what_is_no_string(vae):
    with pytest.raises(UserError, match=r"expected strings, got nan \(float\) at place 1"):
        vae.encode(["b", float("nan")])


def test_the_deviations_are_those_of_the_posterior(vae, texts):
    means, deviations = vae.encode(texts, batch_size=3, return_deviations=True)
    assert np.array_equal(means, vae.encode(texts, batch_size=3))
    batch = tiny.collate([{"ids": [5, 6]}])
    expected = vae.model.encode(batch.targets, batch.mask).stddev[0].detach()
    mean, deviation = vae.encode("b c", return_deviations=True)
    np.testing.assert_allclose(deviation, expected, rtol=1e-6)
    unit, shrunk = vae.encode("b c", return_deviations=True, normalize_embeddings=True)
    np.testing.assert_allclose(shrunk / deviation, unit / mean, rtol=1e-5)
    assert deviations.shape == (8, 3)
    listed = vae.encode(texts, return_deviations=True, convert_to_numpy=False)
    assert [len(part) for part in listed] == [8, 8]


def test_encode_takes_what_sentence_transformers_take_in_their_order(vae):
    expected = (
        "sentences prompt_name prompt batch_size show_progress_bar output_value precision convert_to_numpy "
    )
    expected += "convert_to_tensor device normalize_embeddings"
    assert list(inspect.signature(vae.encode).parameters)[:11] == expected.split()
    assert np.array_equal(vae.encode(["c"], prompt="b ", device="cpu"), vae.encode(["b c"]))
    for name, value in {
        "prompt_name": "query",
        "output_value": "token_embeddings",
        "precision": "int8",
    }.items():
        with pytest.raises(UserError, match=f"expected {name}=.* the only supported value, got '{value}'"):
            vae.encode(["b"], **{name: value})
    with pytest.raises(TypeError, match="unexpected keyword argument 'batchsize'"):
        vae.encode(["b"], batchsize=3)


def test_encode_takes_what_newer_sentence_transformers_take(vae, texts):
    whole = vae.encode(texts)
    for encode in (vae.encode, vae.encode_query, vae.encode_document):
        assert np.array_equal(encode(inputs=texts, precision=None), whole)
        assert np.array_equal(encode(texts, prompt_name=None, truncate_dim=2), whole[:, :2])
    short = vae.encode(texts, truncate_dim=2, normalize_embeddings=True)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, rtol=1e-6)
    assert (vae.similarity_fn_name, vae.get_embedding_dimension()) == ("cosine", whole.shape[1])
    with pytest.raises(UserError, match="expected truncate_dim to be at least 1, got 0"):
        vae.encode(texts, truncate_dim=0)
    for both in ({}, {"sentences": texts, "inputs": texts}):
        with pytest.raises(UserError, match="expected sentences, or inputs in their place"):
            vae.encode(**both)


def test_langchain_gets_lists(vae, texts):
    assert vae.embed_documents(texts) == vae.encode(texts).tolist()
    assert vae.embed_query(texts[0]) == vae.encode(texts[0]).tolist()


def test_encode_takes_batches_with_what_mteb_says_of_its_task(vae, texts):
    batches = [{"text": texts[:5], "id": [*"abcde"]}, {"text": texts[5:]}]
    found = vae.encode(
        batches, task_metadata=object(), hf_split="test", hf_subset="default", prompt_type=None
    )
    assert np.array_equal(found, vae.encode(texts))


@pytest.fixture
def short():
    """A model with a maximum length of three words and EOS."""
    torch.manual_seed(1)
    vae = TextVAE(tiny.model(initial_range=1.0), copy.deepcopy(tiny.tokenizer()))
    vae.tokenizer.model_max_length = 4
    return vae


def test_a_long_text_is_the_mean_of_its_chunks_by_their_lengths(short):
    text = "b c d e f g h"
    (a, s), (b, t), (c, u) = (short.encode(part, return_deviations=True) for part in ("b c d", "e f g", "h"))
    means, deviations = short.encode(["c", text, ""], batch_size=2, return_deviations=True)
    np.testing.assert_allclose(means[1], 0.4 * a + 0.4 * b + 0.2 * c, rtol=1e-5)
    np.testing.assert_allclose(
        deviations[1], np.sqrt((0.4 * s) ** 2 + (0.4 * t) ** 2 + (0.2 * u) ** 2), rtol=1e-5
    )
    for place, whole in ((0, "c"), (2, "")):
        expected = short.encode(whole, return_deviations=True)
        np.testing.assert_allclose((means[place], deviations[place]), expected, rtol=1e-5)
    np.testing.assert_allclose(short.encode(text), means[1], rtol=1e-5)


def test_no_word_of_a_long_text_is_lost(short):
    words = [*"bcdefghijk"]
    whole = short.encode(" ".join(words))
    for place in range(len(words)):
        assert not np.allclose(short.encode(" ".join([*words[:place], "z", *words[place + 1 :]])), whole)


def test_the_maximum_length_is_saved_with_the_model(vae, short, tmp_path):
    assert vae.maximum_length is None
    short.save_pretrained(tmp_path)
    loaded = TextVAE.from_pretrained(tmp_path)
    assert loaded.maximum_length == 4
    np.testing.assert_allclose(loaded.encode("b c d e f"), short.encode("b c d e f"), rtol=1e-6)


def test_a_long_text_is_scored_whole(vae, short, texts):
    assert np.array_equal(short.log_likelihood(texts, samples=3), vae.log_likelihood(texts, samples=3))


def test_similarities_are_cosines(vae):
    a, b = np.array([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    torch.testing.assert_close(vae.similarity(a, b), torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    torch.testing.assert_close(vae.similarity(a[0], b), torch.tensor([[0.6, 0.8]]))
    torch.testing.assert_close(vae.similarity_pairwise(a, b), torch.tensor([0.6, 1.0]))


def test_a_fingerprint_tells_models_apart(vae, saved, short):
    assert vae.fingerprint() == TextVAE.from_pretrained(saved).fingerprint()
    assert vae.fingerprint() != short.fingerprint(), "the length of the chunks is part of it"
    changed = TextVAE(tiny.model(initial_range=1.0), tiny.tokenizer())
    changed.model.load_state_dict(vae.model.state_dict())
    assert changed.fingerprint() == vae.fingerprint()
    with torch.no_grad():
        changed.model.posterior.mean.weight[0, 0] += 1e-6
    assert changed.fingerprint() != vae.fingerprint()


def test_a_bar_only_where_asked_for(vae, capsys):
    vae.encode(["b"])
    assert capsys.readouterr().err == ""
    vae.encode(["b"], show_progress_bar=True)
    assert "encoding" in capsys.readouterr().err


# ---- decode, and the methods that use it


def test_decoding_a_batch_is_decoding_one_by_one(vae, texts):
    z = vae.encode(texts)
    together = vae.decode(z, batch_size=3, maximum_length=12)
    assert together == [vae.decode(row, maximum_length=12)[0] for row in z]
    assert together == vae.decode(torch.tensor(z), maximum_length=12)
    assert together == vae.reconstruct(texts, maximum_length=12)
    assert len(set(together)) > 1, "or any order would do"


def test_maximum_length_bounds_the_sentence(vae):
    assert all(len(text.split()) <= 4 for text in vae.decode(np.ones((5, 3)), maximum_length=4))


def test_options_are_those_of_generate(vae):
    z = vae.encode(["b c", "d"])
    beams = vae.decode(z, num_beams=3, num_return_sequences=2, maximum_length=6, **AS_IT_IS)
    assert len(beams) == 4
    expected = vae.model.generate(
        torch.tensor(z).double(), num_beams=3, num_return_sequences=2, max_new_tokens=6
    )
    assert beams[3].split() == [
        ascii_lowercase[i - 4] if i > 3 else "<unk>" for i in expected[3].tolist() if i > 2
    ]


def writer_of(logits):
    """A model that gives tokens these logits, whatever it has written."""
    torch.manual_seed(0)
    vae = TextVAE(tiny.model(), tiny.tokenizer())
    layer = vae.model.output_layer
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.linear.bias.copy_(torch.tensor(logits + [-9.0] * (30 - len(logits))))
    return vae


def test_greedy_text_has_no_unk_and_no_loops():
    """The likeliest token is UNK (3), then a (4), b (5), c (6)."""
    vae = writer_of([-9.0, -9.0, -9.0, 5.0, 4.0, 3.0, 2.0])
    z = np.zeros((1, 3))
    words = vae.decode(z, maximum_length=12)[0].split()
    runs = [tuple(words[start : start + 4]) for start in range(9)]
    assert len(set(runs)) == len(runs)
    for options in ({}, {"num_beams": 2}):
        assert "<unk>" not in vae.decode(z, maximum_length=12, **options)[0]
    assert vae.decode(z, maximum_length=6) == ["a a a a b a"]
    assert vae.decode(z, maximum_length=12, no_repeat_ngram_size=0) == [" ".join("a" * 12)]
    assert vae.decode(z, maximum_length=6, no_repeat_ngram_size=2) == ["a a b a c a"]
    assert vae.decode(z, maximum_length=2, suppress_tokens=[]) == ["<unk> <unk>"]


def test_drawn_words_are_those_of_the_model_without_unk():
    vae = writer_of([-9.0, -9.0, -9.0, 1.0, 1.0, 0.0])
    drawn = " ".join(vae.decode(np.zeros((200, 3)), maximum_length=5, temperature=1.0, seed=0)).split()
    assert "<unk>" not in drawn
    assert drawn.count("a") / len(drawn) == pytest.approx(1 / (1 + np.exp(-1)), abs=0.05)
    whole = vae.decode(np.zeros((200, 3)), maximum_length=5, temperature=1.0, seed=0, suppress_tokens=[])
    words = " ".join(whole).split()
    assert words.count("<unk>") / len(words) == pytest.approx(1 / (2 + np.exp(-1)), abs=0.05)


def test_a_temperature_means_that_words_are_drawn(vae):
    z = np.zeros((20, 3))
    assert len(set(vae.decode(z, seed=0, maximum_length=8))) == 1
    assert len(set(vae.decode(z, seed=0, maximum_length=8, temperature=1.0))) > 10
    assert len(set(vae.decode(z, seed=0, maximum_length=8, temperature=1.0, top_k=1))) == 1


def test_words_are_drawn_from_the_whole_vocabulary():
    """By default `generate` would sample from the 50 likeliest words only."""
    torch.manual_seed(0)
    words = [f"v{number}" for number in range(200)]
    tokenizer = train_tokenizer([" ".join(words)], "words")
    vae = TextVAE(tiny.model(vocab_size=204, initial_range=1e-9), tokenizer)
    drawn = vae.decode(np.zeros((300, 3)), seed=0, do_sample=True, maximum_length=1, batch_size=300)
    assert len(set(drawn)) > 100


def test_vectors_of_another_size_are_refused(vae):
    with pytest.raises(UserError, match=r"expected vectors of shape \(n, 3\), got \(2, 5\)"):
        vae.decode(np.zeros((2, 5)))


def test_the_ends_of_an_interpolation_are_reconstructions(vae):
    a, b = "d e f", "u"
    for path in ("linear", "spherical"):
        found = vae.interpolate(a, b, steps=5, path=path, maximum_length=12)
        assert len(found) == 5
        assert [found[0], found[-1]] == vae.reconstruct([a, b], maximum_length=12)
    assert found[0] != found[-1]
    assert vae.interpolate(b, a, steps=5, maximum_length=12)[0] == found[-1]


def test_interpolation_names_its_paths(vae):
    with pytest.raises(UserError, match="one of linear, spherical, got 'round'"):
        vae.interpolate("b", "c", path="round")
    with pytest.raises(UserError, match="expected 2 steps or more, got 1"):
        vae.interpolate("b", "c", steps=1)


def test_samples_follow_their_seed(vae):
    assert vae.sample(6, seed=3, maximum_length=9) == vae.sample(6, seed=3, maximum_length=9)
    assert vae.sample(6, seed=3, maximum_length=9) != vae.sample(6, seed=4, maximum_length=9)
    assert vae.sample(6, maximum_length=9) != vae.sample(6, maximum_length=9)
    with pytest.raises(UserError, match="expected 1 sentence or more, got 0"):
        vae.sample(0)


def test_samples_are_decoded_draws_of_the_prior(vae):
    z = torch.randn(6, 3, generator=generator_of(3))
    assert vae.sample(6, seed=3, maximum_length=9) == vae.decode(z, maximum_length=9)


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0}], ids=["greedy", "drawn"])
def test_threads_sample_alike(vae, options):
    """No thread uses the random numbers of another, or ends the evaluation mode of another."""
    alone, other = (vae.sample(4, seed=seed, **options) for seed in (1, 2))
    assert alone != other
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: vae.sample(4, seed=1, **options), range(8)))
    assert found == [alone] * 8


# ---- log-likelihood


def test_log_likelihood_is_that_of_evaluate_in_the_order_of_the_texts(vae, texts):
    tokens = vae.fields.prepare(Dataset.from_dict({"text": texts}))
    loader = evaluation_loader(tokens, vae.fields, 3)
    scores = vae.log_likelihood(texts, samples=400)
    assert scores.shape == (8,)
    # The samples differ, so the scores agree only roughly; the rows differ more, because their lengths do.
    assert -scores.mean() == pytest.approx(evaluate(vae.model, loader, samples=400).iw_nll, abs=0.1)
    alone = [vae.log_likelihood(text, samples=400)[0] for text in texts]
    np.testing.assert_allclose(scores, alone, atol=0.5)


def test_a_language_model_scores_exactly_and_draws_its_words(language_model, texts):
    np.testing.assert_allclose(
        language_model.log_likelihood(texts, batch_size=3),
        [language_model.log_likelihood(text, samples=1)[0] for text in texts],
    )
    assert len(set(language_model.sample(10, seed=0, maximum_length=9))) > 5
    assert language_model.sample(4, seed=0) == language_model.sample(4, seed=0)


@pytest.mark.parametrize("verb", ["encode", "reconstruct", "interpolate"])
def test_a_language_model_has_no_vectors(language_model, verb):
    arguments = ("b", "c") if verb == "interpolate" else (["b"],)
    with pytest.raises(UserError, match=r"latent_size 0.*model.latent_size=32"):
        getattr(language_model, verb)(*arguments)


def test_samples_below_one_are_refused(vae):
    with pytest.raises(UserError, match="1 sample or more, got 0"):
        vae.log_likelihood(["b"], samples=0)


# ---- the latent space


def test_the_steps_of_an_interpolation_are_decoded_vectors(vae):
    z = vae.path_between("d e f", "u", steps=5, path="spherical")
    assert z.shape == (5, 3)
    assert vae.decode(z, maximum_length=12) == vae.interpolate(
        "d e f", "u", steps=5, path="spherical", maximum_length=12
    )


def test_score_is_that_of_the_model_in_the_order_of_the_texts(vae, texts):
    z = np.random.default_rng(0).normal(size=(8, 3))
    found = vae.score(texts, z, batch_size=3)
    for text, vector, score in zip(texts, z, found, strict=True):
        batch = tiny.collate([{"ids": vae.tokenizer(text).input_ids}])
        expected = vae.model.score(torch.tensor(vector)[None, None], batch.inputs, batch.targets, batch.mask)
        assert score == pytest.approx(float(expected.detach()))
    with pytest.raises(UserError, match="a vector for each of 8 texts, got 7"):
        vae.score(texts, z[:7])


def test_an_analogy_is_decoded_from_its_vector(vae):
    a, b, c = vae.encode(["d e f", "u", "k k"])
    assert vae.analogy("d e f", "u", "k k", maximum_length=9) == vae.decode(a - b + c, maximum_length=9)[0]
    assert (
        vae.analogy("d e f", "d e f", "k k", maximum_length=9) == vae.reconstruct("k k", maximum_length=9)[0]
    )


def test_a_traversal_goes_through_the_prior(vae):
    z = np.tile(vae.encode("d e f"), (3, 1))
    z[:, 1] = -2, 0, 2
    found = vae.traverse("d e f", 1, steps=3, reach=2.0, maximum_length=9)
    assert found == vae.decode(z, maximum_length=9)
    assert len(set(found)) > 1
    with pytest.raises(UserError, match="expected a dimension from 0 to 2, got 3"):
        vae.traverse("d e f", 3)


def test_a_traversal_is_in_units_of_a_learnt_prior():
    vae = TextVAE(tiny.model(prior_components=1, initial_range=1.0), tiny.tokenizer())
    with torch.no_grad():
        vae.model.prior.means.fill_(5.0)
        vae.model.prior.log_variances.fill_(2 * np.log(0.5))
    z = np.tile(vae.encode("d e f"), (3, 1))
    z[:, 0] = 4, 5, 6
    assert vae.traverse("d e f", 0, steps=3, reach=2.0, maximum_length=9) == vae.decode(z, maximum_length=9)


def test_neighbours_of_texts_are_those_of_their_vectors(vae, texts):
    vectors = vae.encode(texts)
    rows, distances = vae.neighbours(texts, texts, 3)
    assert rows[:, 0].tolist() == list(range(8)), "each is its own nearest"
    np.testing.assert_allclose(distances[:, 0], 0, atol=1e-6)
    for queries, corpus in ((vectors, texts), (texts, torch.tensor(vectors))):
        assert np.array_equal(vae.neighbours(queries, corpus, 3)[0], rows)
    assert np.array_equal(vae.neighbours(texts[2], texts, 3)[0], rows[2:3])


def test_samples_come_from_the_prior_that_was_fitted(vae, texts, tmp_path):
    prior = vae.fit_prior(texts, components=2, seed=1)
    z = sample(prior(6, torch.zeros(0)), 1, generator_of(3))[0]
    found = vae.sample(6, prior=prior, seed=3, maximum_length=9)
    assert found == vae.decode(z, maximum_length=9)
    assert found != vae.sample(6, seed=3, maximum_length=9)
    vae.save_pretrained(tmp_path)
    save_prior(prior, tmp_path, "mine")
    loaded = TextVAE.from_pretrained(tmp_path)
    assert loaded.sample(6, prior="mine", seed=3, maximum_length=9) == found
    with pytest.raises(UserError, match="found no 'yours': it has mine"):
        loaded.sample(prior="yours")
    with pytest.raises(UserError, match="one of mixture, flow, got 'kernel'"):
        vae.fit_prior(texts, "kernel")


@pytest.mark.parametrize(("verb", "arguments"), [("fit_prior", (["b"],)), ("fill", ("b ___",))])
def test_classes_are_refused_where_z_alone_is_meant(verb, arguments):
    vae = TextVAE(tiny.model(classes=["good", "bad"]), tiny.tokenizer())
    with pytest.raises(UserError, match="expected a model without classes"):
        getattr(vae, verb)(*arguments)


def test_blanks_are_filled_with_words(vae):
    found = vae.fill("a ___ c ___", n=4, particles=800, seed=2)
    assert len(found) == 4
    assert found.probabilities == sorted(found.probabilities, reverse=True)
    for text, _ in found:
        first, word, third, last = text.split()
        assert (first, third) == ("a", "c")
        assert {word, last} <= set(ascii_lowercase)
    assert 100 < found.effective_sample_size < found.particles == 800
    assert not found.warning
    assert found == vae.fill("a ___ c ___", n=4, particles=800, seed=2)
    assert sum(vae.fill("a ___ c ___", n=1000, particles=800).probabilities) == pytest.approx(1)
    assert list(vae.fill("a b c", particles=800)) == [("a b c", pytest.approx(1))]


def test_a_small_effective_sample_size_is_warned_of(vae):
    with pytest.warns(
        UserWarning, match="effective sample size of 100 or more, got .* from 50 particles"
    ) as caught:
        found = vae.fill("a ___ c", particles=50)
    assert found.effective_sample_size <= 50
    assert [str(warning.message) for warning in caught] == [found.warning]
    assert caught[0].filename == __file__


# ---- no side effects


def test_neither_mode_nor_random_state_change(texts):
    vae = TextVAE(tiny.model(dropout=0.5).train(), tiny.tokenizer())
    state = torch.get_rng_state()
    assert np.array_equal(vae.encode(texts), vae.encode(texts)), "no dropout"
    vae.log_likelihood(texts, samples=2)
    vae.reconstruct(texts, maximum_length=5)
    vae.interpolate("b", "c", maximum_length=5)
    vae.score(texts, np.zeros((8, 3)))
    vae.fit_prior(texts, components=2)
    with pytest.warns(UserWarning, match="effective sample size"):
        vae.fill("b ___", particles=5)
    vae.sample(3, seed=0, temperature=1.0, maximum_length=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert vae.model.training


# ---- loading


def test_a_saved_model_is_the_same(vae, saved, texts, capfd):
    loaded = TextVAE.from_pretrained(saved, device="cpu")
    assert np.array_equal(loaded.encode(texts), vae.encode(texts))
    assert not loaded.model.training
    assert capfd.readouterr() == ("", ""), "no bars, no reports"


def test_a_missing_run_is_named_with_the_nearest(saved):
    with pytest.raises(UserError, match=f"did you mean {saved}"):
        TextVAE.from_pretrained(f"{saved}x")
    with pytest.raises(UserError, match=r"found no \./nowhere: train it first, or check the spelling"):
        TextVAE.from_pretrained("./nowhere")
    with pytest.raises(UserError, match="found no nobody/nothing"):
        TextVAE.from_pretrained("nobody/nothing")


def test_a_file_is_no_run(run):
    with pytest.raises(UserError, match="expected a run folder, got the file"):
        TextVAE.from_pretrained(run / "config.json")


def test_an_empty_folder_is_no_run(tmp_path):
    with pytest.raises(UserError, match=r"found no config\.json"):
        TextVAE.from_pretrained(tmp_path)


def test_an_unfinished_run_offers_its_last_checkpoint(run, tmp_path):
    unfinished = tmp_path / "unfinished"
    (unfinished / "checkpoint-9").mkdir(parents=True)
    (unfinished / "recipe.yaml").touch()
    with pytest.raises(UserError, match="without a checkpoint yet"):
        TextVAE.from_pretrained(unfinished)
    whole = shutil.copytree(run, unfinished / "checkpoint-8")
    (whole / "trainer_state.json").write_text("{}")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({}, whole / name)
    with pytest.raises(UserError, match=r"--resume, or use its last checkpoint, .*checkpoint-8$"):
        TextVAE.from_pretrained(unfinished)
    assert TextVAE.from_pretrained(whole).encode("b").shape == (3,)


def change_config(run, **values):
    file = run / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_another_kind_of_model_is_refused(run):
    change_config(run, model_type="gpt2")
    with pytest.raises(UserError, match=r"expected a textvae model .* got one of kind 'gpt2'"):
        TextVAE.from_pretrained(run)


def test_a_damaged_config_is_named(run):
    (run / "config.json").write_text('{"model_type": "text')
    with pytest.raises(UserError, match=r"expected JSON in .*config\.json"):
        TextVAE.from_pretrained(run)


def test_cut_short_weights_are_named(run):
    weights = run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"model\.safetensors, got a damaged or cut-short file"):
        TextVAE.from_pretrained(run)


def test_missing_weights_are_named(run):
    (run / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"found no readable model\.safetensors"):
        TextVAE.from_pretrained(run)


@pytest.mark.parametrize("extra", [False, True])
def test_weights_are_neither_made_up_nor_left_out(run, extra):
    weights = load_file(run / "model.safetensors")
    if extra:
        weights["posterior.flow"] = torch.ones(1)
    else:
        del weights["posterior.mean.weight"]
    save_file(weights, run / "model.safetensors", metadata={"format": "pt"})
    name = "posterior.flow" if extra else "posterior.mean.weight"
    with pytest.raises(UserError, match=f"that fit its config.json, got a difference in {name}"):
        TextVAE.from_pretrained(run)


def test_weights_of_other_sizes_are_named(run, capfd):
    change_config(run, latent_size=4)
    with pytest.raises(UserError, match=r"that fit its config\.json, got other sizes"):
        TextVAE.from_pretrained(run)
    assert capfd.readouterr() == ("", "")


def test_the_tokenizer_must_be_the_models(run):
    train_tokenizer(["a b c"], "words").save_pretrained(run)
    with pytest.raises(UserError, match="vocab_size 30, got those of another, vocab_size 7"):
        TextVAE.from_pretrained(run)


def test_a_missing_tokenizer_is_named(run):
    (run / "tokenizer.json").unlink()
    (run / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match="expected a tokenizer in"):
        TextVAE.from_pretrained(run)


# ---- classes


@pytest.fixture(scope="module")
def with_classes():
    torch.manual_seed(1)
    return TextVAE(tiny.model(initial_range=1.0, classes=["a", "b", "c"]), tiny.tokenizer())


def test_vectors_hold_z_and_the_probabilities_of_the_classes(with_classes, texts):
    vectors = with_classes.encode(texts)
    assert vectors.shape == (len(texts), 3 + 3)
    assert with_classes.classify(texts) == pytest.approx(vectors[:, 3:])
    assert vectors[:, 3:].sum(1) == pytest.approx(np.ones(len(texts)))
    assert len(with_classes.reconstruct(texts)) == len(texts)


def test_a_sample_of_a_class_is_decoded_from_it(with_classes):
    z = np.zeros((1, 6), dtype=np.float32)
    for place, label in enumerate("abc"):
        (sampled,) = with_classes.sample(1, label=label, seed=4)
        drawn = sample(with_classes.model.prior(1, torch.empty(0)), 1, generator_of(4))[0]
        z[:, :3], z[:, 3:] = drawn[:, :3], np.eye(3)[place]
        assert with_classes.decode(z) == [sampled]
