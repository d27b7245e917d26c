"""`Translator`: the order of results, blank texts, samples, scores, and error messages."""

import itertools

import numpy as np
import pytest
import tiny
import torch
from translators import SOURCES, TARGETS, make

import textvae
from textvae.inference.bounds import bounds
from textvae.inference.mode import evaluating
from textvae.interfaces.text_vae import TextVAE
from textvae.interfaces.translator import Translator
from textvae.models.seq2seq import Seq2SeqVAEConfig, Seq2SeqVAEModel
from textvae.support.errors import UserError
from textvae.text.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def translator():
    return make()


@pytest.fixture(scope="module")
def plain():
    """A translator without z, whose likelihoods are exact."""
    return make(latent_size=0)


@pytest.mark.parametrize("latent_type", ["sentence", "attention", "step"])
def test_row_i_belongs_to_text_i_whatever_stands_beside_it(latent_type):
    translator = make(latent_type=latent_type)
    options = {"maximum_length": 8, "num_beams": 3}
    found = translator.translate(SOURCES, batch_size=2, **options)
    assert found == [translator.translate(source, **options)[0] for source in SOURCES]
    assert found == translator.translate(SOURCES[::-1], **options)[::-1]
    assert len(set(found)) > 1


def test_a_blank_text_stays_blank(translator):
    found = translator.translate(["", "A B C", "  "], maximum_length=8)
    assert found == ["", *translator.translate("A B C", maximum_length=8), ""]
    assert translator.translate(["", "A"], samples=2, seed=0)[0] == ["", ""]
    assert translator.translate([]) == []


def test_text_comes_back_as_it_was_written():
    """Decoding keeps the spaces and all Unicode characters of a text."""
    text = "  Ein schöner Tag, <s> 🌞 ▁ …"
    pieces = train_tokenizer(["Ein schöner Tag, nicht?", "Kein schöner Tag."], vocabulary_size=None)
    config = Seq2SeqVAEConfig(
        vocab_size=len(pieces), source_vocab_size=len(pieces), embedding_size=4, hidden_size=4, latent_size=2
    )
    translator = Translator(Seq2SeqVAEModel(config), pieces, pieces)
    written = torch.tensor([[1, *pieces(text)["input_ids"], 2, 0]])
    translator.model.translate = lambda *_, **__: written
    assert translator.translate("Kein Tag?") == [text]


# ---- several translations


def test_samples_have_a_z_each(translator):
    found = translator.translate(SOURCES, samples=4, seed=0, num_beams=1, maximum_length=6)
    assert [len(own) for own in found] == [4] * 5
    assert max(len(set(own)) for own in found) > 1
    assert found == translator.translate(SOURCES, samples=4, seed=0, num_beams=1, maximum_length=6)
    assert found != translator.translate(SOURCES, samples=4, seed=1, num_beams=1, maximum_length=6)


def test_a_seed_leaves_the_global_state_alone(translator):
    state = torch.random.get_rng_state()
    translator.translate(SOURCES, samples=2, seed=3, temperature=1.0, maximum_length=6)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not translator.model.training


def test_the_best_of_a_beam_begin_with_the_best(translator):
    found = translator.translate(SOURCES, samples=3, latent="mean", num_beams=3, maximum_length=6)
    assert all(len(set(own)) == 3 for own in found)
    assert [own[0] for own in found] == translator.translate(SOURCES, num_beams=3, maximum_length=6)


def test_words_are_drawn_with_a_temperature(plain):
    cold, hot = (
        plain.translate(SOURCES, samples=6, temperature=t, seed=0, maximum_length=6) for t in (1e-3, 3.0)
    )
    greedy = plain.translate(SOURCES, num_beams=1, maximum_length=6)
    assert cold == [[text] * 6 for text in greedy]
    assert all(len(set(own)) > 1 for own in hot)


def test_a_model_without_z_takes_its_samples_from_the_beam(plain):
    found = plain.translate(SOURCES, samples=3, num_beams=4, maximum_length=6)
    assert [own[0] for own in found] == plain.translate(SOURCES, num_beams=4, maximum_length=6)
    with pytest.raises(UserError, match="expected num_beams of 5 or more for 5 translations of one z, got 4"):
        plain.translate(SOURCES, samples=5, num_beams=4)


def test_z_says_something(translator):
    """Translations differ if z is 0 or another sentence's mean; otherwise BLEU with such z would be meaningless."""
    found = [
        translator.translate(SOURCES, latent=latent, num_beams=1) for latent in ("mean", "zero", "shuffled")
    ]
    assert all(one != other for one, other in itertools.combinations(found, 2))


# ---- likelihood


def test_log_likelihood_is_that_of_the_batch(plain):
    pairs = [
        {"source_ids": plain.source_tokenizer(source).input_ids, "ids": plain.tokenizer(target).input_ids}
        for source, target in zip(SOURCES, TARGETS, strict=True)
    ]
    with evaluating(plain.model):
        expected = -bounds(plain.model, tiny.collate_pairs(pairs)).iw_nll.numpy()
    np.testing.assert_allclose(plain.log_likelihood(SOURCES, TARGETS), expected)
    np.testing.assert_allclose(
        plain.log_likelihood(SOURCES[::-1], TARGETS[::-1], batch_size=2)[::-1], expected
    )


def test_the_bound_rises_with_the_samples(translator):
    one, many = (
        np.mean([translator.log_likelihood(SOURCES, TARGETS, k, seed=seed) for seed in range(20)])
        for k in (1, 50)
    )
    assert many > one


def test_rescoring_orders_by_the_bound_for_the_length(plain):
    """The bound is exact without z. The texts differ in length, so the length penalty changes the order."""
    drawn = {"samples": 6, "temperature": 2.0, "maximum_length": 30, "seed": 0}
    found = plain.translate(SOURCES, **drawn)
    orders = []
    for length_penalty in (0.0, 3.0):
        rescored = plain.translate(SOURCES, rescore=1, length_penalty=length_penalty, **drawn)
        for source, before, after in zip(SOURCES, found, rescored, strict=True):
            assert sorted(before) == sorted(after)
            lengths = np.array([len(plain.tokens(source, text)[1]) for text in after])
            scores = plain.log_likelihood([source] * 6, after) / lengths**length_penalty
            assert (np.diff(scores) <= 1e-9).all()
        orders.append(rescored)
    assert len({str(order) for order in (found, *orders)}) == 3


def test_rescoring_takes_the_best_of_the_beam(plain):
    options = {"num_beams": 6, "rescore": 1, "maximum_length": 8}
    several = plain.translate(SOURCES, samples=6, **options)
    assert plain.translate(SOURCES, **options) == [own[0] for own in several]


# ---- attention


def test_attention_has_a_row_for_each_token(translator):
    weights = translator.attention("A B C", "a b c d")
    source, target = translator.tokens("A B C", "a b c d")
    assert source == ["A", "B", "C", "</s>"]
    assert target == ["a", "b", "c", "d", "</s>"]
    assert weights.shape == (5, 4)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    assert weights.std(0).max() > 1e-3


# ---- folders and errors


def test_a_folder_keeps_both_tokenizers(translator, tmp_path):
    translator.save_pretrained(tmp_path)
    loaded = textvae.Translator.from_pretrained(tmp_path)
    expected = translator.log_likelihood(SOURCES, TARGETS)
    np.testing.assert_allclose(loaded.log_likelihood(SOURCES, TARGETS), expected, rtol=1e-3)
    assert loaded.source_tokenizer.get_vocab() == translator.source_tokenizer.get_vocab()
    assert loaded.tokenizer.get_vocab() == translator.tokenizer.get_vocab()


def test_runs_of_the_other_kind_are_named(translator, tmp_path):
    translator.save_pretrained(tmp_path / "pairs")
    TextVAE(tiny.model(), tiny.tokenizer()).save_pretrained(tmp_path / "sentences")
    with pytest.raises(
        UserError, match=r"expected a TextVAEModel in .*pairs, got a Seq2SeqVAEModel: use Translator"
    ):
        TextVAE.from_pretrained(tmp_path / "pairs")
    with pytest.raises(
        UserError, match=r"expected a Seq2SeqVAEModel in .*sentences, got a TextVAEModel: use TextVAE"
    ):
        Translator.from_pretrained(tmp_path / "sentences")


def test_mistakes_are_named(translator):
    with pytest.raises(
        UserError, match=r"has 30 tokens \(source_vocab_size\), got one with 5: take both from the same run"
    ):
        Translator(translator.model, translator.tokenizer, train_tokenizer(["x"], "words"))
    with pytest.raises(UserError, match="expected strings, got 3"):
        translator.translate(["A", 3])
    with pytest.raises(UserError, match="expected 1 sample and 1 beam or more, got -1 and 5"):
        translator.translate("A", samples=-1)
    with pytest.raises(UserError, match="a target for each of 5 sources, got 1"):
        translator.log_likelihood(SOURCES, "a")
    with pytest.raises(UserError, match="expected 1 sample or more, got 0"):
        translator.log_likelihood("A", "a", 0)
