"""The reader: a Hub name, files or a data set become splits of raw rows, or one line that says what is wrong."""

import codecs
import csv
import difflib
import glob
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from datasets import (
    Dataset,
    Features,
    IterableDataset,
    Value,
    concatenate_datasets,
    load_dataset,
    load_dataset_builder,
)
from datasets.arrow_writer import SchemaInferenceError
from datasets.data_files import EmptyDatasetError
from datasets.exceptions import DataFilesNotFoundError
from pandas.errors import EmptyDataError

from textvae.errors import UserError

Rows: TypeAlias = Dataset | IterableDataset
Splits: TypeAlias = dict[str, Rows]

COLUMNS = ("text", "source", "target", "label", "dialogue")
HELD_OUT_NAMES = {"validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
BUILDERS = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
BUILDERS |= dict.fromkeys((".json", ".jsonl", ".ndjson"), "json")
TEXT = {".txt", *BUILDERS} - {".parquet"}
UNREADABLE = (OSError, EOFError, zlib.error)  # what damaged gzip raises, too


@dataclass(frozen=True)
class Reader:
    """A reader of what the user names, which may be anything that `load_corpus` lists.

    Attributes:
        configuration: see `load_corpus`, as for `revision` and `streaming`.
        numbered: whether columns go by their numbers, as there is no header.
    """

    configuration: str | None
    revision: str | None
    streaming: bool
    numbered: bool

    def read(self, train: Any, split: str, held_out: Mapping[str, Any]) -> Splits:
        """Train, and validation and test as far as they are given or belong to the same set."""
        found = self._splits(train)
        splits = {"train": _choose(found, (split,), train, only_one=split == "train")}
        others = {name: rows for name, rows in found.items() if rows is not splits["train"]}
        for name, given in held_out.items():
            splits |= self._held_out(others if given is None else found, name, given)
        return splits

    def _held_out(self, found: Splits, name: str, given: Any) -> Splits:
        """Validation or test under its own name, or nothing if it must be drawn from train."""
        if given is None:
            own = next((own for own in HELD_OUT_NAMES[name] if own in found), None)
            return {name: found[own]} if own else {}
        if isinstance(given, str) and given in found:
            return {name: found[given]}
        if len(found) > 1 and isinstance(given, str) and given.isidentifier() and not Path(given).exists():
            raise UserError(
                f"expected {name} to be a file or one of the splits {', '.join(found)}, got {given!r}"
            )
        return {name: _choose(self._splits(given), HELD_OUT_NAMES[name], given)}

    def _splits(self, source: Any) -> Splits:
        """The splits of a source; a single table is called train."""
        match source:
            case dict() if source and all(isinstance(rows, Rows) for rows in source.values()):
                return dict(source)  # a DatasetDict is a dict, too
            case Dataset() | IterableDataset():
                return {"train": source}
            case dict() if source:
                return {"train": self._parallel(source)}
            case list() | tuple() if source:
                return {"train": self._table([_existing(file) for file in source])}
            case str() | os.PathLike():
                return self._named(os.fspath(source))
        raise UserError(
            f"expected a Hub name, file, folder, glob, list of files or data set, got {source!r:.80}"
        )

    def _named(self, name: str) -> Splits:
        path = Path(name).expanduser()
        if path.is_file():
            return {"train": self._table([path])}
        if path.is_dir():
            return self._set(str(path))
        if glob.has_magic(name):
            return {"train": self._table(_matching(str(path)))}
        if _may_be_on_hub(name):
            return self._set(name)
        raise _missing(path)

    def _set(self, name: str) -> Splits:
        """The splits of a set on the Hub, or of a folder laid out like one."""
        folder = Path(name).is_dir()
        revision = None if folder else self.revision
        try:
            splits = load_dataset(name, self.configuration, revision=revision, streaming=self.streaming)
            files = load_dataset_builder(name, self.configuration).config.data_files if folder else None
        except Exception as error:  # the library raises RuntimeError, ValueError, FileNotFoundError, ...
            raise _explain_set(error, name, self.configuration) from error
        for file in (Path(file) for own in (files or {}).values() for file in own):
            if _suffix(file) in TEXT and file.is_file():  # the folder's card may name files elsewhere
                self._check_bytes(file)
        return dict(splits)

    def _table(self, files: list[Path]) -> Rows:
        """The rows of files of one kind, one after the other."""
        kind = _only_kind(files)
        if kind == "text" and self.numbered:
            kind = "csv"
        for file in files if kind != "parquet" else ():
            _check_is_text(file)
            self._check_bytes(file)
        try:
            return load_dataset(
                kind,
                data_files=[glob.escape(str(file.resolve())) for file in files],
                split="train",
                streaming=self.streaming,
                **(_csv_options(files[0], self.numbered) if kind == "csv" else {}),
            )
        except Exception as error:  # see _set
            raise _explain_files(error, files) from error

    def _check_bytes(self, file: Path) -> None:
        """Raise a `UserError` if bytes are wrong and reading would not notice, or would not yet."""
        # The reader of JSON lets wrong bytes pass, and a stream would come to those of a late line in the training.
        if _kind(file) == "json" or self.streaming:
            try:
                _check_utf8(file)
            except UNREADABLE as error:
                raise _damaged(file, error) from error

    def _parallel(self, sources: Mapping[str, Any]) -> Rows:
        """The rows of text files side by side: line i of each makes row i."""
        check_names(sources)
        files = {ours: _side(given) for ours, given in sources.items()}
        try:
            lines = {ours: sum(map(_count_lines, own)) for ours, own in files.items()}
        except (UnicodeDecodeError, *UNREADABLE) as error:
            raise _explain_files(error, [file for own in files.values() for file in own]) from error
        if len(set(lines.values())) > 1:
            counts = ", ".join(f"{n} in {sources[ours]}" for ours, n in lines.items())
            raise UserError(
                f"expected the same number of lines in parallel files, got {counts}: compare their ends"
            )
        plain = replace(self, numbered=False)
        tables = [plain._table(own).rename_columns({"text": ours}) for ours, own in files.items()]
        return concatenate_datasets(tables, axis=1)


def _choose(found: Splits, names: Sequence[str], source: Any, *, only_one: bool = True) -> Rows:
    """The first of the named splits there is, or else the only one there is."""
    for name in names:
        if name in found:
            return found[name]
    if only_one and len(found) == 1:
        return next(iter(found.values()))
    raise UserError(
        f"expected split {names[0]!r} in {source!s:.80}, got {', '.join(found)}: name one of those"
    )


# ---- names


def check_names(columns: Iterable[str]) -> None:
    """Raise a `UserError` if a column is none of ours."""
    for ours in columns:
        if ours not in COLUMNS:
            raise UserError(
                f"expected columns among {', '.join(COLUMNS)}, got {ours!r}{did_you_mean(ours, COLUMNS)}"
            )


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """A question that ends a message, or nothing if no name is near."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _existing(file: Any) -> Path:
    path = Path(file).expanduser()
    if not path.is_file():
        raise _missing(path)
    return path


def _side(given: Any) -> list[Path]:
    """The files of one side of parallel text."""
    path = Path(given).expanduser()
    return _matching(str(path)) if glob.has_magic(str(path)) and not path.is_file() else [_existing(path)]


def _missing(path: Path) -> UserError:
    near = did_you_mean(path.name, os.listdir(path.parent) if path.parent.is_dir() else [])
    return UserError(
        f"expected a file or folder {path}, found none{near}: check the path, we are in {Path.cwd()}"
    )


def _matching(pattern: str) -> list[Path]:
    files = [Path(file) for file in sorted(glob.glob(pattern, recursive=True)) if Path(file).is_file()]
    if not files:
        raise UserError(f"expected files matching {pattern}, found none in {Path.cwd()}: check the pattern")
    return files


def _may_be_on_hub(name: str) -> bool:
    """Whether `name` reads like "set" or "owner/set", and not like a path into a folder here."""
    if Path(name).suffix in {*BUILDERS, ".txt", ".gz"} or ("/" in name and Path(name).parent.is_dir()):
        return False
    return re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name) is not None


def is_table(file: str | Path) -> bool:
    """Whether a file of this name is read as a table, not as lines of text."""
    return _kind(Path(file)) != "text"


def _suffix(file: Path) -> str:
    return Path(file.name.lower().removesuffix(".gz")).suffix


def _kind(file: Path) -> str:
    return BUILDERS.get(_suffix(file), "text")


def _only_kind(files: Sequence[Path]) -> str:
    kinds = sorted({_kind(file) for file in files})
    if len(kinds) > 1:
        raise UserError(f"expected files of one kind, got {', '.join(kinds)}: give them one by one")
    return kinds[0]


# ---- bytes


def _open(file: Path) -> gzip.GzipFile | io.BufferedReader:
    """The bytes of a file; `datasets` too goes by the first bytes, not by the name, to know gzip."""
    with open(file, "rb") as start:
        zipped = start.read(2) == b"\x1f\x8b"
    return gzip.open(file, "rb") if zipped else open(file, "rb")


def _csv_options(file: Path, numbered: bool) -> dict[str, Any]:
    """Options with which every cell is the string it is: "NA" is a word, and 1984 may be a title."""
    separator = "," if _suffix(file) == ".csv" else "\t"
    # Tables with tabs are mostly written without quoting, and a stray quote would swallow many lines.
    quoting: Any = csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE
    with io.TextIOWrapper(_open(file), encoding="utf-8-sig", errors="replace", newline="") as lines:
        first = next(csv.reader(lines, delimiter=separator, quoting=quoting), [])
    names = [str(i) if numbered else name or f"Unnamed: {i}" for i, name in enumerate(first)]
    strings = Features({name: Value("string") for name in names})
    header = {"header": None, "column_names": names} if numbered else {}
    return {"sep": separator, "quoting": quoting, "keep_default_na": False, "features": strings} | header


def _count_lines(file: Path) -> int:
    with io.TextIOWrapper(_open(file), encoding="utf-8") as lines:
        return sum(1 for _ in lines)


def _check_is_text(file: Path) -> None:
    try:
        with _open(file) as start:
            binary = b"\0" in start.read(4096)
    except UNREADABLE as error:
        raise _damaged(file, error) from error
    if binary:
        kinds = ", ".join(BUILDERS)
        raise UserError(
            f"expected text, {kinds}, plain or .gz, got {file}, binary or UTF-16: convert it to UTF-8"
        )


def _check_utf8(file: Path) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with _open(file) as content:
            for block in iter(lambda: content.read(2**20), b""):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        _name_the_line(file)


def _name_the_line(file: Path) -> None:
    with _open(file) as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                raise UserError(
                    f"expected UTF-8, got byte 0x{line[error.start]:02x} in line {number} of {file}: "
                    f"convert it, e.g. iconv -f latin1 -t utf-8"
                ) from error


# ---- what went wrong, in terms of what the user gave


def no_text(where: str) -> UserError:
    """The error of rows that are not there, or all blank."""
    return UserError(f"expected rows with text, got none in {where}: is it the right file and column?")


def _damaged(file: Path | str, error: BaseException) -> UserError:
    what = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UserError(
        f"expected a readable file, got {file}: {what}; it may be cut short or not what its name says"
    )


def _explain_files(error: BaseException, files: Sequence[Path]) -> UserError:
    """The error that names the file `datasets` stumbled on, and why."""
    cause = error.__cause__ or error
    some = ", ".join(str(file) for file in files[:3])
    empty = isinstance(cause, SchemaInferenceError | EmptyDataError | StopIteration)
    if empty or "corresponds to no data" in str(cause):
        return no_text(some)
    for file in files:
        try:
            if _kind(file) != "parquet":
                _check_utf8(file)
        except UserError as wrong_bytes:
            return wrong_bytes
        except UNREADABLE as unreadable:
            return _damaged(file, unreadable)
    return _damaged(some, cause)


def _explain_set(error: Exception, name: str, configuration: str | None) -> UserError:
    """The error that says what `datasets` found wrong with a set on the Hub, or a folder, and what to do."""
    message = str(error)
    if "scripts are no longer supported" in message:
        return UserError(
            f"expected a data set of plain files, got {name}, which has a loading script: pass "
            f'revision="refs/convert/parquet", the Hub\'s own conversion'
        )
    if found := re.search(r"(?:Available:|available configs:) \[(.*?)\]", message):
        return UserError(f"expected configuration among {found[1]}, got {configuration!r}: name one of those")
    if isinstance(error, EmptyDatasetError | DataFilesNotFoundError):
        return UserError(
            f"expected .txt, .csv, .jsonl or .parquet files in {name}, found none: give the files or a glob"
        )
    if files := [file for file in sorted(Path(name).rglob("*")) if file.is_file()]:
        return _explain_files(error, files)
    return UserError(
        f"expected a file here or a data set on the Hub, got {name}{did_you_mean(name, os.listdir())}: "
        f"{message.strip().splitlines()[0]}; check the spelling, the network and HF_HUB_OFFLINE"
    )
