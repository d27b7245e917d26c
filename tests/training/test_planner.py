"""Plans for corpora of many sizes and kinds, and for many times: rules that hold for each, and comparisons."""

import math
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from textvae.support.errors import UserError
from textvae.text.grammar import Grammar
from textvae.text.statistics import Lengths, Statistics, statistics_of
from textvae.text.tokenizer import train_tokenizer
from textvae.training import rules
from textvae.training.planner import plan
from textvae.training.speed import Sizes, estimated_speed, matrix_rate, measured_speed

TEXTS = (20, 60, 99, 100, 500, 2_000, 20_000, 200_000, 2_000_000)
WORDS = (3, 12, 60, 2_000)
MINUTES = (1.5, 5, 60)


def corpus(texts, words=12, **changes):
    """Statistics of a made-up corpus of raw English, whose vocabulary grows by Heaps' law."""
    spread = [0.4 + 1.2 * i / 100 for i in range(101)]
    total = texts * words
    kinds = min(total // 2, int(3 * total**0.6))
    return Statistics(
        **{
            "texts": texts,
            "distinct": texts,
            "total_characters": 5 * total,
            "words": Lengths.of(max(1, round(words * share)) for share in spread),
            "characters": Lengths.of(max(2, round(5 * words * share)) for share in spread),
            "growth": ((total // 2, kinds // 2), (total, kinds)),
            "blanks": 1.0,
            "unspaced": 0.0,
            "attached": 0.1,
            "marked": 0.0,
            "unseen": 0.1,
            "repeated_words": kinds // 2,
            "repeated_units": kinds // 2,
            "alphabet": (1_000,) * 60 + (1,) * 20,
            "most_pieces": min(8_000, 400 + 2 * kinds),
            "compression": ((500, 2.5), (8_000, 4.0)),
        }
        | changes
    )


def speed_of(sizes):
    """A machine that trains 10^7 parameters on 1,000 tokens a second, and smaller ones faster."""
    return 1e10 / (sizes.operations / 6 + 1e5)


def trained_tokens(found, statistics):
    """The number of tokens that training reads according to the plan."""
    tokens = statistics.tokens(found["tokenizer.kind"], found["tokenizer.vocabulary_size"])
    of_step = found["training.per_device_train_batch_size"] * tokens.mean(found["tokenizer.maximum_length"])
    return found["training.max_steps"] * of_step


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("texts", TEXTS)
@pytest.mark.parametrize("minutes", MINUTES)
def test_every_corpus_gets_a_plan_that_holds_together(texts, words, minutes):
    statistics = corpus(texts, words)
    found = plan(statistics, minutes, speed_of)
    held_out = found["corpus.validation_size"], found["corpus.test_size"]
    assert 2 <= min(held_out) <= max(held_out) <= min(1_000, math.ceil(0.1 * texts))
    assert 260 < found["tokenizer.vocabulary_size"] <= min(8_000, statistics.most_pieces)
    assert 10 <= found["tokenizer.maximum_length"] <= 200
    assert found["training.max_steps"] >= 600
    assert found["training.per_device_train_batch_size"] <= texts - sum(held_out)
    assert found["training.max_steps"] % found["training.eval_steps"] == 0
    assert found["training.save_steps"] == found["training.eval_steps"]
    assert found["training.warmup_steps"] <= found["training.max_steps"] / 20
    assert 4 <= found["objective.target_rate"] <= 30
    # At the given speed, both training alone and the total stay within the time.
    speed = speed_of(
        Sizes(
            found["tokenizer.vocabulary_size"],
            found["model.embedding_size"],
            found["model.hidden_size"],
            found["model.latent_size"],
            found["training.per_device_train_batch_size"],
            statistics.tokens("sentencepiece", found["tokenizer.vocabulary_size"]).mean(
                found["tokenizer.maximum_length"]
            ),
        )
    )
    assert trained_tokens(found, statistics) / speed < found.seconds <= 60 * minutes
    assert found["training.max_steps"] * found["training.per_device_train_batch_size"] / texts <= 250


@pytest.mark.parametrize("key", ["tokenizer.vocabulary_size", "model.hidden_size", "model.latent_size"])
@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("minutes", MINUTES)
def test_more_texts_never_give_less(key, words, minutes):
    sizes = [plan(corpus(texts, words), minutes, speed_of)[key] for texts in TEXTS]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("texts", TEXTS)
@pytest.mark.parametrize("words", WORDS)
def test_more_minutes_never_give_less(texts, words):
    """With more time, the model or the texts are larger, or there is at least as much training."""
    plans = [plan(corpus(texts, words), minutes, speed_of) for minutes in (1.5, 2, 4, 8, 16, 32, 64, 128)]
    for key in ("model.hidden_size", "tokenizer.maximum_length"):
        assert (values := [found[key] for found in plans]) == sorted(values)
    tokens = [trained_tokens(found, corpus(texts, words)) for found in plans]
    same = [
        (a, b)
        for a, b, one, two in zip(tokens, tokens[1:], plans, plans[1:], strict=False)
        if one["model.hidden_size"] == two["model.hidden_size"]
    ]
    assert all(a <= 1.01 * b for a, b in same)


@pytest.mark.parametrize(
    ("texts", "words", "minutes", "values"),
    [
        # Few texts, learnt by heart: whole words, little dropout, the last model.
        (
            60,
            12,
            5,
            {
                "model.hidden_size": 128,
                "model.decoder.dropout": 0.1,
                "training.load_best_model_at_end": False,
                "training.per_device_train_batch_size": 8,
                "training.max_steps": 600,
                "corpus.validation_size": 6,
            },
        ),
        # A small corpus: each text is seen often, so there is much dropout.
        (
            2_000,
            12,
            60,
            {
                "model.hidden_size": 128,
                "model.decoder.dropout": 0.5,
                "training.load_best_model_at_end": True,
                "training.max_steps": 2_810,
                "corpus.validation_size": 100,
                "model.word_dropout": 0.0,
                "objective.bag_of_words": 1.0,
            },
        ),
        # A large corpus and little time.
        (
            2_000_000,
            12,
            1.5,
            {
                "model.hidden_size": 128,
                "model.decoder.dropout": 0.1,
                "corpus.maximum_train": 52_525,
                "tokenizer.vocabulary_size": 8_000,
            },
        ),
        (
            2_000_000,
            12,
            600,
            {"model.hidden_size": 512, "corpus.validation_size": 1_000, "model.latent_size": 32},
        ),
        # Long texts.
        (
            2_000,
            2_000,
            60,
            {
                "tokenizer.maximum_length": 200,
                "model.word_dropout": 0.2,
                "model.bag_of_words.weights": "tf_idf",
                "objective.bag_of_words": 3.0,
            },
        ),
        # Titles.
        (20_000, 3, 5, {"tokenizer.maximum_length": 10, "objective.target_rate": 5.0}),
    ],
)
def test_values_for_corpora(texts, words, minutes, values):
    found = plan(corpus(texts, words), minutes, speed_of)
    assert {key: found[key] for key in values} == values


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "sentencepiece"),
        ({"attached": 0.0, "unseen": 0.02}, "words"),
        ({"attached": 0.0, "unseen": 0.04}, "sentencepiece"),
        ({"attached": 0.03, "unseen": 0.04, "marked": 0.5}, "words"),
        ({"attached": 0.1, "unseen": 0.02, "marked": 0.5}, "sentencepiece"),
        ({"attached": 0.0, "unseen": 0.0, "unspaced": 0.9, "blanks": 0.1}, "sentencepiece"),
    ],
    ids=["raw", "split", "split, many words", "split, <unk>", "raw, <unk>", "no blanks"],
)
def test_words_or_pieces(changes, kind):
    found = plan(replace(corpus(2_000), **changes), 5, speed_of)
    assert found["tokenizer.kind"] == kind
    pieces_alone = {"tokenizer.algorithm", "tokenizer.character_coverage"}
    assert (pieces_alone <= found.values().keys()) is (kind == "sentencepiece")


@pytest.mark.parametrize(
    ("length", "texts", "rate"),
    [
        (2, 10**6, 4.0),
        (16, 10**6, 8.0),
        (64, 10**6, 16.0),
        (400, 10**7, 30.0),
        (100, 54, 8.0),
        (16, 1_000, 8.0),
    ],
)
def test_target_rate_by_hand(length, texts, rate):
    """2 √n, at least 4 and at most 30, and at most 2 log N; log 54 is 3.99."""
    assert rules.target_rate(length, texts).value == rate


def test_coverage_leaves_room_for_words():
    """Of 300 characters, a third occur once. A small vocabulary has only the most frequent characters."""
    statistics = corpus(500, alphabet=(90,) * 100 + (50,) * 100 + (1,) * 100)
    assert rules.character_coverage(statistics, 10_000).value == math.floor(14_000 / 14_100 * 1e4) / 1e4
    assert rules.character_coverage(statistics, 260 + 398).value == math.floor(13_950 / 14_100 * 1e4) / 1e4
    assert rules.character_coverage(statistics, 260 + 300).value == 0.98
    assert rules.character_coverage(corpus(500, alphabet=(9, 9)), 1_000).value == 0.9995


SENTENCES = [sentence.en for sentence in Grammar.load().sample(3_000, 0)]
KANJI = [chr(0x4E00 + i) for i in range(900)]
CORPORA = {
    "20 sentences": SENTENCES[:20],
    "60 sentences": SENTENCES[:60],
    "3,000 sentences": SENTENCES,
    "titles": [" ".join(sentence.split()[:3]) for sentence in SENTENCES[:400]],
    "long texts": [" ".join(SENTENCES[20 * i : 20 * i + 20]) for i in range(60)],
    "few words": [f"{a} {b}, {c}." for a in "ab" for b in "cdef" for c in ("x", "yy", "zzz")],
    "no blanks": ["".join(KANJI[(i * k * k) % 900] for k in range(3, 15)) for i in range(1, 300)],
    "numbers": [str(7**i) for i in range(30)],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CORPORA)
def test_sentencepiece_can_make_the_vocabulary(name):
    """This holds for any part of the corpus that is left after validation and test are drawn."""
    texts = CORPORA[name]
    found = plan(statistics_of(texts), 2, speed_of)
    rest = len(texts) - found["corpus.validation_size"] - found["corpus.test_size"]
    how = {
        "algorithm": found["tokenizer.algorithm"],
        "vocabulary_size": found["tokenizer.vocabulary_size"],
        "character_coverage": found["tokenizer.character_coverage"],
    }
    for start in (0, len(texts) - rest):
        tokenizer = train_tokenizer(texts[start : start + rest], "sentencepiece", **how)
        assert len(tokenizer) == found["tokenizer.vocabulary_size"]


def test_the_length_is_that_of_real_tokens():
    """The plan says that it cuts none of the grammar's sentences, and it cuts none."""
    found = plan(statistics_of(SENTENCES), 5, speed_of)
    tokenizer = train_tokenizer(
        SENTENCES, vocabulary_size=found["tokenizer.vocabulary_size"], algorithm=found["tokenizer.algorithm"]
    )
    lengths = [len(tokenizer(text).input_ids) + 1 for text in SENTENCES]
    assert max(lengths) <= found["tokenizer.maximum_length"] <= 1.5 * max(lengths)


# ---- what the user sets


@pytest.mark.parametrize(
    ("given", "follows", "absent"),
    [
        ({"model.hidden_size": 64, "training.max_steps": 7}, {"training.logging_steps": 1}, ()),
        ({"tokenizer.vocabulary_size": 500}, {"tokenizer.vocabulary_size": 500}, ()),
        ({"tokenizer.kind": "words"}, {}, ("tokenizer.algorithm", "tokenizer.character_coverage")),
        ({"tokenizer.maximum_length": None}, {}, ()),
        ({"objective.kl_weight": {"end": 1.0}}, {}, ("objective.target_rate",)),
        ({"model.bag_of_words": None}, {}, ("model.bag_of_words.kind", "objective.bag_of_words")),
        (
            {"model.latent_size": 0},
            {"model.word_dropout": 0.0},
            ("objective.target_rate", "model.encoder.kind", "model.bag_of_words.kind"),
        ),
        (
            {"corpus.validation": "v.txt", "corpus.test": "t.txt"},
            {},
            ("corpus.validation_size", "corpus.test_size"),
        ),
        ({"corpus.validation_size": 0.5, "corpus.test_size": 7}, {}, ()),
        ({"training.num_train_epochs": 3}, {"model.decoder.dropout": 0.1}, ("training.max_steps",)),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_is_set_stays_and_the_rest_fits(given, follows, absent):
    found = plan(corpus(2_000), 5, speed_of, given)
    reasons = {choice.key: choice.reason for choice in found.choices}
    for key in given.keys() & reasons.keys():
        assert found[key] == given[key]
        assert reasons[key] == "as you set it"
    assert {key: found[key] for key in follows} == follows
    assert not set(absent) & reasons.keys()


def test_a_smaller_vocabulary_leaves_time_for_more_steps():
    tokens = {
        size: plan(corpus(200_000), 5, speed_of, {"tokenizer.vocabulary_size": size})["training.max_steps"]
        for size in (1_000, 8_000)
    }
    assert tokens[1_000] > tokens[8_000]


# ---- what cannot work


@pytest.mark.parametrize(
    ("statistics", "minutes", "message"),
    [
        (corpus(19), 5, "expected 20 different texts or more to learn from, got 19: give more"),
        (corpus(500, distinct=3), 5, "expected 20 different texts or more to learn from, got 3"),
        (corpus(500), 0, "expected minutes over 0, got 0"),
        (corpus(500), math.nan, "expected minutes over 0, got nan"),
        (
            corpus(500),
            0.005,
            r"expected 0\.\d minutes or more, got 0\.005, in which a model of these texts learns nothing",
        ),
    ],
)
def test_refused(statistics, minutes, message):
    with pytest.raises(UserError, match=message):
        plan(statistics, minutes, speed_of)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("texts", [20, 500, 200_000])
def test_the_minutes_that_are_asked_for_are_enough(texts, words):
    with pytest.raises(UserError, match="minutes or more") as caught:
        plan(corpus(texts, words), 1e-3, speed_of)
    asked = float(str(caught.value).split()[1])
    assert plan(corpus(texts, words), asked, speed_of)["training.max_steps"] >= 600


# ---- what is printed


def test_sections_and_lines():
    found = plan(corpus(2_000), 5, speed_of)
    sections = found.sections()
    assert list(sections) == ["corpus", "tokenizer", "model", "objective", "training", "evaluation"]
    assert sections["model"]["decoder"] == {"kind": "lstm", "dropout": 0.5}
    assert sections["model"]["initial_range"] is None
    lines = str(found).splitlines()
    assert len(lines) == len(found.choices) + len(found.remarks)
    assert lines[0].split("  # ") == [
        "corpus.validation_size: 100".ljust(lines[0].index("  #")),
        "5 % of the texts",
    ]
    assert all(choice.reason and not choice.reason.endswith(".") for choice in found.choices)


@pytest.mark.parametrize(
    ("statistics", "minutes", "remark"),
    [
        (corpus(60), 5, "60 different texts are too few to learn a language from"),
        (corpus(4_000, distinct=1_000), 5, "75 % of the texts are duplicates"),
        (
            corpus(2_000, 2_000),
            1.5,
            r"9\d % of the tokens lie beyond .* give about \d+ minutes to read 200 tokens of each",
        ),
        (
            corpus(2_000, 2_000),
            60,
            r"9\d % of the tokens lie beyond the maximum length and are not read: split texts",
        ),
        (corpus(2_000_000), 5, r"There is time for \d.* of the texts"),
        (corpus(2_000), 5, r"This takes about \d\.\d of the 5 minutes\."),
        (corpus(2_000, 60), 0.2, r"This takes about 0\.\d minutes, more than the 0\.2 given"),
    ],
)
def test_remarks(statistics, minutes, remark):
    found = plan(statistics, minutes, speed_of)
    assert [said for said in found.remarks if re.search(remark, said)]


def test_an_ordinary_corpus_needs_no_remarks_but_the_time():
    assert len(plan(corpus(20_000), 30, speed_of).remarks) == 1
    assert len(plan(replace(corpus(20_000), distinct=19_000), 30, speed_of).remarks) == 1


# ---- speed


def test_parameters_are_those_of_the_modules():
    """Biases are not counted."""
    v, e, d, z = 1_000, 24, 40, 8
    modules = [
        nn.Embedding(v, e),
        nn.Linear(e, d),
        nn.Conv1d(d, d, 3),
        nn.Embedding(v, e),
        nn.LSTM(e + z, d),
        nn.Linear(d, e),
        nn.Linear(z, d),
        nn.Linear(d, v),
    ]
    weights = [p.numel() for module in modules for name, p in module.named_parameters() if "bias" not in name]
    assert Sizes(v, e, d, z, 4, 10).parameters == sum(weights)


def test_operations_are_six_for_each_parameter_that_a_token_uses():
    """The encoder's word vectors are only looked up, and the bag of words is computed once for each text."""
    sizes = Sizes(1_000, 24, 40, 8, batch_size=4, length=10)
    bag = 40 * (1_000 + 8)
    assert sizes.tokens == 40
    assert sizes.operations == pytest.approx(6 * (sizes.parameters - 1_000 * 24 - bag + bag / 10))


def test_measured_speed_counts_steps_but_not_the_first(monkeypatch):
    """The first step takes five seconds, the others half a second with 100 tokens: 200 tokens a second."""
    clock = [0.0]
    monkeypatch.setattr("textvae.training.speed.time.perf_counter", lambda: clock[0])
    made = []

    def make_step(sizes):
        made.append(sizes)

        def step():
            clock[0] += 5 if not clock[0] else 0.5

        return step

    sizes = Sizes(1, 1, 1, 1, batch_size=4, length=25)
    assert measured_speed(sizes, make_step, seconds=3) == pytest.approx(200)
    assert made == [sizes]
    assert clock[0] == pytest.approx(8)


def test_the_estimate_falls_with_every_size(monkeypatch):
    monkeypatch.setattr("textvae.training.speed.matrix_rate", lambda dtype: 1e11)
    sizes = Sizes(4_000, 128, 256, 32, batch_size=32, length=16)
    speed = estimated_speed(sizes)
    # 16 ms a step and 7.6 million operations a token, on a machine of 10^11 operations a second.
    assert 3_000 < speed < 20_000
    for larger in ({"vocabulary_size": 8_000}, {"embedding_size": 256}, {"hidden_size": 512}):
        assert estimated_speed(replace(sizes, **larger)) < 0.9 * speed
    assert estimated_speed(replace(sizes, batch_size=4)) < 0.9 * speed


def test_the_rate_of_products_is_that_of_the_clock(monkeypatch):
    """A product of two 512 by 512 matrices takes 2 · 512³ operations and, on this clock, one second."""
    ticks = iter(range(1_000))
    monkeypatch.setattr("textvae.training.speed.time.perf_counter", lambda: float(next(ticks)))
    matrix_rate.cache_clear()
    assert matrix_rate(torch.float32) == pytest.approx(2 * 512**3)
    matrix_rate.cache_clear()


def test_time_that_has_passed_counts():
    statistics = corpus(200_000)
    whole, rest = (plan(statistics, 5, speed_of, spent=spent) for spent in (60, 120))
    assert trained_tokens(whole, statistics) > 1.2 * trained_tokens(rest, statistics)
    assert 240 < rest.seconds <= 300
    late = plan(corpus(200_000), 5, speed_of, spent=1_000)
    assert late["training.max_steps"] >= 600
    assert late.seconds > 1_000, "at least half of the given time is planned for"


def test_the_fewest_steps_are_taken_where_there_is_hardly_time():
    statistics = corpus(2_000, 60)
    found = plan(statistics, 0.2, speed_of)
    assert found["training.max_steps"] == 600
    assert 12 < found.seconds < 36
