"""The parser: computes the probability of a text under the grammar, summed over all its derivations.

Input: `Productions` and a language, then texts. Output: p(text), which is 0 if the text is not in the language. The
parser shares no code with the sampler in `grammar.py`, so that each can test the other.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from typing import Any, TypeAlias

from textvae.text.clauses import Items
from textvae.text.morphology import Language, Words, readings
from textvae.text.productions import Productions, is_symbol

Reached: TypeAlias = dict[int, float]  # {place in the words: probability of the words up to it}
Alternatives: TypeAlias = dict[str, list[tuple[float, Items]]]  # {first word: rules that begin with it}
Trie: TypeAlias = dict[str, Any]  # {item: what follows}, and a probability under END

END = ANY = ""  # the end of a template; any first word


class Parser:
    """The inside algorithm for one language of a synchronous grammar."""

    def __init__(self, productions: Productions, language: Language) -> None:
        self.productions, self.language = productions, language

    def probability(self, text: str) -> float:
        """Returns p(text)."""
        return sum(self._inside(words) for words in readings(text, self.language))

    def _inside(self, words: Words) -> float:
        """Returns the probability of a sequence of words, summed over the branches."""
        chart = _Chart(words, self._alternatives)
        # Each clause contains a form of its verb, so only branches whose verb is in the text are parsed.
        candidates = set().union(*(self._branches_by_verb.get(word, ()) for word in words))
        return sum(
            branch.p * chart.templates(self._tries[branch.kind], branch.slots, {0: 1.0})
            for branch in (self.productions.branches[i] for i in sorted(candidates))
        )

    @cached_property
    def _branches_by_verb(self) -> dict[str, set[int]]:
        index: dict[str, set[int]] = defaultdict(set)
        for i, branch in enumerate(self.productions.branches):
            for slot, words in branch.slots.items():
                if slot.startswith(f"<{self.language}:"):
                    index[words[0]].add(i)
        return index

    @cached_property
    def _alternatives(self) -> dict[str, Alternatives]:
        """The rules of each non-terminal by their first word; ANY if they do not begin with a word."""
        index: dict[str, Alternatives] = {}
        for symbol, rules in self.productions.rules.items():
            by_word = index[symbol] = defaultdict(list)
            for rule in rules:
                items = getattr(rule, self.language)
                by_word[ANY if not items or is_symbol(items[0]) else items[0]].append((rule.p, items))
        return index

    @cached_property
    def _tries(self) -> dict[str, Trie]:
        """The templates of each kind as a trie, so that templates with the same beginning are parsed together."""
        tries: dict[str, Trie] = {}
        for kind, templates in self.productions.templates.items():
            root = tries[kind] = {}
            for template in templates:
                node = root
                for item in getattr(template, self.language):
                    node = node.setdefault(item, {})
                node[END] = node.get(END, 0.0) + template.p
        return tries


class _Chart:
    """The spans of one sequence of words that each non-terminal can produce; each is computed once."""

    def __init__(self, words: Words, alternatives: dict[str, Alternatives]) -> None:
        self.words, self.alternatives = words, alternatives
        self.spans: dict[tuple[str, int], Reached] = {}

    def templates(self, trie: Trie, slots: dict[str, Items], reached: Reached) -> float:
        """Returns the probability that a template of the trie produces all remaining words."""
        p: float = trie.get(END, 0.0) * reached.get(len(self.words), 0.0)
        for item, below in trie.items():
            if item != END and (following := self.walk(slots.get(item, (item,)), reached)):
                p += self.templates(below, slots, following)
        return p

    def walk(self, items: Iterable[str], reached: Reached) -> Reached:
        """Returns the places where a sequence of items can end if it starts at one of the places in ``reached``."""
        for item in items:
            following: Reached = defaultdict(float)
            for at, p in reached.items():
                if is_symbol(item):
                    for end, q in self.ends(item, at).items():
                        following[end] += p * q
                elif at < len(self.words) and self.words[at] == item:
                    following[at + 1] += p
            reached = following
        return reached

    def ends(self, symbol: str, start: int) -> Reached:
        """Returns {end: p(symbol rewrites to words[start:end])}."""
        if (symbol, start) not in self.spans:
            found: Reached = defaultdict(float)
            by_word = self.alternatives[symbol]
            fitting = by_word.get(self.words[start], ()) if start < len(self.words) else ()
            for p, items in (*fitting, *by_word.get(ANY, ())):
                for end, q in self.walk(items, {start: 1.0}).items():
                    found[end] += p * q
            self.spans[symbol, start] = found
        return self.spans[symbol, start]
