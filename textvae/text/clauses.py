"""Clauses: from features such as tense, polarity and register to an English and a German word order.

Input: the factors, leads, negators and times of a grammar file. Output: templates, that is, sequences of words and
slots with their probability and labels. A slot is written "<object>"; `productions.py` fills it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

Items: TypeAlias = tuple[str, ...]  # words, and slots or non-terminals written "<name>"
Features: TypeAlias = dict[str, Any]

# The form of "werden" for each form of a German finite verb.
WERDEN = {"ich": "werde", "du": "wirst", "er": "wird", "sie": "werden"}
CONTRACTED = {"did": "didn't", "will": "won't", "does": "doesn't", "do": "don't"}


class Template(NamedTuple):
    """A clause with its word order in both languages. A branch fills its slots."""

    p: float
    en: Items
    de: Items
    labels: dict[str, str]


def templates(source: dict[str, Any], objects: str, speakers: bool) -> list[Template]:
    """Returns the templates for one kind of object and one kind of subject; their probabilities sum to 1.

    Args:
        source: the parsed contents of a grammar file.
        objects: the kind of object: "def", "indef", "prep" (after a German preposition) or "none".
        speakers: whether the subject can be "I", "we" or "you".
    """
    factors = source["factors"]
    names = [*(name for name in factors if name not in DEPENDENT), *DEPENDENT]
    found: list[tuple[float, Features]] = [(1.0, {"objects": objects, "speakers": speakers})]
    for name in names:
        found = [
            (p * share, f | {name: value})
            for p, f in found
            for value, share in _shares(_options(name, source, f))
        ]
    return [_template(p, Clause(**f), factors) for p, f in found]


def _template(p: float, clause: Clause, factors: Mapping[str, Any]) -> Template:
    return Template(p, clause.english(), clause.german(), {name: getattr(clause, name) for name in factors})


def _options(name: str, source: dict[str, Any], f: Features) -> dict[str, float]:
    """Returns {value: weight} of a feature, given the features chosen before it."""
    return DEPENDENT[name](source, f) if name in DEPENDENT else source["factors"][name]


def _shares(weights: dict[str, float]) -> list[tuple[str, float]]:
    return [(name, weight / sum(weights.values())) for name, weight in weights.items() if weight]


# -- features that depend on those chosen before them, as {value: weight}


def _persons(source: dict[str, Any], f: Features) -> dict[str, float]:
    """Statements may have "I" and "we"; questions may have "du" or "Sie", if their opening addresses somebody."""
    asks = f["type"] == "question"
    addressed = asks and f["register"] != "neutral" and f["number"] == "singular"
    fitting = {"third": True, "first": f["speakers"] and not asks, "second": f["speakers"] and addressed}
    return {person: source["factors"]["person"][person] for person, fits in fitting.items() if fits}


def _negators(source: dict[str, Any], f: Features) -> dict[str, float]:
    if f["polarity"] == "affirmative":
        return {"none": 1}
    negators = source["negators"][f["tense"]]
    return {negator: w for negator, w in negators.items() if f["type"] != "question" or negator != "never"}


def _orders(source: dict[str, Any], f: Features) -> dict[str, float]:
    leads = source["leads"][f["type"]][f["register"]]
    return {order: lead["share"] for order, lead in leads.items() if order != "fronted" or not _timeless(f)}


def _leads(source: dict[str, Any], f: Features) -> dict[str, float]:
    """The opening of a clause is given by its order; it is empty if the grammar lists no words for it."""
    lead = source["leads"][f["type"]][f["register"]][f["order"]]
    return {lead_symbol(f["type"], f["register"], f["order"]) if "words" in lead else "": 1}


def _times(source: dict[str, Any], f: Features) -> dict[str, float]:
    by_polarity = f"{f['tense']} {f['polarity']}"
    slot = f"<time.{by_polarity if by_polarity in source['times'] else f['tense']}>"
    chance = 0.0 if _timeless(f) else 1.0 if f["order"] == "fronted" else source["chances"]["time"]
    return {"": 1 - chance, slot: chance}


def _timeless(f: Features) -> bool:
    return f["negator"] in ("never", "anymore")


def lead_symbol(kind: str, register: str, order: str) -> str:
    """Returns the non-terminal for the openings of a type of clause, such as "I think that"."""
    return f"<lead.{kind}.{register}.{order}>"


DEPENDENT: dict[str, Callable[[dict[str, Any], Features], dict[str, float]]] = {
    "person": _persons,
    "negator": _negators,
    "order": _orders,
    "lead": _leads,
    "time": _times,
}


@dataclass(frozen=True)
class Clause:
    """A clause, described by its features.

    Attributes:
        objects, speakers: see `templates`.
        tense, number, polarity, register, type, person: the factors.
        negator: "none", "not", "never" or "anymore".
        order: the German word order after the opening: "plain", "fronted", "inverted" or "subordinate".
        lead: the slot for the opening; may be empty.
        time: the slot for the time phrase; may be empty.
    """

    objects: str
    speakers: bool
    tense: str
    number: str
    polarity: str
    register: str
    type: str
    person: str
    negator: str
    order: str
    lead: str
    time: str

    # -- English

    def english(self) -> Items:
        """Returns the English side: subject, verb, object, manner, place, time."""
        fronted = self.order == "fronted"
        first = [self.time, ","] if fronted else [self.lead]
        last = ["anymore" if self.negator == "anymore" else "", "" if fronted else self.time, self._reason]
        body = [*self._english_verb(), "<rest>", self._object, self._manner, "<place>"]
        return tuple(filter(None, [*first, *body, *last, self._mark]))

    def _english_verb(self) -> list[str]:
        """Returns the verb with its subject, auxiliary and the adverbs between them."""
        third = self.person == "third" and self.number == "singular"
        subject = {"first": "I" if self.number == "singular" else "we", "second": "you"}.get(
            self.person, f"<subject.{self.number}>"
        )
        head, *after = self._english_auxiliary(third)
        never = ["never"] * (self.negator == "never")
        if self.type == "question" and self.order != "subordinate":
            return [head, subject, *after, "<en:base>"]
        if self._negated:
            return [subject, self._modal, head, *after, "<en:base>"]
        if self.tense == "future":
            short = self.register == "informal" and self.person == "first"
            will = [f"{subject}'ll"] if short else [subject, "will"]
            return [*will, self._modal, *never, "<en:base>"]
        finite = "<en:past>" if self.tense == "past" else "<en:s>" if third else "<en:base>"
        return [subject, self._modal, *never, finite]

    def _english_auxiliary(self, third: bool) -> list[str]:
        auxiliary = {"past": "did", "future": "will", "present": "does" if third else "do"}[self.tense]
        if not self._negated:
            return [auxiliary]
        return [auxiliary, "not"] if self.register == "formal" else [CONTRACTED[auxiliary]]

    # -- German

    def german(self) -> Items:
        """Returns the German side, with the finite verb second, first or last."""
        subject, form = self._german_subject()
        finite, end = {
            "present": (f"<de:{form}>", ["<prefix>"]),
            "past": (f"<aux:{form}>", ["<de:participle>"]),
            "future": (WERDEN[form], ["<de:infinitive>"]),
        }[self.tense]
        middle = self._german_middle()
        if self.order == "subordinate":
            last = [f"<de:{form}:last>"] if self.tense == "present" else [*end, finite]
            clause = [subject, *middle, *last]
        else:
            two = [subject, finite] if self.order == "plain" else [finite, subject]
            clause = [*two, *middle, *end]
        first = self.time if self.order == "fronted" else self.lead
        return tuple(filter(None, [first, *clause, self._reason, self._mark]))

    def _german_subject(self) -> tuple[str, str]:
        """Returns the subject and the form of the verb that agrees with it."""
        singular = self.number == "singular"
        return {
            "first": ("ich", "ich") if singular else ("wir", "sie"),
            "second": ("Sie", "sie") if self.register == "formal" else ("du", "du"),
            "third": (f"<subject.{self.number}>", "er" if singular else "sie"),
        }[self.person]

    def _german_middle(self) -> list[str]:
        """Returns the words and slots between the two parts of the verb."""
        negator = {"not": ["nicht"], "anymore": ["nicht", "mehr"]}.get(self.negator, [])
        if self._object == "<object.no>":
            what = [self._object, *["mehr"] * (self.negator == "anymore")]
        elif self.objects == "prep":
            what = [self._manner, *negator, self._object]
        else:
            what = [self._object, self._manner, *negator]
        # "nie" comes early; "nicht" comes before the place if there is no object: "schläft nicht im Korb".
        where = [*what, "<place>"] if self.objects == "none" else ["<place>", *what]
        never = "nie" if self.negator == "never" else ""
        return [self._modal, never, "" if self.order == "fronted" else self.time, *where]

    # -- slots of both languages; empty if the clause has none

    @property
    def _negated(self) -> bool:
        return self.negator in ("not", "anymore")

    @property
    def _object(self) -> str:
        """The slot for the object; with "kein" if it is indefinite and negated."""
        return "<object.no>" if self.objects == "indef" and self._negated else "<object>"

    @property
    def _manner(self) -> str:
        return "<how>" if self.polarity == "affirmative" and self.order != "subordinate" else ""

    @property
    def _modal(self) -> str:
        """The slot for words such as 'probably', in statements whose opening does not already say so."""
        open_order = self.order in ("plain", "fronted")
        return "<modal>" if open_order and self.type == "statement" and self.negator != "never" else ""

    @property
    def _reason(self) -> str:
        """The slot for phrases such as 'because they were tired', which agree with the subject."""
        subordinate = self.order == "subordinate"
        if self.type == "question" or subordinate or self.polarity == "negative" or self.time:
            return ""
        plural = self.number == "plural"
        if self.person == "first":
            return f"<why.{self.tense}.{'we' if plural else 'I'}>"
        return f"<why.{self.tense}.{'they' if plural and self.speakers else 'any'}>"

    @property
    def _mark(self) -> str:
        return "?" if self.type == "question" else "."
