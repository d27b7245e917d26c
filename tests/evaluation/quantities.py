"""Evaluations made without a model."""

from textvae.evaluation.meters.table import descriptions
from textvae.evaluation.quantities import Evaluation, Quantity


def evaluation(like=None, *, ways=None, cures=("model.word_dropout: 0.3",), **values) -> Evaluation:
    """An evaluation of a sentence VAE with the given values, in the order of the report.

    Args:
        like: an evaluation with the other values.
        ways: how quantities were measured, by name.
        cures: what the model lacks.
        **values: values by name; None: not measured.
    """
    values = {**(like or {}), **values}
    known = descriptions().items()
    return Evaluation(
        [
            Quantity(each, values[name], (ways or {}).get(name, ""))
            for name, each in known
            if values.get(name) is not None
        ],
        cures,
    )
