import numpy as np
import pytest

from textvae.text import function_words as module
from textvae.text.function_words import VARIETY, function_words
from textvae.text.grammar import Grammar

NOUNS = [f"noun{number}" for number in range(200)]


def sentences(count, nouns=NOUNS):
    """Sentences "the N of the N sees red N", whose nouns are drawn evenly."""
    draw = np.random.default_rng(0)
    return [
        "the {} of the {} sees red {}".format(*row) for row in draw.choice(nouns, size=(count, 3)).tolist()
    ]


def test_words_with_various_neighbours_build_sentences():
    """*the* and *red* stand before any noun, *of* and *sees* after any; a noun stands between few words."""
    assert function_words(sentences(2_000), str.split) == {"the", "red", "of", "sees"}


def test_the_bound_is_the_perplexity_of_the_neighbours():
    """*x* stands before each of n words equally often, so that the perplexity is n."""
    for n, expected in ((int(VARIETY) + 1, {"x"}), (int(VARIETY) - 1, set())):
        assert function_words([f"x w{number}" for number in range(n)] * 3, str.split) == expected
    uneven = [f"x w{number}" for number in range(60)] + ["x w0"] * 60
    shares = np.array([61, *[1] * 59]) / 120
    assert np.exp(-(shares * np.log(shares)).sum()) < VARIETY
    assert function_words(uneven, str.split) == set()


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_embedded_grammar(language):
    texts = [getattr(sentence, language) for sentence in Grammar.load().sample(6_000, 0)]
    found = function_words(texts, str.split)
    wanted = {"en": {"the", "in", "at"}, "de": {"der", "die", "in"}}[language]
    nouns = {"en": {"dog", "thief", "necklace"}, "de": {"Hund", "Dieb"}}[language]
    assert wanted <= found
    assert not nouns & found


def test_few_texts_have_none():
    assert function_words(["the dog barks", "the cat sleeps"], str.split) == set()
    assert function_words([], str.split) == set()


@pytest.mark.parametrize(("others", "expected"), [(3, {"x"}), (4, set())])
def test_without_grammar_a_word_with_various_neighbours_is_none(others, expected):
    """x is a fifth of the words with 3 fixed words before each pair, and less with 4."""
    texts = [f"{' '.join('abcd'[:others])} x w{number}" for number in range(200)]
    assert function_words(texts, str.split) == expected


def test_a_long_text_does_not_decide_alone(monkeypatch):
    monkeypatch.setattr(module, "OF_EACH", 20)
    assert "topic" not in function_words([" ".join(f"topic w{n}" for n in range(200))], str.split)


def test_the_answer_does_not_depend_on_the_size_of_the_corpus(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 4_000)
    small, large = (function_words(sentences(count), str.split) for count in (500, 5_000))
    assert small == large == {"the", "red", "of", "sees"}
