"""What a run began with, and in what it may differ when it goes on."""

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
"""Rows that are digested at once; with another number, the digests are others."""

SPREAD = 100
"""Drawn rows are read with those between them, unless these are more than this many times as many."""

ABSENT = "not given"

MAY_CHANGE = (
    "evaluation",
    "evaluation.*",
    # Where the run is, and how long it takes.
    "training.output_dir",
    "training.max_steps",
    "training.num_train_epochs",
    "training.early_stopping_patience",
    # How often, and on what, something is measured, logged or saved.
    "training.eval*",
    "training.per_device_eval_batch_size",
    "training.log*",
    "training.save_steps",
    "training.save_strategy",
    "training.save_total_limit",
    # How the same sentences come to the model.
    "training.dataloader_num_workers",
    "training.dataloader_persistent_workers",
    "training.dataloader_pin_memory",
    "training.dataloader_prefetch_factor",
    # Who hears of it.
    "training.disable_tqdm",
    "training.report_to",
    "training.run_name",
    "training.project",
    "training.push_to_hub",
    "training.hub_*",
)
"""Keys of a recipe that may differ when a run goes on; * stands for any characters.

Three more are judged by what they come to: the keys of the corpus by its rows, gradient_accumulation_steps by the
sentences in a step, and corpus.test by whether there is one.
"""


@dataclass(frozen=True)
class Record:
    """What a run began with, beside what its recipe says.

    Attributes:
        test: ``corpus.test``. If it was None, the test split was drawn from the training data, and its rows stay held
            out when the run goes on with another test split.
        rows: the digest of each split of `TRAINED_ON`, or None for a stream; empty if it is not known.
        step: see `size_of_step`; None if it is not known.
    """

    test: Any
    rows: dict[str, str | None]
    step: int | None


def size_of_step(arguments: TrainingArguments) -> int:
    """Sentences in a step, of all processes; or tokens, if batches are of so many tokens."""
    batch = getattr(arguments, "tokens_per_batch", None) or arguments.train_batch_size
    return batch * arguments.gradient_accumulation_steps * arguments.world_size


def differences(
    record: Record, present: Record, stored: Mapping[str, Any], recipe: Mapping[str, Any]
) -> list[str]:
    """What forbids a run to go on: each with its value then and now.

    Args:
        record: what the run began with.
        present: the same of the call that is to go on with it.
        stored: the recipe as the run was called last.
        recipe: the recipe now.
    """
    settled = [*MAY_CHANGE]
    found = []
    if record.step is not None:
        settled.append("training.gradient_accumulation_steps")
        if record.step != present.step:
            found.append(f"sentences in a step {record.step}, now {present.step}")
    changed = [split for split, digest in record.rows.items() if digest != present.rows[split]]
    found += [f"other rows in {split}" for split in changed]
    # Otherwise a test split would be drawn from rows that the run was trained on.
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
    """The values of nested mappings by their keys, joined by dots.

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
    """The value, or the number that a text spells: YAML reads 0.001 as a number and 1e-3 as a text."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def digests(corpus: Corpus) -> dict[str, str | None]:
    """The digest of each split that training reads; None for a stream, whose end may never come."""
    return {
        split: digest(rows) if isinstance(rows := corpus[split], Dataset) else None for split in TRAINED_ON
    }


def digest(rows: Dataset) -> str:
    """A digest of all columns and of the names of the classes, whatever file the rows are from.

    It reads all rows, some fifty megabytes of text a second, and holds about `ROWS` of them.

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
    """The next `ROWS` rows, many times as fast as `Dataset` gives those of a split that was drawn from another."""
    table, order = rows.data.table, rows._indices
    if order is None:
        return table.slice(start, ROWS)
    places = order.column(0).slice(start, ROWS)
    first, last = (pc.min_max(places)[end].as_py() for end in ("min", "max"))
    if last - first > SPREAD * ROWS:
        return rows.with_format("arrow")[start : start + ROWS]
    # Arrow is slow where it chooses from many chunks.
    return table.slice(first, last - first + 1).combine_chunks().take(pc.subtract(places, first))


def _parts(column: pa.Array) -> Iterator[Any]:
    """A column's values as buffers of bytes that do not depend on how Arrow has laid them out in memory."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        yield from _parts(pc.list_value_length(column))
        yield from _parts(pc.list_flatten(column))
        return
    texts = pc.cast(column, pa.large_string())
    # Without the lengths, "ab" and "c" would be "a" and "bc"; -1 tells a value that is missing from an empty one.
    yield pc.fill_null(pc.binary_length(texts), -1).to_numpy(zero_copy_only=False).tobytes()
    one = pa.LargeListArray.from_arrays(pa.array([0, len(texts)], pa.int64()), pc.fill_null(texts, ""))
    yield pc.binary_join(one, pa.scalar("", pa.large_string()))[0].as_buffer()
