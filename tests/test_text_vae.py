"""The class for people with strings: order, agreement with what it is made of, and its error messages."""

import json
import random
import shutil
from string import ascii_lowercase

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file

from textvae.errors import UserError
from textvae.evaluation.evaluate import evaluate
from textvae.text.batches import Collator, evaluation_loader, tokenize
from textvae.text.tokenizer import train_tokenizer
from textvae.text_vae import TextVAE

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
    """A copy that a test may damage."""
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


def test_a_bar_only_where_asked_for(vae, capsys):
    vae.encode(["b"])
    assert capsys.readouterr().err == ""
    vae.encode(["b"], show_progress_bar=True)
    assert "encoding" in capsys.readouterr().err


# ---- decode and what is made of it


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
    beams = vae.decode(z, num_beams=3, num_return_sequences=2, maximum_length=6)
    assert len(beams) == 4
    expected = vae.model.generate(
        torch.tensor(z).double(), num_beams=3, num_return_sequences=2, max_new_tokens=6
    )
    assert beams[3].split() == [
        ascii_lowercase[i - 4] if i > 3 else "<unk>" for i in expected[3].tolist() if i > 2
    ]


def test_a_temperature_means_that_words_are_drawn(vae):
    z = np.zeros((20, 3))
    assert len(set(vae.decode(z, seed=0, maximum_length=8))) == 1
    assert len(set(vae.decode(z, seed=0, maximum_length=8, temperature=1.0))) > 10
    assert len(set(vae.decode(z, seed=0, maximum_length=8, temperature=1.0, top_k=1))) == 1


def test_words_are_drawn_from_the_whole_vocabulary():
    """`generate` would draw from the 50 likeliest only."""
    torch.manual_seed(0)
    words = [f"v{number}" for number in range(200)]
    tokenizer = train_tokenizer([" ".join(words)], "words")
    vae = TextVAE(tiny.model(vocab_size=204, initial_range=0.0), tokenizer)
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
    with pytest.raises(UserError, match="1 or more, got 0"):
        vae.sample(0)


def test_samples_are_decoded_draws_of_the_prior(vae):
    torch.manual_seed(3)
    z = torch.randn(6, 3)
    assert vae.sample(6, seed=3, maximum_length=9) == vae.decode(z, maximum_length=9)


# ---- log-likelihood


def test_log_likelihood_is_that_of_evaluate_in_the_order_of_the_texts(vae, texts):
    tokens = tokenize(Dataset.from_dict({"text": texts}), vae.tokenizer)
    loader = evaluation_loader(tokens, Collator.for_tokenizer(vae.tokenizer), 3)
    scores = vae.log_likelihood(texts, samples=20, seed=5, batch_size=3)
    assert scores.shape == (8,)
    assert -scores.mean() == pytest.approx(evaluate(vae.model, loader, samples=20, seed=5).iw_nll, rel=1e-9)
    # The draws are others, so it is only about the same; the lengths tell the rows apart.
    alone = [vae.log_likelihood(text, samples=400)[0] for text in texts]
    np.testing.assert_allclose(vae.log_likelihood(texts, samples=400), alone, atol=0.5)


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


# ---- leaving no trace


def test_neither_mode_nor_random_state_change(texts):
    vae = TextVAE(tiny.model(dropout=0.5).train(), tiny.tokenizer())
    state = torch.get_rng_state()
    assert np.array_equal(vae.encode(texts), vae.encode(texts)), "no dropout"
    vae.log_likelihood(texts, samples=2)
    vae.reconstruct(texts, maximum_length=5)
    vae.interpolate("b", "c", maximum_length=5)
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
    with pytest.raises(UserError, match=r"found no \./nowhere: check the spelling"):
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
    with pytest.raises(UserError, match="of 30 tokens, got one of 7"):
        TextVAE.from_pretrained(run)


def test_a_missing_tokenizer_is_named(run):
    (run / "tokenizer.json").unlink()
    (run / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match="expected a tokenizer in"):
        TextVAE.from_pretrained(run)
