"""Semi-supervised corpora: most of the sentences lose their label."""

from __future__ import annotations

import numpy as np
from datasets import Dataset, concatenate_datasets

from textvae.support.errors import UserError


def keep_labels(rows: Dataset, labelled: int, share: float | None, seed: int) -> Dataset:
    """``rows`` where all but ``labelled`` have the label None.

    Those that keep theirs are drawn at random, of each class equally many (one more of some, where that does not work
    out). With a ``share`` their copies are put behind the rest, as often as makes them that part of all sentences: in
    few of many batches there would be one otherwise.

    Args:
        rows: with a column ``label``, a `ClassLabel`.
        labelled: how many keep their label.
        share: part of all rows, over 0 and under 1; None: nothing is repeated.
        seed: of the choice.

    Raises:
        UserError: if a class has too few sentences, or the share is out of its range.
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
