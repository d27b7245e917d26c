import pytest

from textvae.support.errors import UserError
from textvae.text.blanks import Blank, pattern, spellings
from textvae.text.tokenizer import train_tokenizer

TEXTS = ["a man (who walks) sees a dog.", "the dog saw ten men.", "é < a"] * 3
TEXT = "a man (who walks) sees a dog."
PIECES = {"vocabulary_size": 300, "algorithm": "bpe"}


@pytest.fixture(scope="module")
def pieces():
    return train_tokenizer(TEXTS, **PIECES)


@pytest.fixture(scope="module")
def words():
    return train_tokenizer(TEXTS, "words")


def test_without_blanks_the_tokens_are_those_of_the_text(pieces, words):
    for tokenizer in (pieces, words):
        for text in (TEXT, "the man sees the dog", ""):
            assert pattern(text, tokenizer) == tokenizer(text).input_ids


def test_the_tokens_around_a_blank_are_those_they_have_in_the_whole_text(pieces, words):
    for tokenizer in (pieces, words):
        found = pattern("a man ___ walks) ___ a dog.", tokenizer)
        blanks = [place for place, term in enumerate(found) if isinstance(term, Blank)]
        parts = found[: blanks[0]], found[blanks[0] + 1 : blanks[1]], found[blanks[1] + 1 :]
        filled = parts[0] + tokenizer("(who").input_ids + parts[1] + tokenizer("sees").input_ids + parts[2]
        assert filled == tokenizer(TEXT).input_ids


def test_a_blank_knows_what_stands_right_beside_it(pieces):
    found = pattern("(?) sees", pieces, blank="?")
    assert found[0] == Blank(b" (", b")")
    assert found[0].word(b" (man)") == "man"
    for unfinished in (b" (", b" ()", b" (man", b" (\xc3)"):
        assert found[0].word(unfinished) is None


def test_edges_are_lower_cased_where_the_tokenizer_does():
    tokenizer = train_tokenizer(TEXTS, lower=True, **PIECES)
    assert pattern("MAC___TH", tokenizer) == [Blank(b" mac", b"th")]


def test_spellings_put_together_are_the_text(pieces, words):
    for tokenizer, text in ((pieces, TEXT + " 漢字"), (words, TEXT)):
        spelt = spellings(tokenizer)
        assert b"".join(spelt[token] for token in tokenizer(text).input_ids) == f" {text}".encode()
        assert [spelt[token] for token in tokenizer.all_special_ids] == [b""] * 4


def test_blanks_that_are_no_words_are_refused(pieces, words):
    with pytest.raises(UserError, match="expected one blank in a word, got '___-___'"):
        pattern("a ___-___", pieces)
    with pytest.raises(UserError, match=r"blanks that stand alone, .* got '___\.'"):
        pattern("a ___.", words)
