"""An `Evaluation` as text: each quantity with how it was measured."""

from __future__ import annotations

from textvae.evaluation.diagnosis import diagnose
from textvae.evaluation.quantities import Evaluation


def report(evaluation: Evaluation) -> str:
    """One line for each quantity, with name, value and how it was measured; then the diagnosis of the latent."""
    shown = [quantity for quantity in evaluation.quantities.values() if quantity.description.shown]
    rows = [(each.description.label or each.name, each.text, each.remark) for each in shown]
    name, value = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{row[0]:<{name}}  {row[1]:>{value}}  {row[2]}".rstrip() for row in rows]
    if diagnosis := diagnose(evaluation):
        lines += ["", f"{diagnosis.state}: {diagnosis.sentence}"]
        if diagnosis.state == "healthy" and "z_knows_length" in evaluation:
            lines.append("That z is used is no statement about topics: the lines on what z knows say more.")
    return "\n".join(lines)
