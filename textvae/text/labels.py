"""Semi-supervised corpora: only some sentences keep their label."""

from __future__ import annotations

import numpy as np
from datasets import Dataset, concatenate_datasets

from textvae.support.errors import UserError


def keep_labels(rows: Dataset, labelled: int, share: float | None, seed: int) -> Dataset:
    """The rows, where all but ``labelled`` of them have the label None.

    The rows that keep their label are drawn at random, the same number for each class (if that is impossible, some
    classes have one more). If ``share`` is given, copies of the labelled rows are appended until they are this share of
    all rows, because otherwise only few batches would contain one.

    Args:
        rows: rows with a column ``label``, a `ClassLabel`.
        labelled: number of rows that keep their label.
        share: share of labelled rows in the result, over 0 and under 1; None: no copies.
        seed: random seed of the choice.

    Raises:
        UserError: if a class has too few sentences, or ``share`` is out of its range.
    """
    if share is not None and not 0 < share < 1:
        raise UserError(f"expected a labelled_share over 0 and under 1, got {share}")
    labels = np.array([-1 if label is None else label for label in rows["label"]])
    names = rows.features["label"].names
    generator = np.random.default_rng(seed)
    kept: list[int] = []
    for place, label in enumerate(generator.permutation(len(names))):
        wanted = (labelled + len(names) - 1 - place) // len(names)
        found = np.flatnonzero(labels == label)
        if len(found) < wanted:
            raise UserError(
                f"expected {wanted} sentences of class {names[label]} to keep their label, found {len(found)}: "
                "lower corpus.labelled"
            )
        kept += generator.choice(found, wanted, replace=False).tolist()
    known = np.zeros(len(rows), dtype=bool)
    known[kept] = True
    label = [int(label) if keeps else None for label, keeps in zip(labels, known, strict=True)]
    result = rows.remove_columns("label").add_column("label", label, feature=rows.features["label"])
    if share is None or not kept:
        return result
    copies = round(share * (len(rows) - len(kept)) / (1 - share) / len(kept)) - 1
    return concatenate_datasets([result, *[result.select(sorted(kept))] * max(0, copies)])
