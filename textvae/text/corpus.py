"""Corpora: a Hub name, files, a data set or the embedded corpus become a `DatasetDict` with known columns."""

import inspect
import logging
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress
from typing import Any, Literal, TypeAlias

import datasets
import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, IterableDatasetDict, List, Value

from textvae.support.errors import UserError
from textvae.support.options import Part, Size, check_arguments
from textvae.support.seeds import Seed
from textvae.text.given import TEXT_NAMES
from textvae.text.grammar import Grammar
from textvae.text.labels import keep_labels
from textvae.text.reader import (
    COLUMNS,
    Reader,
    Rows,
    Splits,
    blaming_the_cache,
    check_names,
    did_you_mean,
    no_text,
)

Sizes: TypeAlias = Mapping[str, int | float | None]

SPLITS = ("train", "validation", "test")
SPOKEN = ("text", "source", "target", "dialogue")  # a row without one of those it should have is left out
END_OF_UTTERANCE = "__eou__"
BYTE_ORDER_MARK = "\ufeff"
BATCH = 100  # rows at once, which may be whole books


def load_corpus(
    train: Any,
    validation: Any = None,
    test: Any = None,
    *,
    split: str = "train",
    configuration: str | None = None,
    revision: str | None = None,
    columns: Mapping[str, str | int] | None = None,
    language: Literal["en", "de"] = "en",
    sizes: tuple[Size, Size, Size] = (20_000, 2_000, 2_000),
    validation_size: Size | Part | None = None,
    test_size: Size | Part | None = None,
    maximum_train: Size | None = None,
    labelled: Size | None = None,
    labelled_share: Part | None = None,
    streaming: bool = False,
    seed: Seed = 0,
) -> DatasetDict | IterableDatasetDict:
    """A corpus: splits train, validation and test with columns text | source, target | label | dialogue.

    Texts lose the blanks at their ends; rows whose text is blank are left out. A dialogue is a list of
    utterances (a string is cut at `__eou__`). Labels become a `ClassLabel` named after the values in train,
    sorted; a stream keeps them as they are. Everything is cached on disk and memory-mapped by `datasets`.

    A file is read by its extension: .csv, .tsv, .json, .jsonl, .ndjson, .parquet; anything else is text, one
    sentence a line; each also with .gz. CSV and TSV cells are strings, and TSV knows no quotes; every row has as many
    fields as the first. A pipe such as `/dev/fd/63`, or "-", standard input, is text.

    Args:
        train: "grammar" (the embedded corpus), the name of a set on the Hub, a file, a folder, a glob, a list
            of files, a dict of parallel text files or globs such as `{"source": "a.en", "target": "a.de"}` (line
            i of each makes a row), or a data set (or dict of splits) of `datasets`.
        validation: the same, or the name of a split of `train`. None: the split of that name if `train` has
            one, otherwise rows drawn from train (the first rows, if streaming).
        test: as validation.
        split: which split of `train` to train on, if it has several.
        configuration: which configuration of a set on the Hub (or in a folder) to take.
        revision: which revision of a set on the Hub to take.
        columns: our name to theirs, e.g. `{"text": "sentence", "label": "stars"}`; "a.b" is the field b of
            column a. Numbers count the columns, from 0, of CSV or TSV files without a header (text files are
            then tab-separated). None: the columns that have our names, or the only one with text.
        language: side of the embedded corpus that is "text", "en" or "de"; it also has source (English),
            target (German), the factors of its grammar (topic, tense, ...) and log_prob, in nats.
        sizes: rows in train, validation and test of the embedded corpus: independent draws, so some repeat.
        validation_size: rows, or share of the rows, to draw for validation. None: 5 %, at most 5,000; of a
            stream 1,000 rows.
        test_size: as validation_size.
        maximum_train: train on at most so many rows, drawn at random (the first, if streaming).
        labelled: in train so many keep their label, of each class equally many, and the others get None. None: all.
        labelled_share: those with a label are repeated in train until they are this part of it, see `keep_labels`.
        streaming: read as needed instead of converting to Arrow files first.
        seed: decides every draw.

    Raises:
        UserError: if something is missing, unreadable, empty or ambiguous.

    Example:
        >>> corpus = load_corpus("grammar", sizes=(100, 10, 10))
        >>> corpus["train"].num_rows, corpus["train"].column_names[:3]
        (100, ['text', 'source', 'target'])
    """
    check_arguments(
        load_corpus,
        split=split,
        configuration=configuration,
        revision=revision,
        columns=columns,
        language=language,
        sizes=sizes,
        validation_size=validation_size,
        test_size=test_size,
        maximum_train=maximum_train,
        labelled=labelled,
        labelled_share=labelled_share,
        streaming=streaming,
        seed=seed,
    )
    check_names(columns or ())
    _check_labelled(labelled, labelled_share, stored=not streaming)
    embedded = isinstance(train, str) and train == "grammar"
    if embedded and not (validation is None and test is None):
        raise UserError("expected sizes, not validation or test, with the embedded corpus: leave these out")
    numbered = any(isinstance(theirs, int) for theirs in (columns or {}).values())
    reader = Reader(configuration, revision, streaming, numbered)
    with _quiet(), blaming_the_cache():
        if embedded:
            splits, columns = _embedded(sizes, seed, language, columns)
        else:
            splits = reader.read(train, split, {"validation": validation, "test": test})
        splits = {name: _as_wanted(rows, streaming) for name, rows in splits.items()}
        columns = _mapping(_features(splits["train"], "train").flatten(), columns)
        splits = {name: _tidy(rows, columns, name) for name, rows in splits.items()}
        wanted = {"validation": validation_size, "test": test_size}
        missing = {name: size for name, size in wanted.items() if name not in splits}
        if streaming:
            return IterableDatasetDict(_first_rows(splits, missing, maximum_train))
        if "label" in columns:
            splits = _number_labels(splits)  # first, so that a rare class may end up in any split
        found = DatasetDict(_random_rows(splits, missing, maximum_train, seed))
        if labelled is not None:
            if "label" not in columns:
                raise UserError(
                    "expected a label of each sentence for labelled, found none: name its column in columns"
                )
            found["train"] = keep_labels(found["train"], labelled, labelled_share, seed)
        return found


def _check_labelled(labelled: int | None, share: float | None, stored: bool) -> None:
    if labelled is None and share is not None:
        raise UserError("expected labelled with labelled_share: say how many keep their label")
    if labelled is not None and not stored:
        raise UserError(f"expected a corpus that is not streamed for labelled, got {labelled} of a stream")


# ---- the embedded corpus


def _embedded(
    sizes: Sequence[int], seed: int, language: str, columns: Mapping[str, str | int] | None
) -> tuple[Splits, dict[str, str | int]]:
    """Three samples of the grammar, from seeds no other `seed` uses, and the columns to take."""
    grammar = Grammar.load()
    numbered = enumerate(zip(SPLITS, sizes, strict=True))
    splits: Splits = {name: _sampled(grammar, size, 3 * seed + i) for i, (name, size) in numbered}
    ours: dict[str, str | int] = {"text": language, "source": "en", "target": "de"}
    extra = {name: name for name in [*grammar.factors, "log_prob"]}
    return splits, {**ours, **extra, **(columns or {})}


def _sampled(grammar: Grammar, size: int, seed: int) -> Dataset:
    sentences = grammar.sample(size, seed)
    rows: dict[str, list[Any]] = {name: [s.labels[name] for s in sentences] for name in grammar.factors}
    kinds: dict[str, Any] = {name: ClassLabel(names=list(values)) for name, values in grammar.factors.items()}
    for name, kind in {"en": "string", "de": "string", "log_prob": "float64"}.items():
        rows[name] = [getattr(sentence, name) for sentence in sentences]
        kinds[name] = Value(kind)
    return Dataset.from_dict(rows, features=Features(kinds))


# ---- columns and rows


def _as_wanted(rows: Rows, streaming: bool) -> Rows:
    if isinstance(rows, Dataset):
        return rows.to_iterable_dataset() if streaming else rows
    if not streaming:
        raise UserError("expected a Dataset, got an IterableDataset: pass streaming=True")
    return rows


def _features(rows: Rows, name: str) -> Features:
    """The types of the columns; a stream that does not know them shows its first row."""
    if rows.features is not None:
        return rows.features
    first = next(iter(rows), None)
    if first is None:
        raise no_text(name)
    return Dataset.from_list([first]).features


def _mapping(found: Features, columns: Mapping[str, str | int] | None) -> dict[str, str]:
    """Our columns to theirs: as given, otherwise guessed."""
    given = {ours: str(theirs) for ours, theirs in (columns or {}).items()}
    if not set(given) & set(SPOKEN):
        given = _guess(found) | given
    order = [*COLUMNS, *given]
    return {ours: given[ours] for ours in sorted(given, key=order.index)}


def _guess(found: Features) -> dict[str, str]:
    ours = {name: name for name in ("text", "dialogue") if name in found}
    if "source" in found and "target" in found:
        ours |= {"source": "source", "target": "target"}
    if not ours:
        strings = [name for name in found if _is_string(found[name])]
        named = [name for name in TEXT_NAMES if name in strings]
        if len(strings) != 1 and not named:
            like = strings[-1] if strings else "..."
            raise UserError(
                f"expected one column of text, got columns {', '.join(found)}: "
                f"say which, e.g. columns={{'text': '{like}'}}"
            )
        ours = {"text": (named or strings)[0]}
    if "label" not in ours.values() and _holds("label", found.get("label")):
        ours["label"] = "label"
    return ours


def _check_columns(found: Features, mapping: Mapping[str, str], name: str) -> None:
    for ours, theirs in mapping.items():
        if theirs not in found:
            wrong = f"got {', '.join(found)}{did_you_mean(theirs, list(found))}"
        elif not _holds(ours, found[theirs]):
            kind = found[theirs]
            what = "bytes, or values of several kinds" if kind == Value("binary") else str(kind)
            wrong = f"got {what}, which cannot be {ours}"
        else:
            continue
        raise UserError(f"expected column {theirs!r} in {name}, {wrong}: change columns[{ours!r}]")


def _holds(ours: str, kind: Any) -> bool:
    if ours == "dialogue" and isinstance(kind, List):
        return _is_string(kind.feature)
    if ours in SPOKEN:
        return _is_string(kind)
    return isinstance(kind, Value | ClassLabel) and kind != Value("binary")


def _is_string(kind: Any) -> bool:
    return isinstance(kind, Value) and kind.dtype in ("string", "large_string", "null")


def _tidy(rows: Rows, columns: Mapping[str, str], name: str) -> Rows:
    """The rows with exactly our columns, stripped, without those that say nothing."""
    theirs = _features(rows, name)
    found = theirs.flatten()
    _check_columns(found, columns, name)
    text = {ours: Value("string") for ours in SPOKEN} | {"dialogue": List(Value("string"))}
    features = Features({ours: text.get(ours, found[theirs]) for ours, theirs in columns.items()})
    # The other columns are not even read: they may hold images.
    needed = sorted({path if path in theirs else path.partition(".")[0] for path in columns.values()})
    tidy = rows.select_columns(needed).map(
        _clean,
        batched=True,
        batch_size=BATCH,
        # `datasets` finds cached rows by the name of a function and its arguments: what it does is one of them.
        fn_kwargs={"columns": columns, "code": inspect.getsource(sys.modules[__name__])},
        remove_columns=needed,
        features=features,
    )
    if next(iter(tidy), None) is None:
        raise no_text(name)
    return tidy


def _clean(batch: Mapping[str, list[Any]], columns: Mapping[str, str], code: str) -> dict[str, list[Any]]:
    """The batch as `_tidy` wants it; `code` only tells one cache from another."""
    clean = {
        ours: [_value(ours, cell) for cell in _column(batch, theirs)] for ours, theirs in columns.items()
    }
    said = [all(row) for row in zip(*(clean[ours] for ours in clean if ours in SPOKEN), strict=True)]
    return {ours: list(compress(values, said)) for ours, values in clean.items()}


def _column(batch: Mapping[str, list[Any]], path: str) -> list[Any]:
    if path in batch:
        return batch[path]
    outer, *inner = path.split(".")
    cells = batch[outer]
    for name in inner:
        cells = [cell and cell[name] for cell in cells]
    return cells


def _value(ours: str, value: Any) -> Any:
    if ours == "dialogue":
        utterances = value.split(END_OF_UTTERANCE) if isinstance(value, str) else value or []
        return [said for said in map(_strip, utterances) if said]
    if isinstance(value, str):
        return _strip(value) or None
    return None if isinstance(value, float) and math.isnan(value) else value


def _strip(text: str | None) -> str:
    return (text or "").removeprefix(BYTE_ORDER_MARK).strip()


def _number_labels(splits: Splits) -> Splits:
    """The splits with one `ClassLabel`, of the values in train, sorted: numbers as numbers, before words."""
    if isinstance(splits["train"].features["label"], ClassLabel):
        return splits
    strings = {name: rows.cast_column("label", Value("string")) for name, rows in splits.items()}
    names = sorted(set(strings["train"].unique("label")) - {None}, key=_number_first)
    for name, rows in strings.items():
        if strange := set(rows.unique("label")) - {*names, None}:
            known = ", ".join(names[:20])
            raise UserError(f"expected labels of {name} to occur in train ({known}), got {min(strange)!r}")
    return {name: rows.cast_column("label", ClassLabel(names=names)) for name, rows in strings.items()}


def _number_first(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return float("inf"), label


# ---- splits drawn from train


def _random_rows(splits: Splits, missing: Sizes, maximum: int | None, seed: int) -> Splits:
    """All three splits, the missing ones drawn from train at random; all rows keep their order."""
    train = splits["train"]
    total = train.num_rows
    counts = {name: _share(size, total) for name, size in missing.items()}
    if sum(counts.values()) >= total:
        wanted = " and ".join(f"{n} for {name}" for name, n in counts.items())
        raise UserError(
            f"expected more than {wanted} rows to draw from, got {total}: give these splits, or more text"
        )
    order = np.random.default_rng(seed).permutation(total)
    drawn, start = {}, 0
    for name, count in counts.items():
        drawn[name] = train.select(np.sort(order[start : start + count]))
        start += count
    rest = order[start:][:maximum]
    drawn["train"] = train.select(np.sort(rest)) if len(rest) < total else train
    return {name: (splits | drawn)[name] for name in SPLITS}


def _first_rows(splits: Splits, missing: Sizes, maximum: int | None) -> Splits:
    """All three splits, the missing ones from the start of a stream, whose length is not known."""
    rest, drawn = splits["train"], {}
    for name, size in missing.items():
        count = 1_000 if size is None else size
        if not isinstance(count, int):
            raise UserError(f"expected {name}_size to be a number of rows when streaming, got {size}")
        drawn[name], rest = rest.take(count), rest.skip(count)
    drawn["train"] = rest if maximum is None else rest.take(maximum)
    return {name: (splits | drawn)[name] for name in SPLITS}


def _share(size: int | float | None, total: int) -> int:
    if size is None:
        return max(1, min(5_000, total // 20))
    return max(1, round(size * total)) if isinstance(size, float) else size


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the bars of `datasets` unless somebody watches, and its error lines, as ours say more."""
    builders = logging.getLogger("datasets.packaged_modules")
    level, bars = builders.level, not datasets.are_progress_bars_disabled() and not sys.stderr.isatty()
    builders.setLevel(logging.CRITICAL)
    if bars:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        builders.setLevel(level)
        if bars:
            datasets.enable_progress_bars()
