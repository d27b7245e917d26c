"""Corpora: reads a data set, files or the embedded corpus into a `DatasetDict` with columns of known names.

**Result.** The splits are train, validation and test. Their columns are text, or source and target, or dialogue, and
maybe label. White space at the ends of a text is removed, and rows whose text is blank are left out. A dialogue is a
list of utterances; a string is split at `__eou__`. Labels become a `ClassLabel` whose names are the sorted values in
train; a stream keeps them as they are. `datasets` caches everything on disk and memory-maps it.

**Files.** The extension says how a file is read: .csv, .tsv, .json, .jsonl, .ndjson or .parquet, each also with .gz.
Any other file is text with one sentence per line. Cells of CSV and TSV are strings; TSV has no quotes; every row must
have as many fields as the first. A pipe such as `/dev/fd/63` and "-", standard input, are read as text.

**Sources.** `train` is one of these:

- "grammar": the embedded corpus. Besides text it has the columns source (English), target (German), the factors of its
  grammar (topic, tense, ...) and log_prob, in nats;
- the name of a data set on the Hub, or a folder;
- a file, a glob or a list of files;
- a dict of parallel text files or globs such as `{"source": "a.en", "target": "a.de"}`: line i of each makes row i;
- a data set of `datasets`, or a dict of splits.

`validation` and `test` may be any of these but "grammar", or the name of a split of `train`. If one of them is None,
and `train` has a split of that name, that split is used. Otherwise its rows are drawn from train (a stream: its first
rows).

**Columns.** `columns` maps our names to those of the corpus, e.g. `{"text": "sentence", "label": "stars"}`; "a.b" is
field b of column a. Numbers count the columns, from 0, of CSV or TSV files without a header; text files are then
separated by tabs. If `columns` names no text, the columns that have our names are used, or the only one with text.

Example:
    >>> corpus = load_corpus("grammar", sizes=(100, 10, 10))
    >>> corpus["train"].num_rows, corpus["train"].column_names[:3]
    (100, ['text', 'source', 'target'])
"""

import inspect
import logging
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import compress
from typing import Any, Literal, TypeAlias

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, IterableDatasetDict, List, Value

from textvae.support.errors import UserError
from textvae.support.held import Held
from textvae.support.options import Part, Size, check_arguments, defaults
from textvae.support.quiet import bars_of_datasets
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
SAMPLED = (20_000, 2_000, 2_000)  # sentences of the embedded corpus in each split, if no sizes are given
SPOKEN = ("text", "source", "target", "dialogue")  # a row is left out if one of these is blank
END_OF_UTTERANCE = "__eou__"
BYTE_ORDER_MARK = "\ufeff"
BATCH = 100  # rows that are processed at once; each may hold a whole book


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
    sizes: tuple[Size, Size, Size] | None = None,
    validation_size: Size | Part | None = None,
    test_size: Size | Part | None = None,
    maximum_train: Size | None = None,
    labelled: Size | None = None,
    labelled_share: Part | None = None,
    streaming: bool = False,
    seed: Seed = 0,
) -> DatasetDict | IterableDatasetDict:
    """The splits train, validation and test of a corpus. The module's docstring says more about each argument.

    Args:
        train: "grammar" (the embedded corpus), a name on the Hub, a file or several, a folder, or a data set.
        validation: the same, or the name of a split of ``train``; None: its own split, or rows drawn from train.
        test: like ``validation``.
        split: the split of ``train`` to train on, if it has several.
        configuration: the configuration of a data set on the Hub or in a folder.
        revision: the revision of a data set on the Hub.
        columns: from our column names to those of the corpus, e.g. `{"text": "sentence"}`; None: they are guessed.
        language: the side of the embedded corpus that becomes the column text, "en" or "de".
        sizes: rows in train, validation and test of the embedded corpus, drawn independently; None: `SAMPLED`.
        validation_size: rows, or share of the rows, to draw; None: 5 %, at most 5,000, or 1,000 rows of a stream.
        test_size: like ``validation_size``.
        maximum_train: maximum number of rows in train, drawn at random, or the first ones of a stream.
        labelled: number of rows in train that keep their label; the labels of the others become None. None: all.
        labelled_share: repeat the labelled rows of train until they are this share of it, see `keep_labels`.
        streaming: read the rows when they are needed; otherwise they are converted to Arrow files first.
        seed: seed of every random draw.

    Raises:
        UserError: if something is missing, unreadable, empty or ambiguous.
    """
    check_arguments(load_corpus, **{name: value for name, value in locals().items() if name not in SPLITS})
    check_names(columns or ())
    _check_labelled(labelled, labelled_share, stored=not streaming)
    held_out = {"validation": validation, "test": test}
    wanted = {"validation": validation_size, "test": test_size}
    with _quiet(), blaming_the_cache():
        if isinstance(train, str) and train == "grammar":
            splits, columns = _embedded(held_out, sizes, seed, language, columns)
        else:
            _check_own_corpus(train, sizes, language)
            numbered = any(isinstance(theirs, int) for theirs in (columns or {}).values())
            splits = Reader(configuration, revision, streaming, numbered).read(train, split, held_out)
        splits = _with_columns(splits, columns, streaming)
        if streaming:
            return IterableDatasetDict(_first_rows(splits, wanted, maximum_train))
        found = DatasetDict(_random_rows(splits, wanted, maximum_train, seed))
        return found if labelled is None else _with_few_labels(found, labelled, labelled_share, seed)


def _check_own_corpus(train: Any, sizes: Sequence[int] | None, language: str) -> None:
    """Refuse options that only the embedded corpus reads."""
    for name, value, fix in (
        ("sizes", sizes, "maximum_train, validation_size and test_size"),
        ("language", language, "columns"),
    ):
        if value != (default := defaults(load_corpus)[name]):
            unset = "null" if default is None else default
            raise UserError(
                f"expected no {name} with {train!s:.80}, as only the embedded corpus has {name}, got {value}: leave it "
                f"out (in a recipe: corpus.{name}={unset}), and use {fix} instead"
            )


def _check_labelled(labelled: int | None, share: float | None, stored: bool) -> None:
    if labelled is None and share is not None:
        raise UserError("expected labelled with labelled_share: say how many keep their label")
    if labelled is not None and not stored:
        raise UserError(
            f"expected a corpus that is not streamed for labelled={labelled}, got a stream: leave one out"
        )


def _with_few_labels(corpus: DatasetDict, labelled: int, share: float | None, seed: int) -> DatasetDict:
    """The corpus, where all but ``labelled`` rows of train have lost their label, see `keep_labels`."""
    if "label" not in corpus["train"].column_names:
        raise UserError(
            "expected a label for each sentence, as labelled needs, found none: name its column in columns"
        )
    return DatasetDict({**corpus, "train": keep_labels(corpus["train"], labelled, share, seed)})


# ---- the embedded corpus


def _embedded(
    held_out: Mapping[str, Any],
    sizes: Sequence[int] | None,
    seed: int,
    language: str,
    columns: Mapping[str, str | int] | None,
) -> tuple[Splits, dict[str, str | int]]:
    """Three samples of the grammar, each with a random seed that no other `seed` uses, and the columns to use."""
    if any(given is not None for given in held_out.values()):
        raise UserError("expected sizes, not validation or test, with the embedded corpus: leave these out")
    grammar = Grammar.load()
    numbered = enumerate(zip(SPLITS, sizes or SAMPLED, strict=True))
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


def _with_columns(splits: Splits, columns: Mapping[str, str | int] | None, streaming: bool) -> Splits:
    """The splits with our columns and clean texts; unless they are streamed, their labels are numbered."""
    splits = {name: _as_wanted(rows, streaming) for name, rows in splits.items()}
    mapping = _mapping(_features(splits["train"], "train").flatten(), columns)
    splits = {name: _tidy(rows, mapping, name) for name, rows in splits.items()}
    # Labels are numbered before rows are drawn, so that a rare class may end up in any split.
    return _number_labels(splits) if "label" in mapping and not streaming else splits


def _as_wanted(rows: Rows, streaming: bool) -> Rows:
    if isinstance(rows, Dataset):
        return rows.to_iterable_dataset() if streaming else rows
    if not streaming:
        raise UserError("expected a Dataset, got an IterableDataset: pass streaming=True")
    return rows


def _features(rows: Rows, name: str) -> Features:
    """The types of the columns. If a stream does not know them, they are those of its first row."""
    if rows.features is not None:
        return rows.features
    first = next(iter(rows), None)
    if first is None:
        raise no_text(name)
    return Dataset.from_list([first]).features


def _mapping(found: Features, columns: Mapping[str, str | int] | None) -> dict[str, str]:
    """The column of the corpus for each of our columns, as given or, if no text is given, guessed."""
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
    """The rows with exactly our columns and clean texts, without the rows whose text is blank."""
    theirs = _features(rows, name)
    found = theirs.flatten()
    _check_columns(found, columns, name)
    text = {ours: Value("string") for ours in SPOKEN} | {"dialogue": List(Value("string"))}
    features = Features({ours: text.get(ours, found[theirs]) for ours, theirs in columns.items()})
    # Other columns are not read, because they may hold images.
    needed = sorted({path if path in theirs else path.partition(".")[0] for path in columns.values()})
    tidy = rows.select_columns(needed).map(
        _clean,
        batched=True,
        batch_size=BATCH,
        # `datasets` identifies cached rows by the function's name and arguments, so the code is made an argument.
        fn_kwargs={"columns": columns, "code": inspect.getsource(sys.modules[__name__])},
        remove_columns=needed,
        features=features,
    )
    if next(iter(tidy), None) is None:
        raise no_text(name)
    return tidy


def _clean(batch: Mapping[str, list[Any]], columns: Mapping[str, str], code: str) -> dict[str, list[Any]]:
    """The cleaned batch for `_tidy`. `code` has no effect; it only distinguishes caches."""
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
    """The splits with one `ClassLabel`: the values in train, sorted, numbers by value and before words."""
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


def _random_rows(splits: Splits, sizes: Sizes, maximum: int | None, seed: int) -> Splits:
    """All three splits. The missing ones are drawn from train at random; the order of the rows is kept."""
    missing = {name: size for name, size in sizes.items() if name not in splits}
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


def _first_rows(splits: Splits, sizes: Sizes, maximum: int | None) -> Splits:
    """All three splits. The missing ones are the first rows of train, a stream of unknown length."""
    missing = {name: size for name, size in sizes.items() if name not in splits}
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


_builders = logging.getLogger("datasets.packaged_modules")
_level = Held(lambda: _builders.level, _builders.setLevel)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the progress bars of `datasets` unless stderr is a terminal, and its error lines, as ours say more."""
    with _level(logging.CRITICAL), nullcontext() if sys.stderr.isatty() else bars_of_datasets(False):
        yield
