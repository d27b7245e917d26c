"""Tests of the statistics of a corpus against counts by hand, for the whole corpus and for a sample."""

import random

import pytest
from datasets import Dataset

from textvae.support.errors import UserError
from textvae.text.grammar import Grammar
from textvae.text.statistics import Lengths, TokenLengths, statistics_of
from textvae.text.tokenizer import train_tokenizer

RAW = [
    f"The {a} dog, which {b}, sleeps." for a in ("old", "red", "big") for b in ("ran", "sat", "fell", "won")
]
SPLIT = [f"the {a} dog , which {b} , did n't sleep ." for a in ("old", "red") for b in ("run", "sit", "win")]
MARKED = ["the <unk> said it will buy shares of mr. <unk>", "analysts said <unk> corp. will sell"] * 3
JAPANESE = ["私は毎日学校へ行きます。", "彼は昨日東京へ行きました。", "犬が庭で走っています。"] * 4
CHINESE = ["他昨天去了北京, OK!", "我每天都去学校。"] * 4
THAI = ["ฉันไปโรงเรียนทุกวัน", "เขาไปกรุงเทพเมื่อวานนี้"] * 4
JAPANESE_SPLIT = ["私 は 毎日 学校 へ 行き ます 。", "犬 が 庭 で 走っ て い ます 。"] * 4


@pytest.mark.parametrize("seed", range(3))
def test_lengths_by_counting(seed):
    given = [random.Random(seed).randrange(1, 60) for _ in range(101)]
    lengths = Lengths.of(given)
    assert lengths.total == sum(given)
    assert lengths.mean == pytest.approx(sum(given) / 101)
    for maximum in (0, 1, 17, 59.5, 60, 1000):
        assert lengths.longer(maximum) == pytest.approx(sum(n > maximum for n in given) / 101)
        assert lengths.kept(maximum) == pytest.approx(sum(min(n, maximum) for n in given))
    for share in (0, 0.01, 0.5, 0.95, 1):
        found = lengths.quantile(share)
        assert sum(n <= found for n in given) >= share * 101
        assert found == min(given) or sum(n < found for n in given) < share * 101


def test_lengths_in_tokens_by_hand():
    """With four characters per token and EOS, texts of 4, 8 and 20 characters have 2, 3 and 6 tokens."""
    tokens = TokenLengths(Lengths.of([20, 4, 8]), 4.0)
    assert tokens.mean() == pytest.approx(11 / 3)
    assert tokens.mean(4) == pytest.approx((2 + 3 + 4) / 3)
    assert tokens.quantile(1) == 6
    assert tokens.cut(4) == pytest.approx((1 / 3, 2 / 11))
    assert tokens.cut(6) == (0, 0)


def test_counts_by_hand():
    texts = ["a man walks", " a dog walks ", "a man walks", "", "  ", "fish"]
    found = statistics_of(texts)
    assert (found.texts, found.distinct, found.sampled) == (4, 3, 4)
    assert found.total_characters == 11 + 11 + 11 + 4
    assert found.words.ordered == (1, 3, 3, 3)
    assert found.characters.ordered == (4, 11, 11, 11)
    assert found.blanks == 0.75
    # a, man and walks repeat; dog and fish do not.
    assert found.repeated_words == found.repeated_units == 3
    # a occurs 8 times; s 4; w, l and k 3; m and n 2; d, o, g, f, i and h once.
    assert found.alphabet == (8, 4, 3, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1)
    assert found.repeated_characters == 7
    assert found.growth[-1] == (10, 5)


def test_the_share_of_frequent_characters():
    found = statistics_of(["aaab", "aacc"])
    assert found.alphabet == (5, 2, 1)
    assert [found.coverage(n) for n in (0, 1, 2, 3)] == pytest.approx([0, 5 / 8, 7 / 8, 1])


@pytest.mark.parametrize(
    ("texts", "has_blanks", "raw", "marked"),
    [
        (RAW, True, True, False),
        (SPLIT, True, False, False),
        (MARKED, True, False, True),
        (JAPANESE, False, False, False),
        (CHINESE, False, True, False),
        (THAI, False, False, False),
        (JAPANESE_SPLIT, True, False, False),
    ],
    ids=["raw", "split", "marked", "Japanese", "Chinese", "Thai", "Japanese, split"],
)
def test_kinds_of_text(texts, has_blanks, raw, marked):
    found = statistics_of(texts)
    assert found.has_blanks is has_blanks
    assert found.marked == float(marked)
    if has_blanks:
        assert (found.attached > 0.2) is raw
        assert (found.attached < 0.05) or raw or marked


def test_units_of_a_language_without_blanks_are_pairs_of_characters():
    """日本 occurs ten times and 本語 nine times; no pair spans two texts."""
    found = statistics_of(["日本語"] * 9 + ["日本"])
    assert found.repeated_units == 1
    assert found.growth[-1] == (19, 2)


def test_new_words_are_counted():
    """Either all words of one half occur in the other half, or none do."""
    assert statistics_of(["a b c"] * 8).unseen == 0
    assert statistics_of([f"{chr(97 + i)}x {chr(97 + i)}y" for i in range(20)]).unseen == 1


@pytest.mark.slow
def test_a_sample_stands_for_the_whole():
    texts = [sentence.en for sentence in Grammar.load().sample(3_000, 0)]
    whole, part = statistics_of(texts), statistics_of(iter(texts), sample=600, seed=1)
    assert (part.texts, part.distinct, part.total_characters) == (
        whole.texts,
        whole.distinct,
        whole.total_characters,
    )
    assert part.sampled == 600
    assert part.words.mean == pytest.approx(whole.words.mean, rel=0.03)
    # The sample is a fifth of the corpus, so a word that occurs once in it occurs five times in the corpus on average.
    assert 0.5 * whole.repeated_words < part.repeated_words < 1.3 * whole.repeated_words
    assert part == statistics_of(texts, sample=600, seed=1)
    assert part != statistics_of(texts, sample=600, seed=2)


def test_each_text_is_drawn_with_the_same_probability():
    drawn = [
        statistics_of(["a", "bb", "ccc", "dddd"], sample=1, seed=seed).characters.total for seed in range(80)
    ]
    assert all(8 <= drawn.count(n) <= 35 for n in (1, 2, 3, 4))


def test_a_data_set_is_like_a_list():
    rows = Dataset.from_dict({"label": [0] * len(RAW), "text": RAW})
    assert statistics_of(rows) == statistics_of(RAW)


def test_characters_of_a_piece_are_those_of_a_tokenizer():
    texts = [sentence.en for sentence in Grammar.load().sample(2_000, 0)]
    found = statistics_of(texts[:1_800])
    for size in (500, 1_000, 3_000):
        tokenizer = train_tokenizer(texts[:1_800], vocabulary_size=size, algorithm="bpe")
        pieces = sum(len(tokenizer(text).input_ids) for text in texts[1_800:])
        characters = sum(map(len, texts[1_800:]))
        assert found.characters_per_piece(size) == pytest.approx(characters / pieces, rel=0.06)
        assert found.tokens("sentencepiece", size).mean() == pytest.approx(pieces / 200 + 1, rel=0.06)
    assert found.tokens("words", 10).mean() == found.words.mean + 1


def test_no_text():
    with pytest.raises(UserError, match="expected text to look at, got none"):
        statistics_of(["", " "])
