"""The settings and data that a run began with, and the changes that are allowed when it is resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, IterableDatasetDict
from transformers import TrainingArguments

Corpus: TypeAlias = DatasetDict | IterableDatasetDict

TRAINED_ON = ("train", "validation")
"""The splits that training reads."""

ROWS = 1_000
"""Rows that are digested at once. Another number would change the digests."""

SPREAD = 100
"""Selected rows are read together with the rows between them, if the range has at most this many times `ROWS` rows."""

ABSENT = "not given"

MAY_CHANGE = (
    "evaluation",
    "evaluation.*",
    # The place of the run and its length.
    "training.output_dir",
    "training.max_steps",
    "training.num_train_epochs",
    "training.early_stopping_patience",
    # How often, and with which data, the run evaluates, logs and saves.
    "training.eval*",
    "training.per_device_eval_batch_size",
    "training.log*",
    "training.save_steps",
    "training.save_strategy",
    "training.save_total_limit",
    # How the same sentences are loaded.
    "training.dataloader_num_workers",
    "training.dataloader_persistent_workers",
    "training.dataloader_pin_memory",
    "training.dataloader_prefetch_factor",
    # Where the run is reported.
    "training.report_to",
    "training.run_name",
    "training.project",
)
"""Keys of a recipe that may change when a run is resumed; * stands for any characters.

Three more may change if their effect stays the same: keys of the corpus if its rows do, gradient_accumulation_steps if
the number of sentences per step does, and corpus.test if it is given now, or was not given when the run began.
"""


@dataclass(frozen=True)
class Record:
    """What a run began with, in addition to its recipe.

    Attributes:
        test: the value of ``corpus.test``. If it was None, the test split was drawn from the training data, and its
            rows stay excluded from training even if the run is resumed with another test split.
        rows: the digest of each split in `TRAINED_ON`, None for a stream; empty if unknown.
        step: the size of a step, see `size_of_step`; None if unknown.
    """

    test: Any
    rows: dict[str, str | None]
    step: int | None


def size_of_step(arguments: TrainingArguments) -> int:
    """The number of sentences in a step over all processes, or of tokens if ``tokens_per_batch`` is set."""
    batch = getattr(arguments, "tokens_per_batch", None) or arguments.train_batch_size
    return batch * arguments.gradient_accumulation_steps * arguments.world_size


def differences(
    record: Record, present: Record, stored: Mapping[str, Any], recipe: Mapping[str, Any]
) -> list[str]:
    """The differences that prevent a run from being resumed, each with the old and the new value.

    Args:
        record: the record of the run.
        present: the record that the present call would write.
        stored: the recipe of the last call.
        recipe: the recipe of the present call.
    """
    settled = [*MAY_CHANGE]
    found = []
    if record.step is not None:
        settled.append("training.gradient_accumulation_steps")
        if record.step != present.step:
            found.append(f"sentences in a step {record.step}, now {present.step}")
    changed = [split for split, digest in record.rows.items() if digest != present.rows[split]]
    found += [f"different rows in {split}" for split in changed]
    # Otherwise the new test split would be drawn from rows that the run has trained on.
    if present.test is not None or record.test is None:
        settled.append("corpus.test")
    if not changed and any(record.rows.values()):
        settled.append("corpus.*")
    then, now = flat(stored), flat(recipe)
    return found + [
        f"{key} {then.get(key, ABSENT)}, now {now.get(key, ABSENT)}"
        for key in then | now
        if not any(fnmatchcase(key, pattern) for pattern in settled)
        and _plain(then.get(key, ABSENT)) != _plain(now.get(key, ABSENT))
    ]


def flat(source: Mapping[Any, Any], place: str = "") -> dict[str, Any]:
    """The values of nested mappings, each under its keys joined by dots.

    Example:
        >>> flat({"model": {"latent_size": 2, "encoder": {"layers": 1}}, "evaluation": {}})
        {'model.latent_size': 2, 'model.encoder.layers': 1, 'evaluation': {}}
    """
    found: dict[str, Any] = {}
    for key, value in source.items():
        name = f"{place}{key}"
        found |= flat(value, f"{name}.") if value and isinstance(value, Mapping) else {name: value}
    return found


def _plain(value: Any) -> Any:
    """The value, converted to a number if it is a string that spells one: YAML reads 1e-3 as a string."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def digests(corpus: Corpus) -> dict[str, str | None]:
    """The digest of each split that training reads; None for a stream, which may be endless."""
    return {
        split: digest(rows) if isinstance(rows := corpus[split], Dataset) else None for split in TRAINED_ON
    }


def digest(rows: Dataset) -> str:
    """A digest of all columns and the names of the classes, which does not depend on the file of the rows.

    The function reads about fifty megabytes of text per second, and holds about `ROWS` rows in memory.

    Example:
        >>> rows = Dataset.from_dict({"text": ["a b", "", "c"]})
        >>> digest(rows) == digest(rows.select([0, 1, 2])), digest(rows) == digest(rows.select([1, 0, 2]))
        (True, False)
    """
    classes = {name: kind.names for name, kind in rows.features.items() if isinstance(kind, ClassLabel)}
    found = hashlib.blake2b(json.dumps([rows.column_names, classes]).encode(), digest_size=16)
    for start in range(0, len(rows), ROWS):
        for column in _table(rows, start).columns:
            for part in _parts(column.combine_chunks()):
                found.update(part)
    return found.hexdigest()


def _table(rows: Dataset, start: int) -> pa.Table:
    """`ROWS` rows from ``start`` on, much faster than from `Dataset` if the rows are selected from another split."""
    table, order = rows.data.table, rows._indices
    if order is None:
        return table.slice(start, ROWS)
    places = order.column(0).slice(start, ROWS)
    first, last = (pc.min_max(places)[end].as_py() for end in ("min", "max"))
    if last - first > SPREAD * ROWS:
        return rows.with_format("arrow")[start : start + ROWS]
    # Combine the chunks first: selecting rows from many chunks is slow in Arrow.
    return table.slice(first, last - first + 1).combine_chunks().take(pc.subtract(places, first))


def _parts(column: pa.Array) -> Iterator[Any]:
    """The values of a column as buffers of bytes that do not depend on Arrow's memory layout."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        yield from _parts(pc.list_value_length(column))
        yield from _parts(pc.list_flatten(column))
        return
    texts = pc.cast(column, pa.large_string())
    # The lengths distinguish ("ab", "c") from ("a", "bc"), and -1 distinguishes a missing value from an empty one.
    yield pc.fill_null(pc.binary_length(texts), -1).to_numpy(zero_copy_only=False).tobytes()
    one = pa.LargeListArray.from_arrays(pa.array([0, len(texts)], pa.int64()), pc.fill_null(texts, ""))
    yield pc.binary_join(one, pa.scalar("", pa.large_string()))[0].as_buffer()
