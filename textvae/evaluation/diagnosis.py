"""Whether a model uses its latent, in one word and one sentence, and what to try if it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from textvae.evaluation.quantities import Evaluation

UNUSED = 0.5
"""Nats per sentence of KL, of information, or lost by the decoder when it gets another sentence's z, below which the
latent does nothing that a reader of samples would notice."""

LITTLE = 2.0
"""Nats of information below which z tells about seven sentences apart: hardly one choice of topic or type."""


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
    that the decoder need not hear, and a posterior may carry what the decoder never reads. If the information is not
    known, as for a model with a condition, the other two decide.
    """
    if "kl" not in e:
        return None
    # Never "-0.00".
    heard = round(e.reconstruction_shuffled_z - e.reconstruction, 2) + 0.0
    information = e.get("mutual_information")
    known = "" if information is None else f"mutual information {information:.2f}, "
    units = f"{e.active_units} of {len(e.kl_per_dimension)} units active"
    found = f"KL {e.kl:.2f}, {known}{units}; with another sentence's z the decoder loses {heard:.2f} nats"
    said = [e.kl, heard] if information is None else [e.kl, information, heard]
    if min(said) < UNUSED:
        return Diagnosis(
            "collapsed", f"z says nothing that the decoder does not know without it ({found}). {e.cures}."
        )
    if min(said) < LITTLE:
        return Diagnosis("weak", f"z says little of the sentence ({found}). {e.cures}.")
    if information is not None and 2 * information < min(e.kl, math.log(e.mutual_information_sentences)):
        return Diagnosis(
            "weak",
            f"less than half of the KL is information ({found}): the posteriors lie away from the prior, and samples "
            "from it will read worse than reconstructions. Try fewer free_bits, a lower target_rate, or a larger KL "
            "weight.",
        )
    return Diagnosis("healthy", f"the decoder uses z ({found}).")


def described(evaluation: Evaluation) -> dict[str, Any]:
    """The quantities by name and, for a model with a latent, the ``verdict`` on it in one sentence."""
    diagnosis = diagnose(evaluation)
    verdict = {"verdict": f"{diagnosis.state}: {diagnosis.sentence}"} if diagnosis else {}
    return evaluation.to_dict() | verdict
