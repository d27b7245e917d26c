"""An `Evaluation` in words: each quantity with how it was counted."""

from __future__ import annotations

import math

from textvae.evaluation.diagnosis import diagnose
from textvae.evaluation.evaluate import Evaluation
from textvae.evaluation.latent_use import ACTIVE_VARIANCE

Row = tuple[str, str, str]


def report(evaluation: Evaluation) -> str:
    """The quantities one a line, as name, value and how it was counted; then the verdict on the latent."""
    rows = [*_bounds(evaluation), *_latent(evaluation), *_translations(evaluation), *_size(evaluation)]
    name, value = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{row[0]:<{name}}  {row[1]:>{value}}  {row[2]}" for row in rows]
    if diagnosis := diagnose(evaluation):
        lines += ["", f"{diagnosis.state}: {diagnosis.sentence}"]
    return "\n".join(lines)


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
    bound = f"posteriors of N = {n:,} sentences, at most log N = {math.log(n):.2f}" if n else ""
    information = [("mutual_information", f"{e.mutual_information:.2f}", f"nats; {bound}")] if n else []
    rows = [
        ("kl", f"{e.kl:.2f}", f"nats per sentence; raw; of one dimension {_range(e.kl_per_dimension)}"),
        *information,
        (
            "active_units",
            f"{e.active_units}",
            f"of {e.latent_size}; posterior mean varies over {ACTIVE_VARIANCE}",
        ),
        (
            "reconstruction",
            f"{e.reconstruction or 0:.2f}",
            "nats per sentence; -log p(x | z) with z from q(z | x)",
        ),
        ("… z of the prior", f"{e.reconstruction_prior_z or 0:.2f}", "the same with z from p(z)"),
        (
            "… shuffled z",
            f"{e.reconstruction_shuffled_z or 0:.2f}",
            "the same with the z of another sentence",
        ),
    ]
    if e.accuracy is not None:
        rows.append(
            ("accuracy", f"{100 * e.accuracy:.1f} %", "the likeliest class under q(y | x) is the label")
        )
    if e.reconstruction_bleu is None:
        return rows
    return [
        *rows,
        (
            "reconstruction_bleu",
            f"{e.reconstruction_bleu:.1f}",
            f"greedy, from posterior means; of {e.reconstructed_sentences:,} sentences; {e.bleu_signature}",
        ),
        (
            "token_accuracy",
            f"{100 * (e.token_accuracy or 0):.1f} %",
            "the same sentences, given the words before",
        ),
    ]


def _translations(e: Evaluation) -> list[Row]:
    """How good the translations of a conditional model are."""
    if e.bleu is None:
        return []
    rows = [
        ("bleu", f"{e.bleu:.1f}", f"{'z the mean of its prior; ' if e.latent_size else ''}{e.bleu_signature}")
    ]
    if e.bleu_zero_z is None:
        return rows
    return [
        *rows,
        ("… z = 0", f"{e.bleu_zero_z:.1f}", "the same with z = 0"),
        ("… shuffled z", f"{e.bleu_shuffled_z or 0:.1f}", "the same with the z of another sentence"),
    ]


def _range(values: list[float] | None) -> str:
    """The smallest and the largest."""
    return f"{min(values):.2f} to {max(values):.2f}" if values else "unknown"


def _size(e: Evaluation) -> list[Row]:
    """On how much text."""
    return [
        ("tokens", f"{e.tokens:,}", "end of sentence counted, beginning not, unknown words ordinary"),
        ("sentences", f"{e.sentences:,}", ""),
    ]
