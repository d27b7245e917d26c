"""Whether a model uses its latent, in one word and one sentence, and what to try if it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from textvae.evaluation.evaluate import Evaluation

UNUSED = 0.5
"""Nats per sentence of KL, of information, or lost by the decoder when it gets another sentence's z, below which the
latent does nothing that a reader of samples would notice."""

LITTLE = 2.0
"""Nats of information below which z tells about seven sentences apart: hardly one choice of topic or type."""

MORE = (
    "Try objective.target_rate in place of kl_weight, or a higher one, an encoder that learns sooner "
    "(model.encoder_type: convolution, or a section pretraining), model.word_dropout: 0.3, or a decoder that sees less "
    "(model.decoder_type: dilated_convolution)"
)

MORE_OF_CONDITIONAL = (
    "Try objective.target_rate in place of kl_weight, or a higher one, objective.free_bits, model.word_dropout: 0.3 "
    "or, with one z a pair, model.bag_of_words: true"
)


@dataclass(frozen=True)
class Diagnosis:
    """How a latent is doing.

    Attributes:
        state: "healthy", "weak" or "collapsed".
        sentence: what was found, and what to try where there is something to try.
    """

    state: Literal["healthy", "weak", "collapsed"]
    sentence: str


def diagnose(e: Evaluation) -> Diagnosis | None:
    """The `Diagnosis` of a model with a latent; None without one.

    A latent is used if the posteriors pay for it (KL), if they tell sentences apart (mutual information), and if the
    decoder listens (it does worse with another sentence's z). Each can be had without the others: free bits keep a KL
    of which the decoder need not hear, and a posterior may carry what the decoder never reads. Of a conditional model
    the information is not known, and the other two decide.
    """
    if not e.latent_size:
        return None
    # Never "-0.00".
    heard = round((e.reconstruction_shuffled_z or 0.0) - (e.reconstruction or 0.0), 2) + 0.0
    if e.mutual_information is None:
        return _of_conditional(e, heard)
    found = (
        f"KL {e.kl:.2f}, mutual information {e.mutual_information:.2f}, {e.active_units} of {e.latent_size} units "
        f"active; with another sentence's z the decoder loses {heard:.2f} nats"
    )
    if min(e.kl, e.mutual_information, heard) < UNUSED:
        return Diagnosis("collapsed", f"every z decodes to about the same text ({found}). {MORE}.")
    if e.mutual_information < LITTLE or heard < LITTLE:
        return Diagnosis("weak", f"z says little of the sentence ({found}). {MORE}.")
    if 2 * e.mutual_information < min(e.kl, math.log(e.mutual_information_sentences)):
        return Diagnosis(
            "weak",
            f"less than half of the KL is information ({found}): the posteriors lie away from the prior, and samples "
            "from it will read worse than reconstructions. Try fewer free_bits, a lower target_rate, or a larger KL "
            "weight.",
        )
    return Diagnosis("healthy", f"the decoder uses z ({found}).")


def _of_conditional(e: Evaluation, heard: float) -> Diagnosis:
    """By the KL and by what the decoder loses with another pair's z."""
    found = (
        f"KL {e.kl:.2f}, {e.active_units} of {e.latent_size} units active; with another pair's z the decoder loses "
        f"{heard:.2f} nats"
    )
    if min(e.kl, heard) < UNUSED:
        sentence = f"z says nothing of the target that the source does not ({found}). {MORE_OF_CONDITIONAL}."
        return Diagnosis("collapsed", sentence)
    if min(e.kl, heard) < LITTLE:
        sentence = f"z says little of the target that the source does not ({found}). {MORE_OF_CONDITIONAL}."
        return Diagnosis("weak", sentence)
    return Diagnosis("healthy", f"the decoder uses z ({found}).")


def described(evaluation: Evaluation) -> dict[str, Any]:
    """The quantities by name and, for a model with a latent, the ``verdict`` on it in one sentence."""
    diagnosis = diagnose(evaluation)
    verdict = {"verdict": f"{diagnosis.state}: {diagnosis.sentence}"} if diagnosis else {}
    return evaluation.to_dict() | verdict
