"""The printed report, and the quantities that need the text."""

import math

import pytest
import tiny
from datasets import Dataset
from quantities import evaluation

from textvae.evaluation.evaluate import evaluate_rows
from textvae.evaluation.meters.entropy import exact_entropy
from textvae.evaluation.report import report
from textvae.inference.mode import evaluating
from textvae.text.fields import Fields, TextField
from textvae.text.tokenizer import train_tokenizer

ROWS = Dataset.from_dict({"text": ["a b c d e", "f", "g h i", "a a b k z y x"]})

FOUND = evaluation(
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


@pytest.fixture(scope="module")
def measured():
    """A sentence VAE on four sentences."""
    return evaluate_rows(tiny.model(), tiny.fields(), ROWS, samples=7)


def line(text, name):
    return next(line for line in text.splitlines() if line.split()[0] == name)


def names(text):
    return {row.split()[0] for row in text.splitlines() if row}


def test_every_quantity_says_how_it_was_counted(measured):
    text = report(measured)
    assert f"{measured.neg_elbo:.2f}  nats per sentence; KL weight 1" in line(text, "neg_elbo")
    assert f"{measured.iw_nll:.2f}  nats per sentence; importance-weighted" in line(text, "iw_nll")
    assert "K = 7" in line(text, "iw_nll")
    assert f"{measured.ppl:.2f}" in line(text, "ppl")
    assert "N = 4" in line(text, "mutual_information")
    assert f"log N = {math.log(4):.2f}" in line(text, "mutual_information")
    assert f"{measured.active_units}  of 3" in line(text, "active_units")
    assert "20" in line(text, "tokens")
    assert "with end of sentence and unknown words" in line(text, "tokens")


def test_numbers_have_their_digits():
    text = report(FOUND)
    assert "102.50" in line(text, "neg_elbo")
    assert "100.00" in line(text, "iw_nll")
    assert "95.83" in line(text, "ppl")
    assert "82,430" in line(text, "tokens")
    assert not {"iw_samples", "latent_size", "kl_per_dimension", "bleu_signature"} & names(text)


def test_the_gap_is_that_to_the_entropy(measured):
    assert "25.0 %" in line(report(evaluation(FOUND, entropy=80.0, gap=0.25)), "gap")
    known = evaluate_rows(tiny.model(), tiny.fields(), ROWS.add_column("log_prob", [-8.0] * 4), samples=7)
    assert known.gap == pytest.approx(known.iw_nll / 8 - 1)
    assert "above the entropy, the best possible value" in line(report(known), "gap")
    assert "8.00" in line(report(known), "entropy")
    assert "gap" not in report(measured)


def test_perplexity_of_pieces_is_not_offered_for_comparison(measured):
    text = report(
        evaluate_rows(tiny.model(vocab_size=275), pieces(), Dataset.from_dict({"text": TEXTS}), samples=3)
    )
    assert "iw_nll / 27 characters, ends counted" in line(text, "bits_per_character")
    assert "not comparable with word" in line(text, "ppl")
    assert "1.250" in line(report(evaluation(FOUND, bits_per_character=1.25)), "bits_per_character")
    assert "sub-word" not in report(measured)


def test_a_language_model_has_no_latent_to_report():
    found = evaluate_rows(tiny.model(latent_size=0), tiny.fields(), ROWS, samples=7)
    text = report(found)
    assert "exact" in line(text, "iw_nll")
    assert found.neg_elbo == pytest.approx(found.iw_nll)
    assert names(text) == {"neg_elbo", "iw_nll", "ppl", "tokens", "sentences"}
    assert "collapsed" not in text


def test_translations_are_reported_with_their_signature():
    assert "\nbleu " not in report(FOUND)
    ways = {"bleu": "z = its prior mean; nrefs:1|tok:13a"}
    found = evaluation(FOUND, ways=ways, bleu=38.04, bleu_zero_z=37.0, bleu_shuffled_z=20.06)
    text = report(found)
    assert line(text, "bleu").split(maxsplit=2)[1:] == ["38.0", "z = its prior mean; nrefs:1|tok:13a"]
    assert "37.0" in next(row for row in text.splitlines() if row.startswith("… z = 0"))
    assert [row.split()[3] for row in text.splitlines() if row.startswith("… shuffled z")] == [
        "107.00",
        "20.1",
    ]
    plain = report(evaluation(found, bleu_zero_z=None, bleu_shuffled_z=None))
    assert line(plain, "bleu").split() == ["bleu", "38.0"]
    assert "z = 0" not in plain


def test_information_that_is_not_known_is_not_reported():
    text = report(evaluation(FOUND, mutual_information=None, mutual_information_sentences=None))
    assert "information" not in text
    assert line(text, "kl")


def test_the_verdict_ends_the_report():
    assert report(FOUND).splitlines()[-1].startswith("healthy: ")
    last = report(evaluation(FOUND, kl=0.2)).splitlines()[-1]
    assert last.startswith("collapsed: ")
    assert "objective.target_rate" in last


def test_what_z_does_is_counted(measured):
    text = report(measured)
    each = measured.kl_per_dimension
    assert f"{min(each):.2f} to {max(each):.2f}" in line(text, "kl")
    assert f"{measured.reconstruction:.2f}" in line(text, "reconstruction")
    shuffled = next(row for row in text.splitlines() if "another sentence's z" in row)
    assert f"{measured.reconstruction_shuffled_z:.2f}" in shuffled
    assert f"4 sentences; {measured.bleu_signature}" in line(text, "reconstruction_bleu")
    assert f"{100 * measured.token_accuracy:.1f} %" in line(text, "token_accuracy")
    assert "12.5" in line(report(FOUND), "reconstruction_bleu")
    assert "41.0 %" in line(report(FOUND), "token_accuracy")
    assert "bleu" not in report(evaluation(FOUND, reconstruction_bleu=None))


TEXTS = ["the cat sleeps", "a dog", "größe"]


def pieces(maximum_length=None):
    """The fields of a model of pieces."""
    return Fields([TextField(train_tokenizer(TEXTS, vocabulary_size=275), maximum_length)])


def test_bits_per_character_of_pieces():
    model = tiny.model(vocab_size=275)
    rows = Dataset.from_dict({"text": TEXTS})
    found = evaluate_rows(model, pieces(), rows, samples=3)
    assert found.characters == (14 + 1) + (5 + 1) + (5 + 1)
    assert found.bits_per_character == pytest.approx(found.iw_nll * 3 / math.log(2) / 27)
    cut = evaluate_rows(model, pieces(4), rows, samples=3)
    assert "bits_per_character" not in cut.to_dict(), "the characters that were cut off have no bits"


def test_words_have_no_bits_per_character():
    rows = Dataset.from_dict({"text": ["b c", "d"]})
    found = evaluate_rows(tiny.model(), tiny.fields(), rows, samples=3)
    assert found.tokens == 5
    assert {"characters", "bits_per_character"}.isdisjoint(found)


def test_entropy_is_the_mean_of_the_rows_that_say_it():
    rows = Dataset.from_dict({"text": ["b", "c"], "log_prob": [-3.0, -5.0]})
    assert exact_entropy(rows) == 4
    assert exact_entropy(rows.remove_columns("log_prob")) is None
    assert evaluate_rows(tiny.model(), tiny.fields(), rows, samples=2).entropy == 4


def test_the_mode_comes_back_after_an_error():
    model = tiny.model().train()
    modes = []

    def fails():
        with evaluating(model):
            modes.append(model.training)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert [*modes, model.training] == [False, True]
