"""Whether a model uses its latent, in one word and one sentence, and what to try where something can be better."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from textvae.evaluation.quantities import Evaluation

UNUSED = 0.5
"""Nats per sentence of KL, of information, or lost by the decoder when it gets another sentence's z, below which the
latent does nothing that a reader of samples would notice."""

LITTLE = 2.0
"""Nats of information below which z tells about seven sentences apart: hardly one choice of topic or type."""

NEAR_BOUND = 0.8
"""Share of log N from which on the information in N posteriors is as good as all that N sentences can show."""

FEW_SENTENCES, FEW_STEPS = 20, 600
"""Sentences below which an evaluation is hardly more than chance, and steps below which a model has hardly begun."""

MISSED = 0.1
"""Share of a target rate by which the KL may be off without a word."""

MANY_UNKNOWN = 0.2
"""Share of the tokens that are UNK from which on a model learns to write little else."""

GAINED = 0.01
"""Share by which the last evaluation must differ from the one before to show that training ended too soon or late."""


@dataclass(frozen=True)
class Diagnosis:
    """How a latent is doing.

    Attributes:
        state: "healthy", "weak" or "collapsed".
        finding: what was found, a sentence.
        advice: what to try, in sentences; "" where nothing is to be tried.
    """

    state: Literal["healthy", "weak", "collapsed"]
    finding: str
    advice: str = ""

    @property
    def sentence(self) -> str:
        """What was found, and what to try."""
        return f"{self.finding} {self.advice}".rstrip()


def diagnose(e: Evaluation) -> Diagnosis | None:
    """The `Diagnosis` of a model with a latent; None without one.

    A latent is used if the posteriors pay for it (KL), if they tell sentences apart (mutual information), and if the
    decoder listens (it does worse with another sentence's z). Each can be had without the others: free bits keep a KL
    that the decoder need not hear, and a posterior may carry what the decoder never reads. If the information is not
    known, as for a model with a condition, the other two decide; so they do if it is all that N sentences can show.

    The advice goes by what is known of the training, and proposes nothing that the model has.
    """
    if "kl" not in e:
        return None
    # Never "-0.00".
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
    """The quantities by name and, for a model with a latent, the ``verdict`` on it in one sentence."""
    diagnosis = diagnose(evaluation)
    verdict = {"verdict": f"{diagnosis.state}: {diagnosis.sentence}"} if diagnosis else {}
    return evaluation.to_dict() | verdict


def _advice(e: Evaluation, cures: list[str]) -> str:
    """What explains the finding; what to try, the likeliest to help first."""
    if e.sentences < FEW_SENTENCES:
        return (
            f"This was measured on {e.sentences} sentences, which show little: give more texts, or hold more of them "
            "out."
        )
    tried = ", or ".join(filter(None, (", ".join(cures[:-1]), *cures[-1:])))
    return " ".join([*_remarks(e), *([f"Try {tried}."] if cures else [])])


def _cures(e: Evaluation) -> list[str]:
    """What may bring a latent into use that is not used."""
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
    """What else explains the numbers, whatever the state."""
    training = e.training
    if (unknown := e.get("unknown_tokens") or 0) > MANY_UNKNOWN:
        yield (
            f"{100 * unknown:.0f} % of the tokens are <unk>, which hides what the sentences say: "
            "give a larger tokenizer.vocabulary_size, or tokenizer.kind: sentencepiece."
        )
    if training is None:
        return
    gained = training.gained or 0
    if training.steps < FEW_STEPS or training.warmup > training.steps / 2:
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
