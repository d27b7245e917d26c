"""What is printed about a measurement, and the parts of it that need the text."""

import math
from dataclasses import replace

import pytest
import tiny
from datasets import Dataset

from textvae.evaluation.evaluate import Evaluation, evaluate_rows, evaluating, exact_entropy
from textvae.evaluation.report import report
from textvae.text.tokenizer import train_tokenizer

FOUND = Evaluation(
    neg_elbo=102.5,
    iw_nll=100.0,
    iw_samples=500,
    ppl=95.83,
    kl=6.5,
    mutual_information=5.25,
    mutual_information_sentences=3761,
    active_units=32,
    latent_size=32,
    tokens=82430,
    sentences=3761,
    kl_per_dimension=[0.1] + [0.2] * 30 + [0.4],
    reconstruction=96.0,
    reconstruction_prior_z=108.0,
    reconstruction_shuffled_z=107.0,
    reconstruction_bleu=12.5,
    token_accuracy=0.41,
    reconstructed_sentences=1000,
    bleu_signature="nrefs:1|tok:13a",
)


def line(text, name):
    return next(line for line in text.splitlines() if line.split()[0] == name)


def test_every_quantity_says_how_it_was_counted():
    text = report(FOUND)
    assert "102.50" in line(text, "neg_elbo")
    assert "KL weight 1" in line(text, "neg_elbo")
    assert "100.00" in line(text, "iw_nll")
    assert "K = 500" in line(text, "iw_nll")
    assert "95.83" in line(text, "ppl")
    assert "N = 3,761" in line(text, "mutual_information")
    assert f"log N = {math.log(3761):.2f}" in line(text, "mutual_information")
    assert "32  of 32" in line(text, "active_units")
    assert "82,430" in line(text, "tokens")
    assert "end of sentence counted" in line(text, "tokens")


def test_the_gap_is_that_to_the_entropy():
    assert "+25.0 %" in line(report(replace(FOUND, entropy=80.0)), "gap")
    assert "gap" not in report(FOUND)


def test_perplexity_of_pieces_is_not_offered_for_comparison():
    text = report(replace(FOUND, characters=400, bits_per_character=1.25))
    assert "1.250" in line(text, "bits_per_character")
    assert "not comparable with word" in line(text, "ppl")
    assert "sub-word" not in report(FOUND)


def test_a_language_model_has_no_latent_to_report():
    text = report(replace(FOUND, latent_size=0, kl=0.0, mutual_information=0.0, active_units=0, iw_samples=1))
    assert "exact" in line(text, "nll")
    assert not {"kl", "neg_elbo", "iw_nll", "active_units"} & {row.split()[0] for row in text.splitlines()}
    assert "collapsed" not in text


def test_translations_are_reported_with_their_signature():
    assert "\nbleu " not in report(FOUND)
    found = replace(FOUND, bleu=38.04, bleu_zero_z=37.0, bleu_shuffled_z=20.06)
    text = report(found)
    assert line(text, "bleu").split(maxsplit=2)[1:] == ["38.0", "z the mean of its prior; nrefs:1|tok:13a"]
    assert "37.0" in next(row for row in text.splitlines() if row.startswith("… z = 0"))
    assert [row.split()[3] for row in text.splitlines() if row.startswith("… shuffled z")] == [
        "107.00",
        "20.1",
    ]
    plain = report(replace(found, latent_size=0, bleu_zero_z=None, bleu_shuffled_z=None))
    assert line(plain, "bleu").split(maxsplit=2)[1:] == ["38.0", "nrefs:1|tok:13a"]
    assert "z = 0" not in plain


def test_information_that_is_not_known_is_not_reported():
    text = report(replace(FOUND, mutual_information=None, mutual_information_sentences=0))
    assert "information" not in text
    assert line(text, "kl")


def test_the_verdict_ends_the_report():
    assert report(FOUND).splitlines()[-1].startswith("healthy: ")
    last = report(replace(FOUND, kl=0.2)).splitlines()[-1]
    assert last.startswith("collapsed: ")
    assert "objective.target_rate" in last


def test_what_z_does_is_counted():
    text = report(FOUND)
    assert "0.10 to 0.40" in line(text, "kl")
    assert "96.00" in line(text, "reconstruction")
    shuffled = next(row for row in text.splitlines() if "another sentence" in row)
    assert "107.00" in shuffled
    assert "12.5" in line(text, "reconstruction_bleu")
    assert "1,000 sentences; nrefs:1|tok:13a" in line(text, "reconstruction_bleu")
    assert "41.0 %" in line(text, "token_accuracy")
    assert "bleu" not in report(replace(FOUND, reconstruction_bleu=None))


TEXTS = ["the cat sleeps", "a dog", "größe"]


def test_bits_per_character_of_pieces():
    tokenizer = train_tokenizer(TEXTS, vocabulary_size=275)
    model = tiny.model(vocab_size=275)
    rows = Dataset.from_dict({"text": TEXTS})
    found = evaluate_rows(model, tokenizer, rows, samples=3)
    assert found.characters == (14 + 1) + (5 + 1) + (5 + 1)
    assert found.bits_per_character == pytest.approx(found.iw_nll * 3 / math.log(2) / 27)
    cut = evaluate_rows(model, tokenizer, rows, samples=3, maximum_length=4)
    assert cut.bits_per_character is None, "the characters that were cut off have no bits"
    assert "bits_per_character" not in cut.to_dict()


def test_words_have_no_bits_per_character():
    rows = Dataset.from_dict({"text": ["b c", "d"]})
    found = evaluate_rows(tiny.model(), tiny.tokenizer(), rows, samples=3)
    assert (found.tokens, found.characters, found.bits_per_character) == (5, None, None)


def test_entropy_is_the_mean_of_the_rows_that_say_it():
    rows = Dataset.from_dict({"text": ["b", "c"], "log_prob": [-3.0, -5.0]})
    assert exact_entropy(rows) == 4
    assert exact_entropy(rows.remove_columns("log_prob")) is None
    assert evaluate_rows(tiny.model(), tiny.tokenizer(), rows, samples=2).entropy == 4


def test_the_mode_comes_back_after_an_error():
    model = tiny.model().train()
    modes = []

    def fails():
        with evaluating(model, 0):
            modes.append(model.training)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert [*modes, model.training] == [False, True]
