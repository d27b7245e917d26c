import pytest
import tiny
import torch

from textvae.evaluation.bleu import distinct_n, self_bleu
from textvae.evaluation.sample_quality import perplexity
from textvae.support.errors import UserError


def test_self_bleu_by_hand():
    # 5 of 6 words, 4 of 5 bigrams, 3 of 4 trigrams and 2 of 3 four-grams are in the other sample of the same length.
    expected = 100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25
    assert self_bleu(["a b c d e f", "a b c d e g"]) == pytest.approx(expected)


def test_all_the_others_are_references():
    assert self_bleu(["a dog runs home"] * 3) == pytest.approx(100)
    # The words of each sample are in the other two, but its four-grams are not.
    assert self_bleu(["a b c d", "a b x y", "x y c d"]) > self_bleu(["a b c d", "a b x y", "p q r s"])


def test_punctuation_is_a_word_and_short_samples_have_no_four_grams():
    assert self_bleu(["yes.", "yes."]) == pytest.approx(100)
    assert distinct_n(["yes.", "no."], n=1) == pytest.approx(3 / 4)


def test_n_grams_do_not_cross_sentences():
    assert distinct_n(["a b", "c d", "b c"], n=2) == 1
    assert distinct_n(["a b c"] * 4, n=2) == pytest.approx(2 / 8)


def test_perplexity_is_that_of_the_tokens():
    model = tiny.model(latent_size=0)
    texts = ["a b c", "z", "d d d d d"]
    total = 0.0
    for text in texts:
        batch = tiny.collate([{"ids": [ord(letter) - ord("a") + 4 for letter in text.split()]}])
        empty = torch.zeros(1, 1, 0, dtype=torch.float64)
        total += float(model.score(empty, batch.inputs, batch.targets, batch.mask).detach())
    expected = torch.tensor(-total / (4 + 2 + 6)).exp()
    assert perplexity(model, tiny.fields(), texts, batch_size=2) == pytest.approx(float(expected))


def test_mistakes_are_named():
    with pytest.raises(UserError, match="expected 2 samples or more, got 1"):
        self_bleu(["a"])
    with pytest.raises(UserError, match="expected samples of 3 words or more, got none"):
        distinct_n(["a b", ""], n=3)
    with pytest.raises(UserError, match="expected a language model without a latent, got latent_size 3"):
        perplexity(tiny.model(), tiny.fields(), ["a"])
    with pytest.raises(UserError, match="expected texts to measure, got none"):
        perplexity(tiny.model(latent_size=0), tiny.fields(), [])
