"""Morphology: from dictionary entries to the forms of words, and from sequences of words to spelled text.

Input: entries in the notation of `data/grammar.yaml`, such as "take:took off = ab|nehmen nimmt abgenommen", or
sequences of words. Output: the forms of the entry in both languages, or the text as people write it. `readings` is the
inverse: from a text to its words.
"""

import re
from collections.abc import Iterable
from typing import Literal, TypeAlias

Language: TypeAlias = Literal["en", "de"]
Words: TypeAlias = tuple[str, ...]

CONTRACTIONS = {"an dem": "am", "in dem": "im", "zu dem": "zum", "zu der": "zur", "von dem": "vom",
                "bei dem": "beim", "in das": "ins", "an das": "ans"}  # fmt: skip
EXPANSIONS = {short: full.split() for full, short in CONTRACTIONS.items()}
GENDERS = "mfnp"  # masculine, feminine, neuter, plural: the columns of the declension tables
AUXILIARIES = {
    "haben": {"ich": "habe", "du": "hast", "er": "hat", "sie": "haben"},
    "sein": {"ich": "bin", "du": "bist", "er": "ist", "sie": "sind"},
}

# -- verbs


def verb_forms(entry: str) -> dict[str, Words]:
    """Returns the forms of a verb, by the slot of a clause that each form fills.

    >>> forms = verb_forms("stir:stirred = um|rühren rührt umgerührt")
    >>> forms["<en:s>"], forms["<de:du>"], forms["<de:du:last>"], forms["<aux:du>"], forms["<prefix>"]
    (('stirs',), ('rührst',), ('umrührst',), ('hast',), ('um',))
    """
    english, german = entry.split(" = ")
    return _english_verb(english) | _german_verb(german)


def _english_verb(entry: str) -> dict[str, Words]:
    first, *rest = entry.split()
    base, _, past = first.partition(":")
    regular = re.sub("([^aeiou])yed$", r"\1ied", base + ("d" if base.endswith("e") else "ed"))
    forms = {"<en:base>": base, "<en:s>": _with_s(base, "s|x|z|ch|sh|o"), "<en:past>": past or regular}
    return {slot: (form,) for slot, form in forms.items()} | {"<rest>": tuple(rest)}


def _german_verb(entry: str) -> dict[str, Words]:
    """Returns the forms of a verb such as "um|rühren rührt umgerührt"; ":last" marks forms at the end of a clause."""
    infinitive, er, *more = entry.split()
    with_sein = more[0] == "ist"
    prefix, _, stem = infinitive.rpartition("|")
    ich = stem[:-3] + "le" if stem.endswith("eln") else re.sub("e?n$", "e", stem)
    finite = {"ich": ich, "du": _second_person(stem, er), "er": er, "sie": stem}
    forms = {f"<de:{person}>": form for person, form in finite.items()}
    forms |= {f"<de:{person}:last>": prefix + form for person, form in finite.items()}
    forms |= {
        f"<aux:{person}>": form for person, form in AUXILIARIES["sein" if with_sein else "haben"].items()
    }
    forms |= {"<de:participle>": more[1] if with_sein else more[0], "<de:infinitive>": prefix + stem}
    return {slot: (form,) for slot, form in forms.items()} | {"<prefix>": (prefix,) if prefix else ()}


def _second_person(stem: str, er: str) -> str:
    """Returns the du-form from the er-form: macht, machst; liest, liest; hält, hältst."""
    if re.search("[td]en$", stem) and not er.endswith("et"):
        return er + "st"
    return er if re.search("[sßxz]t$", er) else er[:-1] + "st"


def government(entry: str) -> tuple[Words, str]:
    """Returns the German preposition of a verb's object, if any, and the object's case.

    >>> government("sip at = nippen nippt genippt an+dat"), government("cook = kochen kocht gekocht")
    ((('an',), 'dat'), ((), 'acc'))
    """
    preposition, plus, case = entry.split()[-1].partition("+")
    return (tuple(preposition.split()), case) if plus else ((), "acc")


# -- nouns and adjectives


def noun_forms(entry: str, number: str) -> tuple[Words, Words, str]:
    """Returns a noun in English and in German, and its column of the declension tables.

    >>> noun_forms("police officer = f Polizistin Polizistinnen", "plural")
    (('police', 'officers'), ('Polizistinnen',), 'p')
    """
    english, german = entry.split(" = ")
    gender, singular, plural = german.split()
    base, _, irregular = english.partition(":")
    if number == "singular":
        return tuple(base.split()), (singular,), gender
    return tuple((irregular or _with_s(base, "s|x|ch|sh")).split()), (plural,), "p"


def dative(noun: str, gender: str) -> str:
    """Returns the dative of a German noun: den Köchen, den Autos."""
    return noun + "n" if gender == "p" and noun[-1] not in "ns" else noun


def declined(table: dict[str, str], case: str, gender: str) -> str:
    """Returns the cell of a declension table such as {"acc": "den die das die"}."""
    return table[case].split()[GENDERS.index(gender)]


def _with_s(word: str, hissing: str) -> str:
    """Returns the plural of a noun or the third person of a verb; `hissing` endings take -es."""
    ending = "es" if re.search(f"({hissing})$", word) else "s"
    return re.sub("([^aeiou])ys$", r"\1ies", word + ending)


# -- spelling


def phrase(pair: str) -> tuple[Words, Words]:
    """Returns the words of "at home = zu Hause" in both languages; "Anna" alone is the same in both."""
    en, _, de = pair.partition(" = ")
    return words(en), _expanded(words(de or en), EXPANSIONS)


def words(text: str) -> Words:
    """Returns the words of a text; commas and final punctuation are words of their own."""
    return tuple(re.findall(r"[^\s,.?]+|[,.?]", text))


def spell(sequence: Iterable[str], language: Language) -> str:
    """Returns words as running text: with attached commas, "an", "zum" and "im", and a capital at the start.

    >>> spell(["zu", "dem", "Glück", ",", "ja", "."], "de")
    'Zum Glück, ja.'
    """
    text = re.sub(r" (?=[,.?])", "", " ".join(sequence))
    if language == "en":
        text = re.sub(r"\ba (?=[aeiou])", "an ", text)
    else:
        text = re.sub(rf"\b({'|'.join(CONTRACTIONS)})\b", lambda match: CONTRACTIONS[match[0]], text)
    return text[:1].upper() + text[1:]


def readings(text: str, language: Language) -> set[Words]:
    """Returns the sequences of words that are spelled as the text: at most two, which differ in the first letter."""
    expansions = {"an": ["a"]} if language == "en" else EXPANSIONS
    found = {_expanded(words(start + text[1:]), expansions) for start in {text[:1], text[:1].lower()}}
    return {reading for reading in found if spell(reading, language) == text}


def _expanded(sequence: Words, expansions: dict[str, list[str]]) -> Words:
    return tuple(full for word in sequence for full in expansions.get(word, [word]))
