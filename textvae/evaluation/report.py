"""An `Evaluation` in words: each quantity with how it was counted."""

from __future__ import annotations

import math

from textvae.evaluation.evaluate import Evaluation
from textvae.evaluation.latent_use import ACTIVE_VARIANCE

UNUSED_KL = 0.5
"""A model whose KL is below so many nats per sentence says hardly anything through z."""

ADVICE = (
    "The latent is unused ({found}): every z decodes to about the same text. Try objective.free_bits: 8, "
    "a longer ramp (objective.kl_weight.steps), model.word_dropout: 0.3, a decoder that sees less "
    "(model.decoder_type: dilated_convolution), or an encoder that learns sooner (model.encoder_type: convolution, "
    "or model.encoder_from: a trained language model)."
)

Row = tuple[str, str, str]


def report(evaluation: Evaluation) -> str:
    """The quantities one a line, as name, value and how it was counted; then a warning if the latent is unused."""
    rows = [*_bounds(evaluation), *_latent(evaluation), *_size(evaluation)]
    name, value = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{row[0]:<{name}}  {row[1]:>{value}}  {row[2]}" for row in rows]
    if is_collapsed(evaluation):
        found = (
            f"KL {evaluation.kl:.2f} nats, {evaluation.active_units} of {evaluation.latent_size} units active"
        )
        lines += ["", ADVICE.format(found=found)]
    return "\n".join(lines)


def is_collapsed(evaluation: Evaluation) -> bool:
    """Whether the model has a latent and does not use it."""
    return evaluation.latent_size > 0 and (evaluation.kl < UNUSED_KL or evaluation.active_units == 0)


def _bounds(e: Evaluation) -> list[Row]:
    """How probable the model finds the sentences, and how far that is from the optimum, where it is known."""
    best = "iw_nll" if e.latent_size else "nll"
    if e.latent_size:
        rows = [
            ("neg_elbo", f"{e.neg_elbo:.2f}", "nats per sentence; KL weight 1, no free bits, no dropout"),
            (
                best,
                f"{e.iw_nll:.2f}",
                f"nats per sentence; importance-weighted bound, K = {e.iw_samples} draws",
            ),
        ]
    else:
        rows = [(best, f"{e.iw_nll:.2f}", "nats per sentence; exact, as there is no latent")]
    if e.entropy is not None:
        gap = 100 * (e.iw_nll / e.entropy - 1)
        rows += [
            ("entropy", f"{e.entropy:.2f}", "nats per sentence; exact, of these sentences under the grammar"),
            ("gap", f"{gap:+.1f} %", f"of {best} over the entropy, the best there is"),
        ]
    if e.bits_per_character is None:
        return [*rows, ("ppl", f"{e.ppl:.2f}", f"exp({best} per token); compares only at the same tokens")]
    return [
        *rows,
        (
            "bits_per_character",
            f"{e.bits_per_character:.3f}",
            f"{best}; of {e.characters:,} characters, ends counted",
        ),
        ("ppl", f"{e.ppl:.2f}", f"exp({best} per sub-word token); not comparable with word perplexities"),
    ]


def _latent(e: Evaluation) -> list[Row]:
    """How much z says."""
    if not e.latent_size:
        return []
    n = e.mutual_information_sentences
    bound = f"posteriors of N = {n:,} sentences, at most log N = {math.log(n):.2f}"
    return [
        ("kl", f"{e.kl:.2f}", "nats per sentence; raw"),
        ("mutual_information", f"{e.mutual_information:.2f}", f"nats; {bound}"),
        (
            "active_units",
            f"{e.active_units}",
            f"of {e.latent_size}; posterior mean varies over {ACTIVE_VARIANCE}",
        ),
    ]


def _size(e: Evaluation) -> list[Row]:
    """On how much text."""
    return [
        ("tokens", f"{e.tokens:,}", "end of sentence counted, beginning not, unknown words ordinary"),
        ("sentences", f"{e.sentences:,}", ""),
    ]
