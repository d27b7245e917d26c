"""Diagnose whether a model uses its latent, and advise what to try if something can be better."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from textvae.evaluation.quantities import Evaluation

UNUSED = 0.5
"""Nats per sentence: if the KL, the information, or what the decoder loses with another sentence's z is smaller, a
reader of samples would notice no effect of the latent."""

LITTLE = 2.0
"""Nats of information: with less, z distinguishes about seven sentences at most, hardly one choice of topic."""

NEAR_BOUND = 0.8
"""Share of log N: the information in N posteriors can hardly be measured above it."""

FEW_SENTENCES = 20
"""With fewer sentences an evaluation is mostly chance."""

MISSED = 0.1
"""A KL that misses the target rate by less than this share is not mentioned."""

MANY_UNKNOWN = 0.2
"""If a larger share of the tokens is UNK, a model learns to generate little else."""

MORE_STABLE = 0.02
"""A baseline's clusters are called better if their stability is larger by this much."""

GAINED = 0.01
"""If the last two evaluations differ by a larger share, training ended too soon or too late."""


@dataclass(frozen=True)
class Diagnosis:
    """The diagnosis of a latent.

    Attributes:
        state: "healthy", "weak" or "collapsed".
        finding: a sentence that says what was found.
        advice: sentences that say what to try; "" if there is nothing to try.
    """

    state: Literal["healthy", "weak", "collapsed"]
    finding: str
    advice: str = ""

    @property
    def sentence(self) -> str:
        """The finding and the advice."""
        return f"{self.finding} {self.advice}".rstrip()


def diagnose(e: Evaluation) -> Diagnosis | None:
    """Diagnose a model with a latent; None if it has no latent.

    A latent is used if the KL is large enough, if the posteriors distinguish sentences (mutual information), and if the
    decoder uses z (it does worse with another sentence's z). Each can hold without the others: free bits keep a KL even
    if the decoder ignores z, and a posterior may carry information that the decoder never uses. If the information is
    unknown, as for a model with a condition, or as large as N sentences can show, the other two decide.

    The advice depends on what is known about the training, and never suggests what the model already has.
    """
    if "kl" not in e:
        return None
    # Adding 0.0 avoids "-0.00".
    heard = round(e.reconstruction_shuffled_z - e.reconstruction, 2) + 0.0
    information = e.get("mutual_information")
    known = "" if information is None else f"mutual information {information:.2f}, "
    units = f"{e.active_units} of {len(e.kl_per_dimension)} units active"
    found = f"KL {e.kl:.2f}, {known}{units}; with another sentence's z the decoder loses {heard:.2f} nats"
    said = [e.kl, heard]
    if information is not None and information < NEAR_BOUND * math.log(e.mutual_information_sentences):
        said.append(information)
    if min(said) < UNUSED:
        finding = f"z says nothing that the decoder does not know without it ({found})."
        return Diagnosis("collapsed", finding, _advice(e, _cures(e)))
    if min(said) < LITTLE:
        return Diagnosis("weak", f"z says little of the sentence ({found}).", _advice(e, _cures(e)))
    if information is not None and 2 * information < min(e.kl, math.log(e.mutual_information_sentences)):
        finding = (
            f"less than half of the KL is information ({found}): the posteriors lie away from the prior, and samples "
            "from it will read worse than reconstructions."
        )
        return Diagnosis(
            "weak", finding, _advice(e, ["fewer free_bits", "a lower target_rate", "a larger KL weight"])
        )
    return Diagnosis("healthy", f"the decoder uses z ({found}).", _advice(e, []))


def described(evaluation: Evaluation) -> dict[str, Any]:
    """The quantities by name and, for a model with a latent, the diagnosis as ``verdict``."""
    diagnosis = diagnose(evaluation)
    verdict = {"verdict": f"{diagnosis.state}: {diagnosis.sentence}"} if diagnosis else {}
    return evaluation.to_dict() | verdict


def _advice(e: Evaluation, cures: list[str]) -> str:
    """What explains the finding, and what to try, starting with what is likeliest to help."""
    if e.sentences < FEW_SENTENCES:
        return (
            f"This was measured on {e.sentences} sentences, which show little: give more texts, or hold more of them "
            "out."
        )
    tried = ", or ".join(filter(None, (", ".join(cures[:-1]), *cures[-1:])))
    return " ".join([*_remarks(e), *([f"Try {tried}."] if cures else [])])


def _cures(e: Evaluation) -> list[str]:
    """What may help if the latent is not used."""
    training = e.training
    if training is None:
        return ["objective.target_rate in place of kl_weight, or a higher one", *e.cures]
    rate = training.target_rate
    first = (
        "objective.target_rate in place of kl_weight"
        if rate is None
        else f"an objective.target_rate above {rate:g}"
    )
    return [first, *e.cures, *([] if training.pretraining else ["a section pretraining"])]


def _remarks(e: Evaluation) -> Iterator[str]:
    """Other explanations of the numbers, for any state."""
    training = e.training
    if (unknown := e.get("unknown_tokens") or 0) > MANY_UNKNOWN:
        yield (
            f"{100 * unknown:.0f} % of the tokens are <unk>, which hides what the sentences say: "
            "give a larger tokenizer.vocabulary_size, or tokenizer.kind: sentencepiece."
        )
    for name, least in (("accuracy", 0.0), ("stability", MORE_STABLE)):
        ours, linear = (e.get(f"cluster_{name}{side}") for side in ("", "_linear"))
        if ours is not None and linear is not None and linear > ours + least:
            yield (
                f"TF-IDF, SVD and k-means cluster these texts better (cluster_{name} {linear:.2f}, {ours:.2f} for z): "
                "use them, or try another latent_size or number of clusters."
            )
    if training is None:
        return
    gained = training.gained or 0
    if training.steps < training.few_steps or training.warmup > training.steps / 2:
        warmup = f", of these {training.warmup:,} of warm-up," if training.warmup else ""
        yield f"{training.steps:,} steps{warmup} are few: train longer."
    elif gained > GAINED:
        yield f"The last evaluation was {100 * gained:.1f} % better than the one before: train longer."
    elif gained < -GAINED:
        yield (
            f"The last evaluation was {-100 * gained:.1f} % worse than the one before: the model learns its "
            "sentences by heart; give more of them, or train less."
        )
    rate = training.target_rate
    if rate is not None and abs(e.kl - rate) > MISSED * rate:
        yield (
            f"The KL is {e.kl:.1f} where {rate:g} was asked for: the rate is held on training sentences, and takes "
            "some thousand steps to be met."
        )
