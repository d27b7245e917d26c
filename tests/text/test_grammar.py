"""Tests of the embedded corpus: exact probabilities, one derivation per sentence, correct German, usual lengths."""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import re
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from textvae.support.errors import UserError
from textvae.text.grammar import Grammar, main
from textvae.text.morphology import spell
from textvae.text.parser import Parser
from textvae.text.productions import is_symbol

GRAMMAR = Path(__file__).parents[2] / "data" / "grammar.yaml"


@pytest.fixture(scope="module")
def grammar():
    return Grammar.load()


@pytest.fixture(scope="module")
def productions(grammar):
    return grammar.productions


@pytest.fixture(scope="module")
def sentences(grammar):
    return grammar.sample(5_000, seed=11)


# -- the data set


@pytest.mark.parametrize("language", ["en", "de"])
def test_there_are_at_least_1500_word_types(sentences, language):
    texts = (getattr(sentence, language) for sentence in sentences)
    types = Counter(word.strip(",.?").lower() for text in texts for word in text.split())
    assert sum(n >= 4 for n in types.values()) >= 1500  # words recur, so that a model can learn them


def test_factors(grammar):
    assert next(iter(grammar.factors)) == "topic"
    assert len(grammar.factors["topic"]) >= 12
    assert len(grammar.factors) >= 6


def test_every_value_of_every_factor_occurs(grammar, sentences):
    for factor, values in grammar.factors.items():
        counts = Counter(sentence.labels[factor] for sentence in sentences)
        assert set(counts) == set(values)
        assert min(counts.values()) >= 0.02 * len(sentences)


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_sentence_has_4_to_25_words(productions, language):
    """The bounds are computed for the whole language, not only for sampled sentences."""

    def bounds(items, known):
        each = [known(item) for item in items]
        return sum(low for low, _ in each), sum(high for _, high in each)

    @functools.cache
    def lengths(item):
        if not is_symbol(item):
            return (int(item not in ",.?"),) * 2
        each = [bounds(getattr(rule, language), lengths) for rule in productions.rules[item]]
        return min(low for low, _ in each), max(high for _, high in each)

    shapes = {
        kind: {tuple(sorted(getattr(template, language))) for template in templates}
        for kind, templates in productions.templates.items()
    }
    for branch in productions.branches:
        items = set(itertools.chain(*shapes[branch.kind]))
        filled = {item: bounds(branch.slots.get(item, (item,)), lengths) for item in items}
        for shape in shapes[branch.kind]:
            shortest, longest = bounds(shape, filled.__getitem__)
            assert 4 <= shortest <= longest <= 25


def test_texts_are_ordinary_text(sentences):
    for sentence in sentences:
        for text in (sentence.en, sentence.de):
            assert re.fullmatch(r"[A-ZÄÖÜ][^<>=~|]*\w[.?]", text)
            assert "  " not in text
            assert " ," not in text
        assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", sentence.en)
        assert not re.search(r"\b(in dem|zu dem|zu der|von dem|an dem|bei dem|in das|an das)\b", sentence.de)


# -- sampling


def test_a_seed_gives_the_same_sentences_everywhere(grammar):
    text = "\n".join(f"{s.en}\t{s.de}\t{sorted(s.labels.items())}" for s in grammar.sample(200, seed=0))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "19f0f6250d61bb16"


def test_prefixes_agree_and_seeds_differ(grammar):
    assert grammar.sample(20, seed=3)[:10] == grammar.sample(10, seed=3)
    assert grammar.sample(10, seed=3) != grammar.sample(10, seed=4)


def test_sampled_frequencies_are_the_probabilities(productions, sentences):
    n, expected = len(sentences), defaultdict(float)
    kinds = defaultdict(float)
    for branch in productions.branches:
        expected["topic", branch.topic] += branch.p
        kinds[branch.kind] += branch.p
    for kind, p in kinds.items():
        for template in productions.templates[kind]:
            for item in template.labels.items():
                expected[item] += p * template.p
    counts = Counter(item for sentence in sentences for item in sentence.labels.items())
    for item, p in expected.items():
        assert abs(counts[item] - n * p) <= 4.5 * math.sqrt(n * p * (1 - p))


# -- exact probabilities


@pytest.mark.parametrize("language", ["en", "de"])
def test_parsing_gives_the_probability_of_the_one_derivation(grammar, sentences, language):
    for sentence in sentences[:400]:
        assert grammar.log_prob(getattr(sentence, language), language) == pytest.approx(
            sentence.log_prob, abs=1e-9
        )


def test_the_two_sides_determine_each_other(sentences):
    pairs = {(sentence.en, sentence.de) for sentence in sentences}
    assert len({en for en, _ in pairs}) == len(pairs) == len({de for _, de in pairs})


def test_probabilities_sum_to_one(productions):
    for choices in (productions.branches, *productions.rules.values(), *productions.templates.values()):
        assert sum(choice.p for choice in choices) == pytest.approx(1)


def test_rules_are_synchronous(productions):
    """Both sides contain the same non-terminals, each once; otherwise the English would not determine the German."""

    def check(rule):
        both = [sorted(filter(is_symbol, side)) for side in (rule.en, rule.de)]
        assert both[0] == both[1]
        assert len(set(both[0])) == len(both[0])

    for rule in itertools.chain(*productions.rules.values()):
        check(rule)
    unlike = {}  # one branch of each kind stands for all that fill the same slots with non-terminals
    for branch in productions.branches:
        filled = [(slot, item) for slot, items in branch.slots.items() for item in items if is_symbol(item)]
        assert len({item for _, item in filled}) == len(filled)
        unlike[branch.kind, frozenset(slot for slot, _ in filled)] = branch
    for branch in unlike.values():
        for template in productions.templates[branch.kind]:
            check(branch.fill(template))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", "en"),
        (".", "en"),
        ("Colourless green ideas sleep furiously.", "en"),
        ("the cook baked a cake.", "en"),
        ("The cook baked an cake.", "en"),
        ("The cook baked a cake", "en"),
        ("The cook baked a  cake.", "en"),
        ("The cook baked a cake. ", "en"),
        ("The cook bakes a cake yesterday.", "en"),
        ("Der Koch hat einen Kuchen gebacken.", "en"),
        ("The cook baked a cake.", "de"),
    ],
)
def test_other_strings_have_probability_zero(grammar, text, language):
    assert grammar.log_prob("The cook baked a cake.", "en") > -math.inf
    assert grammar.log_prob(text, language) == -math.inf


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("Der junge Koch hat einen Kuchen gebacken.", "Der junger Koch hat einen Kuchen gebacken."),
        ("Mein junger Koch hat einen Kuchen gebacken.", "Mein junge Koch hat einen Kuchen gebacken."),
        ("Die Köche backen keinen Kuchen mehr.", "Die Köche backen nicht einen Kuchen mehr."),
        ("Die Gäste haben den Küchenchef gelobt.", "Die Gäste haben der Küchenchef gelobt."),
        ("Ich koche die Suppe.", "Ich kocht die Suppe."),
        ("Hey, kochst du die Suppe?", "Hey, kocht du die Suppe?"),
        ("Gestern hat der Koch die Suppe gekocht.", "Gestern der Koch hat die Suppe gekocht."),
        ("Ich wette, dass der Koch die Suppe kocht.", "Ich wette, dass der Koch kocht die Suppe."),
        ("Der Bäcker rührt den Teig um.", "Der Bäcker umrührt den Teig."),
        ("Ich wette, dass der Bäcker den Teig umrührt.", "Ich wette, dass der Bäcker den Teig rührt um."),
        ("Die Gäste haben am Wein genippt.", "Die Gäste haben an dem Wein genippt."),
        ("Der Server ist im Labor abgestürzt.", "Der Server hat im Labor abgestürzt."),
        ("Die Direktoren haben den Sponsoren gedankt.", "Die Direktoren haben die Sponsoren gedankt."),
        ("Ich winke den Verehrern.", "Ich winke den Verehrer."),
    ],
)
def test_german_agreement_and_word_order(grammar, right, wrong):
    assert grammar.log_prob(right, "de") > -math.inf
    assert grammar.log_prob(wrong, "de") == -math.inf


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "de"])
def test_every_factor_can_be_told_from_the_text(productions, sentences, language):
    """If the derivations with a sentence's label are removed, the sentence is no longer in the language."""
    groups = defaultdict(list)
    for sentence in sentences:
        for item in sentence.labels.items():
            groups[item].append(getattr(sentence, language))
    for (factor, value), texts in groups.items():
        others = Parser(without(productions, factor, value), language)
        assert not any(others.probability(text) for text in texts[:4])


def without(productions, factor, value):
    """Returns the productions that do not have the label."""
    if factor == "topic":
        return replace(productions, branches=[b for b in productions.branches if b.topic != value])
    templates = {
        kind: [template for template in templates if template.labels[factor] != value]
        for kind, templates in productions.templates.items()
    }
    return replace(productions, templates=templates)


def test_register_shows_in_the_words(sentences):
    for sentence in sentences:
        short = re.search(r"n't\b|'ll\b", sentence.en)
        assert not (short and sentence.labels["register"] == "formal")
        if sentence.labels["person"] == "second":
            familiar = re.search(r"\b[Dd]u\b", sentence.de)
            assert bool(familiar) == (sentence.labels["register"] == "informal")


# -- entropy


def test_entropy_is_the_mean_surprise(grammar, sentences):
    surprises = [-sentence.log_prob for sentence in sentences]
    mean = sum(surprises) / len(surprises)
    deviation = math.sqrt(sum((s - mean) ** 2 for s in surprises) / (len(surprises) - 1))
    assert abs(mean - grammar.entropy()) < 4 * deviation / math.sqrt(len(surprises))


@pytest.fixture(scope="module")
def small_source():
    """The embedded grammar with shorter lists, so that all its sentences can be enumerated."""
    source = yaml.load(GRAMMAR.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    topic = source["topics"]["cooking"]
    topic |= {key: topic[key][:1] for key in ("where", "when", "how")}
    topic["subjects"] = {"cooks": {"nouns": topic["subjects"]["cooks"]["nouns"][:2]}}
    topic["frames"] = [
        {
            "who": "cooks",
            "verb": "cook = kochen kocht gekocht",
            "what": ["the soup = f Suppe", "a stew = m Eintopf"],
        },
        {"who": "cooks", "verb": "stir:stirred = um|rühren rührt umgerührt", "what": ["the soup = f Suppe"]},
    ]
    topic["adjectives"]["people"] = []
    source["adjectives"]["people"] = ["young = jung"]
    source["topics"] = {"cooking": topic}
    source["factors"]["tense"] = {"past": 0.6, "present": 0.4}
    source["factors"]["register"] = {"neutral": 0.5, "informal": 0.5}
    source["leads"]["statement"]["informal"] = {"inverted": {"share": 1, "words": ["Luckily, = Zum Glück"]}}
    source["leads"]["question"]["informal"] = {"inverted": {"share": 1, "words": ["Hey, = Hey,"]}}
    source["times"] = {key: pairs[:1] for key, pairs in source["times"].items()}
    source["reasons"] = {
        tense: {who: pairs[:1] if who == "any" else [] for who, pairs in table.items()}
        for tense, table in source["reasons"].items()
    }
    source["origins"] = source["origins"][:1]
    source["names"] = {number: names[:1] for number, names in source["names"].items()}
    source["modal adverbs"] = source["modal adverbs"][:1]
    source["subject determiners"] = {n: {"own": ["the"], "other": ["the"]} for n in ("singular", "plural")}
    return source


@pytest.fixture(scope="module")
def small(small_source):
    return Grammar(small_source)


def strings(productions, language):
    """Enumerates a language: {text: probability}."""
    found = defaultdict(float)

    @functools.cache
    def options(item):
        if not is_symbol(item):
            return [((item,), 1.0)]
        rules = productions.rules[item]
        return [(words, rule.p * p) for rule in rules for words, p in expand(getattr(rule, language))]

    def expand(items):
        expansions = [((), 1.0)]
        for item in items:
            expansions = [(words + more, p * q) for words, p in expansions for more, q in options(item)]
        return expansions

    for branch in productions.branches:
        for template in productions.templates[branch.kind]:
            for words, p in expand(getattr(branch.fill(template), language)):
                found[spell(words, language)] += branch.p * template.p * p
    return found


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_small_grammar_written_out(small, language):
    probabilities = strings(small.productions, language)
    assert 1_000 < len(probabilities) < 100_000
    assert sum(probabilities.values()) == pytest.approx(1)
    entropy = -sum(p * math.log(p) for p in probabilities.values())
    assert small.entropy() == pytest.approx(entropy, rel=1e-9)
    for text, p in itertools.islice(probabilities.items(), 0, None, 60):
        assert small.log_prob(text, language) == pytest.approx(math.log(p))


def test_ambiguous_texts_are_summed(small, small_source):
    topic = small_source["topics"]["cooking"]
    twice = Grammar(small_source | {"topics": {"cooking": topic, "bakery": topic}})
    text = "The young cook cooked the soup."
    assert twice.log_prob(text) == pytest.approx(small.log_prob(text))


# -- mistakes and the command line


def test_mistakes_are_explained(grammar, tmp_path: Path):
    with pytest.raises(UserError, match="expected a grammar file"):
        Grammar.load(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("topics: [", encoding="utf-8")
    with pytest.raises(UserError, match="in YAML"):
        Grammar.load(bad)
    bad.write_text("topics: {}", encoding="utf-8")
    with pytest.raises(UserError, match="format"):
        Grammar.load(bad)
    with pytest.raises(UserError, match="'en' or 'de'"):
        grammar.log_prob("text", "fr")
    with pytest.raises(UserError, match="n >= 0"):
        grammar.sample(-1, seed=0)


def test_a_phrase_listed_twice_is_refused(small_source):
    topic = small_source["topics"]["cooking"] | {"where": ["at home = zu Hause", "in the house = zu Hause"]}
    with pytest.raises(UserError, match="twice"):
        Grammar(small_source | {"topics": {"cooking": topic}})


def test_command_line(grammar, capsys):
    main(["-n", "3", "--seed", "3", "--language", "both", "--labels"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(len(line.split("\t")) == 3 + len(grammar.factors) for line in lines)
