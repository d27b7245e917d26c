"""Choose settings, with reasons, for a new corpus, from its statistics and the available time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from textvae.support.errors import UserError
from textvae.text.statistics import Statistics, TokenLengths
from textvae.text.tokenizer import PIECES
from textvae.training import rules
from textvae.training.rules import Choice, Tier, percent
from textvae.training.speed import Sizes, Speed, estimated_speed

FEWEST_TEXTS = 20
"""With fewer different texts there is too little to learn from and to measure on."""

OF_TRAINER = 0.9
"""Speed of training divided by the speed of bare steps: batching, padding and the loop take time, too."""

OF_STEPS, OF_MEASURING, OF_PREPARING = 0.8, 0.1, 0.25
"""Shares of the time: for steps, about; for validation and for the test, at most; for preparing texts, at most."""

PREPARING = 1.5e-6
"""Seconds per character to learn the tokenizer and to tokenise."""

LONGER = 10.0
"""The fewest useful steps may take at most this many times the stated time, with a remark."""

SCORING, BESIDE = 0.4, 2.0
"""Cost of measuring a token, in tokens of training: for each draw of z, and once for everything else."""

REFERENCE = 32
"""Batch size at which speeds are compared."""

SECTIONS = ("corpus", "tokenizer", "model", "objective", "training", "evaluation")


@dataclass(frozen=True)
class Plan:
    """The choices for a corpus.

    Attributes:
        choices: the choices, in the order of a recipe.
        remarks: sentences that the user should read.
        seconds: predicted total time at the given speed: time already spent, preparing, training and measuring.
    """

    choices: tuple[Choice, ...]
    remarks: tuple[str, ...]
    seconds: float

    def __getitem__(self, key: str) -> Any:
        """The value for a key."""
        return self.values()[key]

    def values(self) -> dict[str, Any]:
        """The values by key."""
        return {choice.key: choice.value for choice in self.choices}

    def sections(self) -> dict[str, Any]:
        """The values as nested sections of a recipe."""
        sections: dict[str, Any] = {}
        for key, value, _ in self.choices:
            *parents, name = key.split(".")
            place = sections
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = value
        return sections

    def __str__(self) -> str:
        """A line ``key: value  # reason`` for each choice, then the remarks."""
        said = [f"{key}: {'null' if value is None else value}" for key, value, _ in self.choices]
        width = max(map(len, said))
        lines = [
            f"{left:{width}}  # {choice.reason}" for left, choice in zip(said, self.choices, strict=True)
        ]
        return "\n".join([*lines, *self.remarks])


@dataclass
class _Draft:
    """An unfinished plan. Values that the user has set are kept, and the others are chosen to fit them."""

    statistics: Statistics
    minutes: float
    spent: float
    speed: Speed
    given: Mapping[str, Any]
    choices: dict[str, Choice] = field(default_factory=dict)

    def take(self, choice: Choice) -> Any:
        """Add a choice; return the user's value if there is one, otherwise the chosen one."""
        if choice.key in self.given:
            choice = Choice(choice.key, self.given[choice.key], "as you set it")
        self.choices[choice.key] = choice
        return choice.value

    def __getitem__(self, key: str) -> Any:
        """The chosen value, or else the user's; None if there is neither."""
        return self.choices[key].value if key in self.choices else self.given.get(key)

    @property
    def seconds(self) -> float:
        """The time that is left, but at least half of the given time, so that something is learnt."""
        return max(60 * self.minutes - self.spent, 30 * self.minutes)

    @property
    def vocabulary_size(self) -> int:
        """The vocabulary size; if it has no limit, the largest that is ever chosen."""
        return self["tokenizer.vocabulary_size"] or self.most_tokens

    @property
    def most_tokens(self) -> int:
        """The largest vocabulary that is ever chosen."""
        return rules.WORDS if self["tokenizer.kind"] == "words" else PIECES

    @property
    def tokens(self) -> TokenLengths:
        """Lengths of the texts in tokens."""
        return self.statistics.tokens(self["tokenizer.kind"], self.vocabulary_size)

    @property
    def maximum_length(self) -> float:
        """Number of tokens that are read of the longest text."""
        return self["tokenizer.maximum_length"] or self.tokens.quantile(1)

    @property
    def length(self) -> float:
        """Mean number of tokens that are read of a text."""
        return self.tokens.mean(self.maximum_length)

    @property
    def texts(self) -> int:
        """Number of different texts to train on."""
        of_all = self.statistics.texts
        held_out = sum(self[f"corpus.{split}_size"] or 0 for split in ("validation", "test"))
        # The user may give a size as a share.
        kept = 1 - (held_out if held_out < 1 else held_out / of_all)
        rest = max(1, round(self.statistics.distinct * kept))
        return min(rest, self["corpus.maximum_train"] or rest)

    @property
    def few(self) -> bool:
        """Whether there are so few texts that a model can only memorise them."""
        return self.statistics.distinct < rules.FEW_TEXTS

    @property
    def steps(self) -> int:
        """Number of steps in the run."""
        of_pass = math.ceil(self.texts / self["training.per_device_train_batch_size"])
        return self["training.max_steps"] or math.ceil(self["training.num_train_epochs"] * of_pass)

    @property
    def passes(self) -> float:
        """Number of passes over the texts."""
        return self.steps * self["training.per_device_train_batch_size"] / self.texts

    def rate(
        self, embedding: int, hidden: int, latent: int, *, vocabulary: int, batch: int, length: float
    ) -> float:
        """Training speed of a model of these sizes, in tokens per second."""
        sizes = Sizes(vocabulary, embedding, hidden, latent, batch, length)
        return OF_TRAINER * self.speed(sizes)

    def chosen_rate(self, batch: int) -> float:
        """Training speed for the chosen sizes and this batch size, in tokens per second."""
        sizes = (self[f"model.{name}_size"] for name in ("embedding", "hidden", "latent"))
        return self.rate(*sizes, vocabulary=self.vocabulary_size, batch=batch, length=self.length)


def plan(
    statistics: Statistics,
    minutes: float,
    speed: Speed = estimated_speed,
    given: Mapping[str, Any] | None = None,
    spent: float = 0.0,
) -> Plan:
    """Choose the settings of a text VAE for a corpus.

    Args:
        statistics: statistics of the corpus.
        minutes: time for everything. The plan takes less if more training would only overfit.
        speed: returns the training speed for some sizes in tokens per second; called for two to five sizes.
        given: values that the user has set, by key. They are kept, and the others are chosen to fit them.
        spent: seconds of the time that have already passed.

    Raises:
        UserError: if the corpus is too small or the time far too short for anything useful.

    Example:
        >>> from textvae.text.statistics import statistics_of
        >>> texts = [f"the {size} {animal} sleeps" for size in ("old", "big", "red", "wet") for animal in "abcdef"]
        >>> found = plan(statistics_of(texts), minutes=1, speed=lambda sizes: 20_000)
        >>> found["model.hidden_size"], found["training.max_steps"]
        (128, 600)
    """
    _check(statistics, minutes)
    draft = _Draft(statistics, minutes, spent, cache(speed), given or {})
    _choose_tokenizer(draft)
    tier, seen = _choose_sizes(draft)
    _choose_corpus(draft, seen)
    beside = _preparing(draft) + _choose_measuring(draft, seen)
    seconds = spent + beside + _choose_steps(draft, draft.seconds - beside)
    _choose_model(draft)
    _choose_objective(draft)
    for choice in (
        *rules.optimiser(tier, draft.steps),
        *rules.intervals(draft.steps),
        rules.kept_model(draft.few),
    ):
        draft.take(choice)
    choices = sorted(draft.choices.values(), key=lambda choice: SECTIONS.index(choice.key.split(".")[0]))
    return Plan(tuple(choices), tuple(_remarks(draft, seconds)), seconds)


def _check(statistics: Statistics, minutes: float) -> None:
    """Raise an error if no setting can give a useful model."""
    if not 0 < minutes < math.inf:
        raise UserError(f"expected minutes over 0, got {minutes}: say how long training may take")
    if statistics.distinct < FEWEST_TEXTS:
        raise UserError(
            f"expected {FEWEST_TEXTS} different texts or more to learn from, got {statistics.distinct}: give more "
            "or, if they are long, one sentence or paragraph a line"
        )


def _choose_tokenizer(draft: _Draft) -> None:
    """Choose how text becomes tokens."""
    statistics = draft.statistics
    if draft.take(rules.tokenizer_kind(statistics)) == "words":
        draft.take(rules.word_vocabulary(statistics))
        return
    draft.take(rules.algorithm())
    draft.take(rules.piece_vocabulary(statistics))
    draft.take(rules.character_coverage(statistics, draft.vocabulary_size))


def _choose_sizes(draft: _Draft) -> tuple[Tier, float]:
    """Choose model sizes and maximum length; return the tier and about how many tokens fit in the training time."""
    mean = draft.tokens.mean(rules.LENGTHS[0])
    corpus = mean * draft.statistics.distinct

    def seen(*sizes: int) -> float:
        # Assume the largest vocabulary, so that a larger corpus does not get a smaller model for its larger one.
        rate = draft.rate(*sizes, vocabulary=draft.most_tokens, batch=REFERENCE, length=mean)
        return OF_STEPS * draft.seconds * rate

    tier = rules.tier_for(corpus, lambda tier: seen(tier.embedding, tier.hidden, tier.latent))
    latent, embedding, hidden = map(draft.take, rules.sizes(tier, corpus))
    affordable = seen(embedding, hidden, latent)
    draft.take(rules.maximum_length(draft.tokens, affordable))
    return tier, affordable


def _choose_corpus(draft: _Draft, seen: float) -> None:
    """Choose which texts are held out and, if time is too short for all, how many are trained on.

    Args:
        draft: the draft, with sizes chosen.
        seen: about how many tokens fit in the training time.
    """
    in_time = seen / draft.length
    measured = in_time * OF_MEASURING / OF_STEPS
    for split, cost in (("validation", rules.EVALUATIONS * _cost(1)), ("test", _cost(10))):
        # A split with its own file is not drawn from the corpus.
        if f"corpus.{split}" not in draft.given:
            draft.take(rules.held_out(split, draft.statistics.distinct, measured / cost))
    characters = draft.statistics.characters.mean
    prepared = OF_PREPARING * draft.seconds / (PREPARING * characters)
    if min(in_time / 0.5, prepared) < draft.statistics.texts or "corpus.maximum_train" in draft.given:
        draft.take(rules.maximum_train(draft.statistics.texts, characters, min(1.1 * in_time, prepared)))


def _preparing(draft: _Draft) -> float:
    """Seconds before training starts."""
    statistics = draft.statistics
    used = min(1.0, (draft["corpus.maximum_train"] or statistics.texts) / statistics.texts)
    return PREPARING * statistics.total_characters * used


def _choose_measuring(draft: _Draft, seen: float) -> float:
    """Choose how the model is measured; return the seconds that this takes, in training and at the end.

    Args:
        draft: the draft, with splits chosen.
        seen: about how many tokens fit in the training time.
    """
    rate = seen / (OF_STEPS * draft.seconds)
    validation, test = (
        (draft[f"corpus.{split}_size"] or rules.HELD_OUT) * draft.length / rate
        for split in ("validation", "test")
    )
    for key in ("training.per_device_eval_batch_size", "evaluation.batch_size"):
        draft.take(Choice(key, rules.evaluation_batch(draft.maximum_length), "needs little memory"))
    draws = draft.take(rules.samples(lambda draws: test * _cost(draws) <= OF_MEASURING * draft.seconds))
    return rules.EVALUATIONS * validation * _cost(1) + test * _cost(draws)


def _cost(draws: int) -> float:
    """Cost of measuring a token with this many draws of z, in tokens of training."""
    return draws * SCORING + BESIDE


def _choose_steps(draft: _Draft, seconds: float) -> float:
    """Choose the batch size and the number of steps; return the seconds that the steps take.

    Args:
        draft: the draft, with splits and sizes chosen.
        seconds: time for the steps.

    Raises:
        UserError: if the fewest useful steps take much longer.
    """
    rate = draft.chosen_rate(REFERENCE)
    size = draft.take(rules.batch_size(draft.texts, lambda size: seconds * rate / (size * draft.length)))
    of_step = size * draft.length / draft.chosen_rate(size)
    if "training.max_steps" in draft.given or "training.num_train_epochs" not in draft.given:
        if "training.max_steps" not in draft.given:
            _check_time(draft, seconds, rules.FEWEST_STEPS * of_step)
        draft.take(rules.max_steps(seconds / of_step, size, draft.texts))
    return draft.steps * of_step


def _check_time(draft: _Draft, seconds: float, fewest: float) -> None:
    """Raise an error if the time is far too short to learn anything.

    Args:
        draft: the draft, with sizes chosen.
        seconds: time for the steps.
        fewest: seconds that the fewest useful steps take.
    """
    # Add a quarter, since measuring takes longer if there is more time.
    needed = 1.25 * (draft.spent + draft.seconds - seconds + fewest) / 60
    if seconds < fewest and needed > LONGER * draft.minutes:
        raise UserError(
            f"expected {math.ceil(10 * needed) / 10:g} minutes or more, got {draft.minutes:g}, in which a model "
            "of these texts learns nothing: give more, or a smaller tokenizer.maximum_length or model.hidden_size"
        )


def _choose_model(draft: _Draft) -> None:
    """Choose the parts of the model and its dropout; without z there is no encoder."""
    latent = draft["model.latent_size"]
    for choice in rules.parts():
        if latent or not choice.key.startswith("model.encoder"):
            draft.take(choice)
    draft.take(rules.dropout(draft.passes, draft.few))
    draft.take(rules.word_dropout(draft.length if latent else 0))


def _choose_objective(draft: _Draft) -> None:
    """Choose the target rate, unless there is no z or the user sets the KL weight, and the bag of words if allowed."""
    if draft["model.latent_size"] and "model.bag_of_words" not in draft.given:
        for choice in rules.bag_of_words(draft.length):
            draft.take(choice)
    if draft["model.latent_size"] and "objective.kl_weight" not in draft.given:
        draft.take(rules.target_rate(draft.length, draft.texts))


def _remarks(draft: _Draft, seconds: float) -> Iterator[str]:
    """Remarks that the user should read."""
    statistics, minutes = draft.statistics, draft.minutes
    if draft.few:
        yield (
            f"{statistics.distinct} different texts are too few to learn a language from: the model will repeat and "
            "mix them. Give it some thousands."
        )
    if statistics.distinct < 0.9 * statistics.texts:
        yield (
            f"{percent(1 - statistics.distinct / statistics.texts)} of the texts are duplicates: some held-out texts "
            "are trained on as well, so that new texts will cost more than is measured."
        )
    _, beyond = draft.tokens.cut(draft.maximum_length)
    if beyond >= 0.1:
        longest = rules.LENGTHS[0]
        more = draft.tokens.mean(longest) / draft.length
        advice = (
            "split texts into paragraphs, or train on whole texts as bags of words: textvae train documents"
        )
        if more > 1.1:
            advice = f"give about {math.ceil(more * minutes)} minutes to read {longest} tokens of each, or {advice}"
        yield f"{percent(beyond)} of the tokens lie beyond the maximum length and are not read: {advice}."
    if draft.passes < 1:
        yield f"There is time for {percent(draft.passes)} of the texts: more minutes make the model better."
    if seconds > 66 * minutes:
        yield (
            f"This takes about {seconds / 60:.1f} minutes, more than the {minutes:g} given: in fewer steps hardly "
            "anything is learnt."
        )
        return
    yield f"This takes about {seconds / 60:.1f} of the {minutes:g} minutes."
