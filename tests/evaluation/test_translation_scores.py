import math
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from sacrebleu import corpus_bleu

from textvae.evaluation.bleu import bleu
from textvae.evaluation.meters.translation import LONGEST, Translation
from textvae.evaluation.quantities import Setting
from textvae.evaluation.translation import diversity, oracle_bleu
from textvae.support.errors import UserError
from textvae.text.fields import Fields, SourceField, TargetField
from textvae.text.tokenizer import train_tokenizer

REFERENCES = ["the dog sleeps in the sun", "a cat sits on the old mat"]
OTHERS = ["the dog sleeps in the shade", "two boats on the sea"]


def test_bleu_by_hand():
    """With 6 words each, 5 of 6, 4 of 5, 3 of 4 and 2 of 3 n-grams are correct, and there is no brevity penalty."""
    expected = 100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** (1 / 4)
    assert bleu(OTHERS[:1], REFERENCES[:1]).score == pytest.approx(expected)


def test_short_translations_are_punished():
    """The translation has 5 of the 6 words, and all its n-grams are correct."""
    assert bleu(["the dog sleeps in the"], REFERENCES[:1]).score == pytest.approx(100 * math.exp(1 - 6 / 5))


def test_bleu_is_that_of_the_library_and_says_how_it_counted():
    found = bleu(OTHERS, REFERENCES)
    assert found.score == corpus_bleu(OTHERS, [REFERENCES]).score
    assert "|tok:13a|" in found.signature
    assert "|version:" in found.signature
    assert str(found) == f"BLEU {found.score:.2f} ({found.signature})"


@pytest.mark.parametrize(("tokenize", "score"), [("none", 0.0), ("13a", 100.0), ("char", 100.0)])
def test_the_tokenizer_decides_what_a_word_is(tokenize, score):
    """Only one of the two texts has a blank before the full stop."""
    found = bleu(["x. y. z. u."], ["x . y . z . u ."], tokenize)
    assert found.score == pytest.approx(score, abs=1e-3)
    assert f"|tok:{tokenize}|" in found.signature


def test_mistakes_are_named():
    with pytest.raises(UserError, match="expected translations and one reference for each, got 2 and 1"):
        bleu(OTHERS, REFERENCES[:1])
    with pytest.raises(UserError, match="expected translations and one reference for each, got 0 and 0"):
        bleu([], [])
    with pytest.raises(UserError, match=r"expected tokenize to be one of none, zh, 13a, .*, got 'japanese'"):
        bleu(OTHERS, REFERENCES, "japanese")


def test_a_tokenizer_that_is_not_installed_is_named(monkeypatch):
    def missing(*_, **__):
        raise RuntimeError("Please install MeCab")

    monkeypatch.setattr("textvae.evaluation.bleu.BLEU.__init__", missing)
    with pytest.raises(
        UserError, match="expected the packages that sacreBLEU needs for tokenize='ja-mecab', found none"
    ):
        bleu(OTHERS, REFERENCES, "ja-mecab")


class Knowing:
    """A stand-in for a model: writes given translations by choice of z, and records its arguments."""

    device = torch.device("cpu")

    def __init__(self, tokenizer, given, has_latent=True):
        self.tokenizer, self.given, self.has_latent = tokenizer, given, has_latent
        self.asked = []

    def translate(self, source, source_mask, latent, **options):
        self.asked.append((latent, int(source_mask.sum()), options))
        rows = self.tokenizer(self.given[latent], padding=True, add_special_tokens=False, return_tensors="pt")
        return rows["input_ids"]


def setting(given, has_latent=True, **options):
    """Two sources, the shorter one first, and their references."""
    tokenizer = train_tokenizer(REFERENCES, "words")
    rows = Dataset.from_dict({"source": ["the dog", "a cat sits on"], "target": REFERENCES})
    return Setting(
        Knowing(tokenizer, given, has_latent),
        Fields([TargetField(tokenizer), SourceField(tokenizer)]),
        rows=rows,
        options={"translation": options},
        show_progress_bar=False,
    )


def test_translations_are_measured_with_each_latent():
    """They are right only with the prior mean as z, and half right with z = 0."""
    given = {"mean": REFERENCES, "zero": [REFERENCES[0], ""], "shuffled": REFERENCES[::-1]}
    asked = setting(given, num_beams=3, length_penalty=0.5)
    scores = {quantity.name: quantity for quantity in Translation.of(asked).quantities()}
    assert scores["bleu"].value == pytest.approx(100)
    assert scores["bleu_zero_z"].value == pytest.approx(100 * math.exp(1 - 13 / 6))
    assert scores["bleu_shuffled_z"].value == bleu(REFERENCES[::-1], REFERENCES).score < 10
    assert scores["bleu_signature"].value == bleu(REFERENCES, REFERENCES).signature
    assert scores["bleu"].how == f"z = its prior mean; 3 beams; {scores['bleu_signature'].value}"
    options = {"num_beams": 3, "max_new_tokens": LONGEST, "do_sample": False, "length_penalty": 0.5}
    assert asked.model.asked == [(latent, 3 + 5, options) for latent in ("mean", "zero", "shuffled")]


def test_without_a_latent_there_is_one_bleu():
    asked = setting({"mean": REFERENCES}, has_latent=False, num_beams=1, tokenize="none")
    found = Translation.of(asked).quantities()
    assert [quantity.name for quantity in found] == ["bleu", "bleu_signature"]
    assert found[0].how.startswith("no latent; 1 beams; ")
    assert "|tok:none|" in found[1].value
    assert "length_penalty" not in asked.model.asked[0][2], "which greedy search would warn of"


def test_translations_are_measured_only_if_asked_for():
    given = setting({})
    assert Translation.of(Setting(given.model, given.fields, rows=given.rows)) is None
    assert Translation.of(Setting(given.model, given.fields, options=given.options)) is None
    others = SimpleNamespace(has_latent=True)
    assert Translation.of(Setting(others, given.fields, rows=given.rows, options=given.options)) is None
    with pytest.raises(UserError, match=r"expected tokenize to be one of none, zh, 13a, .*, got 'japanese'"):
        Translation.of(setting({}, tokenize="japanese"))


def test_the_oracle_takes_the_best_of_each_source():
    sets = [[OTHERS[0], REFERENCES[0]], [REFERENCES[1], OTHERS[1]]]
    assert oracle_bleu(sets, REFERENCES).score == pytest.approx(100)
    worse = [[OTHERS[0], "no"], ["no", OTHERS[1]]]
    assert oracle_bleu(worse, REFERENCES).score == bleu(OTHERS, REFERENCES).score


def test_diversity_by_hand():
    """One source has two equal translations, the other two that share no word."""
    sets = [[REFERENCES[0], REFERENCES[0]], [REFERENCES[1], "two boats"]]
    found = diversity(sets, REFERENCES)
    assert found.translations == 2
    assert found.oracle_bleu == pytest.approx(100)
    second = bleu([REFERENCES[0], "two boats"], REFERENCES).score
    assert found.bleu == pytest.approx((100 + second) / 2)
    assert 50 <= found.self_bleu < 60, "100 of the one, and next to nothing of the other"
    assert found.distinct_1 == pytest.approx((5 / 12 + 9 / 9) / 2)
    assert found.distinct_2 == pytest.approx((5 / 10 + 7 / 7) / 2)
    assert found.to_dict().keys() >= {"self_bleu", "bleu_signature"}


def test_pairs_of_words_do_not_cross_sentences():
    assert diversity([["a", "b"]], ["a"]).distinct_2 == 0.0, "there are none"


def test_diversity_splits_as_it_is_told():
    found = diversity([["ab", "ba"]], ["ab"], "char")
    assert found.distinct_1 == 0.5
    assert found.distinct_2 == 1.0


@pytest.mark.parametrize("sets", [[["a"]], [["a", "b"], ["c"]], []])
def test_diversity_needs_several(sets):
    with pytest.raises(
        UserError, match="expected the same number of translations, 2 or more, for each source"
    ):
        diversity(sets, ["a"] * len(sets))
