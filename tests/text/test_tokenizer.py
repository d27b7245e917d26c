import random

import pytest
from real import DATA, needs
from transformers import AutoTokenizer

from textvae.support.errors import UserError
from textvae.text.tokenizer import (
    Texts,
    TooSmallError,
    decode_rows,
    load_tokenizer,
    train_sentencepiece,
    train_tokenizer,
    train_tokenizers,
)

SENTENCES = [
    "A man is walking his dog.",
    "Two dogs are walking in the park <b>today</b>.",
    "The woman walks to the park, the man walks home.",
    "Die Frau geht über die Straße.",
] * 10
ODD = [
    "",
    " ",
    "  a  b  ",
    "\ta\n\nb\r\n",
    "\u2581",
    "a\u2581b \u2581 c",
    "</s>",
    "<s>a</s> <pad><unk>",
    "<0x41>",
    "< / s >",
    "\0\x01",
    "⁇ \u2585",
    "👩\u200d👩\u200d👧 e\u0301 \ufeff\u2028\xa0",
    "السلام عليكم",
    "私はテニス部員です。",
]


def random_texts(n):
    """Texts of random code points, mixed with strings that are special to the tokenizer."""
    rng = random.Random(0)
    pieces = [" ", "  ", "\n", "walk", "the", "<", ">", *ODD]

    def draw():
        if rng.random() < 0.5:
            return rng.choice(pieces)
        code = rng.randrange(0x110000 - 0x800)
        return chr(code if code < 0xD800 else code + 0x800)  # surrogates are not characters

    return ["".join(draw() for _ in range(rng.randrange(20))) for _ in range(n)]


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def pieces(request):
    return train_tokenizer(SENTENCES, algorithm=request.param)


@pytest.fixture(scope="module")
def words():
    return train_tokenizer(["the <unk> man saw the dog", "the dog saw"], "words")


def test_special_tokens_have_fixed_ids(pieces, words):
    for tokenizer in (pieces, words):
        special = [
            tokenizer.pad_token_id,
            tokenizer.bos_token_id,
            tokenizer.eos_token_id,
            tokenizer.unk_token_id,
        ]
        assert special == [0, 1, 2, 3]
        assert tokenizer.convert_ids_to_tokens(special) == ["<pad>", "<s>", "</s>", "<unk>"]
        assert not set(tokenizer("the dog").input_ids) & set(special)


@pytest.mark.parametrize("text", ODD)
def test_pieces_round_trip(pieces, text):
    ids = pieces(text).input_ids
    assert pieces.decode(ids) == text
    assert pieces.decode(ids, skip_special_tokens=True) == text


def test_pieces_round_trip_any_unicode(pieces):
    texts = random_texts(2_000)
    rows = pieces(texts).input_ids
    assert pieces.batch_decode(rows, skip_special_tokens=True) == texts
    assert min(min(row) for row in rows if row) > 3


def test_pieces_round_trip_after_loading_without_our_code(pieces, tmp_path):
    pieces.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    texts = [*SENTENCES, *ODD, *random_texts(200)]
    assert loaded(texts).input_ids == pieces(texts).input_ids
    assert loaded.batch_decode(loaded(texts).input_ids, skip_special_tokens=True) == texts


def test_pieces_are_longer_than_characters(pieces):
    text = " ".join(SENTENCES)
    assert len(pieces.tokenize(text)) < 0.8 * len(text)


def test_training_is_deterministic(pieces):
    algorithm = "bpe" if type(pieces.backend_tokenizer.model).__name__ == "BPE" else "unigram"
    again = train_tokenizer(iter(SENTENCES), algorithm=algorithm)
    assert again.backend_tokenizer.to_str() == pieces.backend_tokenizer.to_str()


@pytest.mark.parametrize("algorithm", ["unigram", "bpe"])
def test_vocabulary_size_is_met_exactly(algorithm):
    assert len(train_tokenizer(SENTENCES, algorithm=algorithm, vocabulary_size=305)) == 305


@pytest.mark.parametrize("algorithm", ["unigram", "bpe"])
def test_a_vocabulary_that_is_too_large_is_as_large_as_can_be(algorithm, caplog):
    largest = len(train_tokenizer(SENTENCES, algorithm=algorithm))
    assert not caplog.messages
    assert len(train_tokenizer(SENTENCES, algorithm=algorithm, vocabulary_size=50_000)) == largest
    assert caplog.messages == [
        f"the vocabulary has {largest} tokens, not 50,000 as asked for: the texts have no more pieces"
    ]


@pytest.mark.parametrize("algorithm", ["unigram", "bpe"])
@pytest.mark.parametrize("read", [list, iter, lambda texts: Texts(lambda: iter(texts))])
@pytest.mark.parametrize("lower", [False, True])
def test_a_vocabulary_that_is_too_small_is_as_small_as_can_be(algorithm, read, lower, caplog):
    least = len(train_tokenizer(read(SENTENCES), algorithm=algorithm, vocabulary_size=100, lower=lower))
    assert caplog.messages == [
        f"the vocabulary has {least} tokens, not 100 as asked for: bytes and characters need as many"
    ]
    with pytest.raises(TooSmallError, match=rf"at least {least} .* got {least - 1}: raise it"):
        texts = [text.lower() if lower else text for text in SENTENCES]
        train_sentencepiece(texts, least - 1, algorithm, 0.9995)


@pytest.mark.parametrize("kind", ["sentencepiece", "words"])
@pytest.mark.parametrize("texts", [[], ["", " \t"]])
def test_empty_corpus(kind, texts):
    with pytest.raises(UserError, match=r"expected text .* got no"):
        train_tokenizer(texts, kind)


def test_unknown_kind_and_algorithm():
    with pytest.raises(UserError, match="kind: expected 'sentencepiece' or 'words', got 'word'"):
        train_tokenizer(SENTENCES, "word")
    with pytest.raises(UserError, match="algorithm: expected 'unigram' or 'bpe', got 'wordpiece'"):
        train_tokenizer(SENTENCES, algorithm="wordpiece")


def test_rare_characters_are_spelt_in_bytes():
    tokenizer = train_tokenizer([*SENTENCES, "\u4e00"], character_coverage=0.99)
    assert tokenizer.tokenize("\u4e00")[-3:] == ["<0xE4>", "<0xB8>", "<0x80>"]


@pytest.mark.parametrize("kind", ["sentencepiece", "words"])
def test_lower(kind, tmp_path):
    train_tokenizer(SENTENCES, kind, lower=True).save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer("THE Park").input_ids == tokenizer("the park").input_ids
    assert tokenizer.decode(tokenizer("Two DOGS").input_ids) == "two dogs"
    assert "Two" not in tokenizer.get_vocab()


def test_words_are_sorted_by_frequency_then_alphabet(words):
    order = sorted(words.get_vocab(), key=words.get_vocab().get)
    assert order == ["<pad>", "<s>", "</s>", "<unk>", "the", "dog", "saw", "man"]


def test_words_are_joined_by_single_spaces(words):
    assert words.decode(words("  the\tman \n saw ").input_ids) == "the man saw"


def test_only_unk_is_special_in_pretokenised_text(words):
    assert words("the <unk> dog").input_ids == [4, 3, 5]
    assert words("the </s> dog <pad> <s>").input_ids == [4, 3, 5, 3, 3]
    assert words("dog</s> x<unk>y").input_ids == [3, 3]


def test_minimum_count_and_maximum_size():
    texts = ["a a a b b c"]
    assert train_tokenizer(texts, "words", minimum_count=2).get_vocab().keys() >= {"a", "b"}
    assert len(train_tokenizer(texts, "words", minimum_count=2)) == 6
    assert len(train_tokenizer(texts, "words", vocabulary_size=5)) == 5
    assert len(train_tokenizer(texts, "words", vocabulary_size=100)) == 7
    with pytest.raises(UserError, match=r"vocabulary with words in it, got none with .* minimum_count=4"):
        train_tokenizer(texts, "words", minimum_count=4)


def test_words_load_without_our_code(words, tmp_path):
    words.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("the man saw", "the <unk> </s> x"):
        assert loaded(text).input_ids == words(text).input_ids
    assert loaded.get_vocab() == words.get_vocab()


def test_decode_rows_stops_at_eos_and_keeps_unknown_words(words):
    assert decode_rows(words, [[1, 4, 3, 5, 2, 7, 0], [4, 0, 0], []]) == ["the <unk> dog", "the", ""]


@pytest.mark.parametrize("joint", [True, False])
def test_the_two_sides_of_pairs(joint):
    """A tokenizer spells its own side in whole words; with two vocabularies it does not spell the other side so."""
    english, german = ["the dog walks"] * 20, ["der Hund läuft"] * 20
    source, target = train_tokenizers(iter(english), iter(german), joint=joint, algorithm="bpe")
    assert (source is target) is joint
    for tokenizer, text in ((source, english[0]), (target, german[0])):
        assert len(tokenizer(text).input_ids) == 3
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert (len(source(german[0]).input_ids) == 3) is joint


def test_no_warning_for_long_text(pieces, recwarn, caplog):
    pieces("the dog " * 20_000)
    assert not recwarn.list
    assert not caplog.records


def test_load_tokenizer_says_what_is_wrong(words, tmp_path):
    with pytest.raises(UserError, match=r"found no .*nowhere/at/all: check"):
        load_tokenizer(tmp_path / "nowhere/at/all")
    with pytest.raises(UserError, match=r"found no tokenizer\.json"):
        load_tokenizer(tmp_path)
    words.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(file.read_text()[:100])
    with pytest.raises(UserError, match=r"expected a readable tokenizer in .*: save it again"):
        load_tokenizer(tmp_path)


@pytest.mark.slow
@needs("ptb")
def test_words_of_the_penn_treebank():
    splits = {
        name: (DATA / "ptb" / f"ptb.{name}.txt").read_text().splitlines()
        for name in ("train", "valid", "test")
    }
    tokenizer = train_tokenizer(splits["train"], "words")
    assert len(tokenizer) == 9_999 + 3  # the published words with <unk>; </s>, <s>, <pad>
    for name, tokens in (("valid", 73_760), ("test", 82_430)):
        rows = tokenizer(splits[name]).input_ids
        assert sum(len(row) + 1 for row in rows) == tokens
        assert decode_rows(tokenizer, rows) == [text.strip() for text in splits[name]]
