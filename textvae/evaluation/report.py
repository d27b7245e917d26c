"""An `Evaluation` in words: each quantity with how it was counted."""

from __future__ import annotations

from textvae.evaluation.diagnosis import diagnose
from textvae.evaluation.quantities import Evaluation


def report(evaluation: Evaluation) -> str:
    """The quantities one a line, as name, value and how it was counted; then the verdict on the latent."""
    shown = [quantity for quantity in evaluation.quantities.values() if quantity.description.shown]
    rows = [(each.description.label or each.name, each.text, each.remark) for each in shown]
    name, value = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{row[0]:<{name}}  {row[1]:>{value}}  {row[2]}".rstrip() for row in rows]
    if diagnosis := diagnose(evaluation):
        lines += ["", f"{diagnosis.state}: {diagnosis.sentence}"]
    return "\n".join(lines)
