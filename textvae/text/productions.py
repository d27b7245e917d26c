"""Productions: from a grammar file to the branches, templates and rules of which sentences are made.

Input: the parsed contents of `data/grammar.yaml`, or of a file with its format. Output: `Productions`, where the
probabilities of each list of alternatives sum to 1.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar

from textvae.support.errors import UserError
from textvae.text.clauses import Items, Template, lead_symbol, templates
from textvae.text.morphology import dative, declined, government, noun_forms, phrase, verb_forms, words

Slots: TypeAlias = dict[str, Items]
Weighted: TypeAlias = tuple[float, Items, Items]  # a rule whose weight is not yet a probability
Item = TypeVar("Item")

NUMBERS = ("singular", "plural")


class Rule(NamedTuple):
    """One way to rewrite a non-terminal, with its probability."""

    p: float
    en: Items
    de: Items


class Branch(NamedTuple):
    """A topic, a verb and a kind of object. It fills the slots of those templates that have its kind."""

    p: float
    topic: str
    slots: Slots
    kind: str

    def fill(self, template: Template) -> Rule:
        """Returns the template, with each slot replaced by words and non-terminals."""
        en, de = (
            tuple(filled for item in side for filled in self.slots.get(item, (item,)))
            for side in (template.en, template.de)
        )
        return Rule(template.p, en, de)


@dataclass(frozen=True)
class Productions:
    """All parts of a synchronous grammar.

    Attributes:
        branches: the alternatives at the root.
        templates: the alternatives for each kind of branch.
        rules: the alternatives for each non-terminal.
    """

    branches: list[Branch]
    templates: dict[str, list[Template]]
    rules: dict[str, list[Rule]]


def build_productions(source: dict[str, Any]) -> Productions:
    """Returns the productions of a grammar.

    Args:
        source: the parsed contents of a grammar file; the head of `data/grammar.yaml` describes the notation.

    Raises:
        UserError: if a list contains a phrase twice, or a list of adjectives is missing.
    """
    builder = _Builder(source)
    builder.add_shared_phrases()
    return Productions(list(builder.branches()), builder.templates, builder.rules)


def is_symbol(item: str) -> bool:
    """Returns whether an item is a slot or a non-terminal rather than a word."""
    return item[0] == "<"


class _Builder:
    """Collects rules and templates, topic by topic.

    A non-terminal is added when a branch first needs it, and the methods return its name.
    """

    def __init__(self, source: dict[str, Any]) -> None:
        self.source = source
        self.chance: dict[str, float] = source["chances"]
        self.rules: dict[str, list[Rule]] = {}
        self.templates: dict[str, list[Template]] = {}

    def add(self, symbol: str, weighted: Iterable[Weighted]) -> str:
        """Adds the rules of a non-terminal, with weights scaled to sum 1. Two rules must differ in both languages."""
        rules = [rule for rule in weighted if rule[0] > 0]
        total = sum(weight for weight, _, _ in rules)
        for side in (1, 2):
            twice = [items for items, n in Counter(rule[side] for rule in rules).items() if n > 1]
            if twice:
                raise UserError(
                    f"expected different phrases in {symbol}, got {twice[0]} twice; drop or change one"
                )
        self.rules[symbol] = [Rule(weight / total, en, de) for weight, en, de in rules]
        return symbol

    def add_phrases(self, symbol: str, pairs: Sequence[str], chance: float = 1.0) -> str:
        """Adds a non-terminal for a list of 'English = German' phrases. It is empty with probability 1 - chance."""
        rules = [(chance * weight, *phrase(pair)) for pair, weight in _falling(pairs)]
        return self.add(symbol, [*rules, (1 - chance, (), ())])

    def add_shared_phrases(self) -> None:
        """Adds the phrases that are shared by all topics."""
        for kind, registers in self.source["leads"].items():
            for register, leads in registers.items():
                for order, lead in leads.items():
                    if "words" in lead:
                        self.add_phrases(lead_symbol(kind, register, order), lead["words"])
        for tense, reasons in self.source["reasons"].items():
            for who in ("any", "I", "we", "they"):
                clauses = reasons["any"] + (reasons[who] if who != "any" else [])
                self.add_phrases(f"<why.{tense}.{who}>", clauses, self.chance["reason"])
        for key, times in self.source["times"].items():
            self.add_phrases(f"<time.{key}>", times)
        self.add_phrases("<modal>", self.source["modal adverbs"], self.chance["modal adverb"])
        self.add_phrases("<origin>", self.source["origins"])
        for number in NUMBERS:
            self.add_phrases(f"<name.{number}>", self.source["names"][number])

    # -- branches

    def branches(self) -> Iterator[Branch]:
        """Yields all branches and adds the rules and templates that they need."""
        for (name, topic), p_topic in _falling(self.source["topics"].items(), start=20):
            shared = self.topic_slots(name, topic)
            for i, (frame, p_frame) in enumerate(_falling(topic["frames"], start=8)):
                subjects = topic["subjects"][frame["who"]]
                slots = shared | self.subject_slots(f"{name}.{frame['who']}", subjects, name)
                slots |= verb_forms(frame["verb"]) | self.frame_slots(f"{name}.{i}", frame, name)
                for objects, share, filled in self.objects(f"{name}.{i}", frame, name):
                    kind = self.kind(objects, subjects.get("speakers", True))
                    yield Branch(p_topic * p_frame * share, name, slots | filled, kind)

    def kind(self, objects: str, speakers: bool) -> str:
        """Adds the templates for a kind of object and for subjects that can, or cannot, be "I", "we" or "you"."""
        kind = f"{objects}, {'speakers' if speakers else 'others'}"
        if kind not in self.templates:
            self.templates[kind] = templates(self.source, objects, speakers)
        return kind

    def topic_slots(self, name: str, topic: dict[str, Any]) -> Slots:
        """Adds the places, manners and times of a topic."""
        slots: Slots = {
            "<place>": (self.add_phrases(f"<{name}.place>", topic["where"], self.chance["place"]),),
            "<how>": (self.add_phrases(f"<{name}.how>", topic["how"], self.chance["manner"]),),
        }
        self.add_phrases(f"<{name}.place!>", topic["where"])
        occasions = (self.add_phrases(f"<{name}.occasion>", topic["when"]),)
        share = self.chance["occasion"]
        for key in self.source["times"]:
            times = (f"<time.{key}>",)
            rules = [(share, occasions, occasions), (1 - share, times, times)]
            slots[f"<time.{key}>"] = (self.add(f"<{name}.time.{key}>", rules),)
        return slots

    def frame_slots(self, name: str, frame: dict[str, Any], topic: str) -> Slots:
        """Adds manners and places that replace those of the topic. An intransitive verb always has a place."""
        slots: Slots = {}
        if "how" in frame:
            slots["<how>"] = (self.add_phrases(f"<{name}.how>", frame["how"], self.chance["manner"]),)
        if "where" in frame:
            chance = self.chance["place"] if "what" in frame else 1.0
            slots["<place>"] = (self.add_phrases(f"<{name}.place>", frame["where"], chance),)
        elif "what" not in frame:
            slots["<place>"] = (f"<{topic}.place!>",)
        return slots

    # -- subjects and objects

    def subject_slots(self, name: str, group: dict[str, Any], topic: str) -> Slots:
        """Adds the subject phrases of a group of nouns: 'the young doctor = der junge Arzt', or a name."""
        for number in NUMBERS:
            if f"<{name}.{number}>" not in self.rules:
                self.add(f"<{name}.{number}>", self.subject_rules(group, number, topic))
        return {f"<subject.{number}>": (f"<{name}.{number}>",) for number in NUMBERS}

    def subject_rules(self, group: dict[str, Any], number: str, topic: str) -> list[Weighted]:
        """Returns the rules of a group of subjects."""
        speakers = group.get("speakers", True)
        away = self.chance["origin"] * group.get("strangers", speakers)
        usual = group.get("determiners", "own" if speakers else "other")
        determiners = self.source["subject determiners"][number][usual]
        adjectives = self.adjective_list(group.get("adjectives", "people"), topic)
        rules: list[Weighted] = []
        for noun, weight in _falling(group["nouns"]):
            en, de, gender = noun_forms(noun, number)
            before = self.before_noun(determiners, adjectives, gender, "nom")
            article = self.before_noun(determiners, [], gender, "nom")
            rules.append((weight * (1 - away), (before, *en), (before, *de)))
            rules.append((weight * away, (article, *en, "<origin>"), (article, *de, "<origin>")))
        if not speakers:
            return rules
        name, chance = (f"<name.{number}>",), self.chance["name"]
        return [*((weight * (1 - chance), en, de) for weight, en, de in rules), (chance, name, name)]

    def objects(self, name: str, frame: dict[str, Any], topic: str) -> Iterator[tuple[str, float, Slots]]:
        """Yields (kind, share of the frame, slots) for the kinds of object that a frame has."""
        if "what" not in frame:
            yield "none", 1.0, {"<object>": ()}
            return
        adjectives = self.adjective_list(frame["adjectives"], topic) if "adjectives" in frame else []
        preposition, case = government(frame["verb"])
        kinds: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for entry, weight in _falling(frame["what"]):
            article = "def" if entry.startswith("the ") else "indef"
            kinds["prep" if preposition else article].append((entry, weight))
        for kind, entries in kinds.items():
            slots: Slots = {}
            for no in ("", ".no") if kind == "indef" else ("",):
                phrases = [(w, *self.object_phrase(e, adjectives, case, bool(no))) for e, w in entries]
                rules = [(weight, en, (*preposition, *de)) for weight, en, de in phrases]
                slots[f"<object{no}>"] = (self.add(f"<{name}.{kind}{no}>", rules),)
            yield kind, sum(weight for _, weight in entries), slots

    def object_phrase(
        self, entry: str, adjectives: list[str], case: str, negated: bool
    ) -> tuple[Items, Items]:
        """Returns both sides of an object such as 'the ~soup = f Suppe'; an adjective can replace ~."""
        en, de = entry.split(" = ")
        gender, noun = de.split()
        article = en.split()[0] if en.startswith(("the ", "a ")) else ""
        described = "~" in en
        english = en.removeprefix(article).strip().removeprefix("~")
        if described and not adjectives:
            raise UserError(
                f"expected adjectives for {entry!r}, got none; add 'adjectives:' to its frame or drop ~"
            )
        # If there is no article, there is always an adjective, so that no sentence is shorter than four words.
        chance = self.chance["adjective"] if article else 1.0
        determiner = (article or "none") + " negated" * negated
        before = self.before_noun([determiner], adjectives if described else [], gender, case, chance)
        return (before, *english.split()), (before, dative(noun, gender) if case == "dat" else noun)

    def adjective_list(self, name: str, topic: str) -> list[str]:
        """Returns the list of adjectives with this name: those of the topic, followed by the shared ones."""
        own, shared = self.source["topics"][topic]["adjectives"], self.source["adjectives"]
        if name not in own and name not in shared:
            raise UserError(
                f"expected a list of adjectives, got {name!r} in {topic}; add it to the topic's adjectives"
            )
        return own.get(name, []) + shared.get(name, [])

    def before_noun(
        self,
        determiners: list[str],
        adjectives: list[str],
        gender: str,
        case: str,
        chance: float | None = None,
    ) -> str:
        """Adds the words before a noun: a determiner and perhaps an adjective, which agree with it."""
        chance = (self.chance["adjective"] if chance is None else chance) if adjectives else 0.0
        symbol = f"<{'/'.join(determiners)}.{gender}.{case}.{chance}.{','.join(adjectives)}>"
        if symbol in self.rules:
            return symbol
        rules: list[Weighted] = []
        for name, weight in _falling(determiners, start=1):
            entry = self.source["determiners"][name]
            form = declined(entry, case, gender)
            ending = declined(self.source["endings"][entry["endings"]], case, gender)
            en, de = words(entry.get("en", name)), () if form == "-" else (form,)
            rules.append((weight * (1 - chance), en, de))
            for adjective, share in _falling(adjectives):
                english, stem = adjective.split(" = ")
                rules.append((weight * share * chance, (*en, *english.split()), (*de, stem + ending)))
        return self.add(symbol, rules)


def _falling(items: Collection[Item], start: int = 3) -> list[tuple[Item, float]]:
    """Returns items with weights proportional to 1 / (start + k) and sum 1; the first item is the most frequent."""
    weights = [1 / (start + k) for k in range(len(items))]
    return [(item, weight / sum(weights)) for item, weight in zip(items, weights, strict=True)]
