"""Tests of chunks: no token is lost, no chunk is too long, and cuts are between sentences or words if possible."""

from itertools import chain

import pytest

from textvae.text.chunks import chunks
from textvae.text.tokenizer import train_tokenizer

TEXT = 'The cook baked a cake. "Did Anna buy it?" No, she did not!  Donaudampfschifffahrtsgesellschaft — äöü.'


@pytest.fixture(scope="module", params=["words", "bpe", "unigram"])
def tokenizer(request):
    if request.param == "words":
        return train_tokenizer([TEXT], "words")
    return train_tokenizer([TEXT], algorithm=request.param)


@pytest.mark.parametrize("maximum_length", [1, 2, 3, 7, 20, None])
def test_nothing_is_lost_and_no_chunk_too_long(tokenizer, maximum_length):
    texts = [TEXT, "", "cake", TEXT * 3]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    found = chunks(texts, tokenizer, maximum_length)
    assert [list(chain(*parts)) for parts in found] == ids
    if maximum_length:
        assert max(len(part) + 1 for parts in found for part in parts) <= max(2, maximum_length)
        assert all(part for part in found[0])
    else:
        assert [len(parts) for parts in found] == [1] * 4


def test_a_text_that_fits_is_one_chunk(tokenizer):
    length = len(tokenizer(TEXT, add_special_tokens=False)["input_ids"])
    assert len(chunks([TEXT], tokenizer, length + 1)[0]) == 1
    assert len(chunks([TEXT], tokenizer, length)[0]) == 2


def test_no_texts_have_no_chunks(tokenizer):
    assert chunks([], tokenizer, 5) == []


def words(text, maximum_length):
    tokenizer = train_tokenizer([text], "words")
    return [tokenizer.decode(ids) for ids in chunks([text], tokenizer, maximum_length)[0]]


def test_cuts_come_behind_sentences_then_words():
    assert words("a b c. d e f g h", 7) == ["a b c. d e f", "g h"], "a chunk is more than half full"
    assert words("a b c d. e f g h", 7) == ["a b c d.", "e f g h"]
    assert words("a b c d.” e f g h", 7) == ["a b c d.”", "e f g h"]
    assert words("a b. c d. e f g h", 7) == ["a b. c d.", "e f g h"], "the last of two"


def test_words_are_cut_only_if_they_must_be():
    text = "over the hills and far away over the hills"
    tokenizer = train_tokenizer([text], vocabulary_size=276)
    found = chunks([text], tokenizer, 13)[0]
    assert len(found) > 3
    assert list(chain(*(tokenizer.decode(ids).split() for ids in found))) == text.split()
    assert all(len(ids) == 3 for ids in chunks(["x" * 9], tokenizer, 4)[0][1:-1])
