"""The embedded corpus: a synchronous probabilistic grammar of everyday English and German.

Input: a grammar file, then a number of sentences and a seed, or a text. Output: sentence pairs with their labels, or
log p(text); and the entropy. A sentence pair is generated in three steps::

    b ~ p(b)                 a branch: topic, verb with its frame, kind of object
    t ~ p(t | kind of b)     a template: tense, number, polarity, register, type, person; both word orders
    s ~ prod_k p(s_k | b)    what fills the slots of the template: subject, object, place, time, ...

Each slot is a non-terminal of a synchronous context-free grammar without recursion: a rule rewrites it to an
English and a German sequence that hold the same non-terminals, each once. Hence, for a derivation
d = (b, t, s),

    log p(d) = log p(b) + log p(t | b) + sum_k log p(s_k | b),

    H(d) = H(b) + sum_b p(b) [ H(t | b) + sum_t p(t | b) sum_k H(s_k | b) ],

    H(A) = sum_r p(r | A) [ -log p(r | A) + sum_{B in r} H(B) ]   for a non-terminal A.

The probability of a *string* is the sum over its derivations. The grammar in `data/grammar.yaml` is written so that
each string has one derivation (`tests/text/test_grammar.py` checks it). Therefore the probability and the entropy of
the English text, of the German text and of the pair are those of the derivation.
"""

from __future__ import annotations

import argparse
import math
import random
from bisect import bisect
from collections import ChainMap, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from itertools import accumulate
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml

from textvae.support.errors import UserError
from textvae.support.seeds import check_seed
from textvae.text.clauses import Items, Template
from textvae.text.morphology import Language, spell
from textvae.text.parser import Parser
from textvae.text.productions import Branch, Rule, build_productions, is_symbol

Choice = TypeVar("Choice", bound=Branch | Template | Rule)


@dataclass(frozen=True)
class Sentence:
    """A sentence pair, its factors, and log p (nats) of the pair, which is also log p of each sentence."""

    en: str
    de: str
    labels: dict[str, str]
    log_prob: float


class Grammar:
    """A synchronous probabilistic grammar. It samples sentence pairs and computes the probability of any string.

    Attributes:
        factors: the values of each labelled factor, "topic" first.
        productions: the branches, templates and rules.
    """

    def __init__(self, source: dict[str, Any]) -> None:
        """Builds the grammar.

        Args:
            source: the parsed contents of a grammar file; `data/README.md` describes the format.
        """
        self.productions = build_productions(source)
        self.factors: dict[str, tuple[str, ...]] = {"topic": tuple(source["topics"])} | {
            name: tuple(values) for name, values in source["factors"].items()
        }
        self._branches = _Urn(self.productions.branches)
        self._templates = {kind: _Urn(templates) for kind, templates in self.productions.templates.items()}
        self._rules = {symbol: _Urn(rules) for symbol, rules in self.productions.rules.items()}
        self._parsers = {"en": Parser(self.productions, "en"), "de": Parser(self.productions, "de")}

    @classmethod
    def load(cls, path: str | Path | None = None) -> Grammar:
        """Returns the grammar in a YAML file.

        Args:
            path: the file; None for the grammar that comes with the package.

        Raises:
            UserError: if the file is missing, is not YAML, or does not have the format.
        """
        text = _read(path)
        try:
            return cls(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
        except yaml.YAMLError as error:
            raise UserError(f"expected a grammar in YAML, got: {error}; fix that line") from error
        except UserError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise UserError(
                f"expected the format of data/grammar.yaml, got {error!r}; compare that file"
            ) from error

    # -- generating

    def sample(self, n: int, seed: int) -> list[Sentence]:
        """Returns `n` independent sentence pairs. With the same seed they are the same on every machine."""
        if n < 0:
            raise UserError(f"expected a number of sentences n >= 0, got {n}; pass a larger n")
        # `Random.random` is the only generator that the standard library promises never to change.
        rng = random.Random(seed)
        return [self._sample_one(rng) for _ in range(n)]

    def _sample_one(self, rng: random.Random) -> Sentence:
        branch = self._branches.draw(rng)
        template = self._templates[branch.kind].draw(rng)
        en, de, log_prob = self._realise(branch.fill(template), rng)
        labels = {"topic": branch.topic} | template.labels
        return Sentence(spell(en, "en"), spell(de, "de"), labels, log_prob + math.log(branch.p))

    def _realise(self, rule: Rule, rng: random.Random) -> tuple[Items, Items, float]:
        """Draws words for all non-terminals of a rule; returns its English words, its German words and log p (nats)."""
        below = {
            symbol: self._realise(self._rules[symbol].draw(rng), rng) for symbol in filter(is_symbol, rule.en)
        }
        en = tuple(word for item in rule.en for word in (below[item][0] if item in below else (item,)))
        de = tuple(word for item in rule.de for word in (below[item][1] if item in below else (item,)))
        return en, de, math.log(rule.p) + sum(log_prob for _, _, log_prob in below.values())

    # -- scoring

    def log_prob(self, text: str, language: Language = "en") -> float:
        """Returns log p(text) in nats, summed over all derivations; -inf if the text is not in the language."""
        if language not in self._parsers:
            raise UserError(f"expected language 'en' or 'de', got {language!r}; pass one of the two")
        p = self._parsers[language].probability(text)
        return math.log(p) if p > 0 else -math.inf

    # -- entropy

    def entropy(self) -> float:
        """Returns the exact entropy of a derivation in nats per sentence.

        If the grammar is unambiguous, this is also the entropy of the English text, of the German text and of the
        pair; otherwise it is an upper bound on these.
        """
        kinds = self.productions.templates
        inside = {kind: _surprise(templates) for kind, templates in kinds.items()}
        uses = {kind: _expected_uses(templates) for kind, templates in kinds.items()}
        total = _surprise(self.productions.branches)
        for branch in self.productions.branches:
            slots = {
                slot: sum(self._entropies[item] for item in items if is_symbol(item))
                for slot, items in branch.slots.items()
            }
            known = ChainMap(slots, self._entropies)
            below = sum(n * known[item] for item, n in uses[branch.kind].items())
            total += branch.p * (inside[branch.kind] + below)
        return total

    @cached_property
    def _entropies(self) -> dict[str, float]:
        """The entropy of each non-terminal, in nats."""
        known: dict[str, float] = {}

        def entropy(symbol: str) -> float:
            if symbol not in known:
                rules = self.productions.rules[symbol]
                below = sum(n * entropy(inner) for inner, n in _expected_uses(rules).items())
                known[symbol] = _surprise(rules) + below
            return known[symbol]

        return {symbol: entropy(symbol) for symbol in self.productions.rules}


class _Urn(Generic[Choice]):
    """A list of alternatives, drawn by their probabilities."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        self.choices = choices
        self.totals = list(accumulate(choice.p for choice in choices))

    def draw(self, rng: random.Random) -> Choice:
        place = bisect(self.totals, rng.random() * self.totals[-1])
        return self.choices[min(place, len(self.choices) - 1)]


def _surprise(choices: Sequence[Choice]) -> float:
    """Returns the entropy of one choice, in nats."""
    return -sum(choice.p * math.log(choice.p) for choice in choices)


def _expected_uses(choices: Sequence[Rule] | Sequence[Template]) -> dict[str, float]:
    """Returns the mean number of times that each non-terminal is used."""
    uses: dict[str, float] = defaultdict(float)
    for choice in choices:
        for item in filter(is_symbol, choice.en):
            uses[item] += choice.p
    return uses


def _read(path: str | Path | None) -> str:
    """Returns the text of a grammar file. The embedded one is in the wheel or at the root of a checkout."""
    installed = resources.files("textvae") / "data" / "grammar.yaml"
    checkout = Path(__file__).parents[2] / "data" / "grammar.yaml"
    try:
        if path is not None:
            return Path(path).read_text(encoding="utf-8")
        return (installed if installed.is_file() else checkout).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"expected a grammar file, got {error}; check the path") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one sentence per line; columns are separated by tabs."""
    parser = argparse.ArgumentParser(
        prog="python -m textvae.text.grammar", description="Sample the embedded corpus."
    )
    parser.add_argument("-n", type=int, default=20, help="number of sentences")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--language", choices=["en", "de", "both"], default="en")
    parser.add_argument("--labels", action="store_true", help="add log p (nats) and the factors")
    options = parser.parse_args(arguments)
    languages = ["en", "de"] if options.language == "both" else [options.language]
    check_seed(options.seed, "--seed")
    for sentence in Grammar.load().sample(options.n, options.seed):
        columns = [getattr(sentence, language) for language in languages]
        if options.labels:
            columns += [f"{sentence.log_prob:.2f}", *sentence.labels.values()]
        print("\t".join(columns))


if __name__ == "__main__":
    main()
