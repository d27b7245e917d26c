"""Reads a data set of the Hub or files as splits of raw rows, or says in one line what is wrong with them."""

import atexit
import difflib
import errno
import glob
import inspect
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import datasets
from datasets import (
    BuilderConfig,
    Dataset,
    IterableDataset,
    concatenate_datasets,
    load_dataset,
    load_dataset_builder,
)
from datasets.arrow_writer import SchemaInferenceError
from datasets.data_files import EmptyDatasetError
from datasets.exceptions import DataFilesNotFoundError
from pyarrow import parquet

from textvae.support.errors import UserError
from textvae.text import tables
from textvae.text.lines import (
    STANDARD_INPUT,
    UNREADABLE,
    check_is_text,
    damaged,
    is_readable,
    opened,
    whole_lines,
)

Rows: TypeAlias = Dataset | IterableDataset
Splits: TypeAlias = dict[str, Rows]

COLUMNS = ("text", "source", "target", "label", "dialogue")
HELD_OUT_NAMES = {"validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
BUILDERS = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
BUILDERS |= dict.fromkeys((".json", ".jsonl", ".ndjson"), "json")

FULL = (errno.ENOSPC, errno.EDQUOT)
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True)
class Reader:
    """Reads any source that `load_corpus` accepts except the embedded corpus.

    Attributes:
        configuration: see `load_corpus`.
        revision: see `load_corpus`.
        streaming: see `load_corpus`.
        numbered: whether columns are named by their numbers, because there is no header.
        pipes: a copy of each pipe that was read, because a pipe can be read only once.
    """

    configuration: str | None
    revision: str | None
    streaming: bool
    numbered: bool
    pipes: dict[str, Path] = field(default_factory=dict)

    def read(self, train: Any, split: str, held_out: Mapping[str, Any]) -> Splits:
        """The split train, and validation and test if they are given or belong to the same data set."""
        try:
            found = self._splits(train)
            splits = {"train": _choose(found, (split,), train, only_one=split == "train")}
            others = {name: rows for name, rows in found.items() if rows is not splits["train"]}
            for name, given in held_out.items():
                splits |= self._held_out(others if given is None else found, name, given)
        except UserError as error:
            if not self.pipes:
                raise
            message = str(error)
            for name, copy in self.pipes.items():
                message = message.replace(str(copy), "standard input" if name == STANDARD_INPUT else name)
            raise UserError(message) from error.__cause__
        return splits

    def _held_out(self, found: Splits, name: str, given: Any) -> Splits:
        """The split validation or test by its name; an empty dict if it must be drawn from train."""
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
        """The splits of a source. A single table is the split train."""
        match source:
            case dict() if source and all(isinstance(rows, Rows) for rows in source.values()):
                return dict(source)  # this includes a DatasetDict
            case Dataset() | IterableDataset():
                return {"train": source}
            case dict() if source:
                return {"train": self._parallel(source)}
            case list() | tuple() if source:
                return {"train": self._table([self._existing(file) for file in source])}
            case str() | os.PathLike():
                return self._named(os.fspath(source))
        raise UserError(
            f"expected a Hub name, file, folder, glob, list of files or data set, got {source!r:.80}"
        )

    def _named(self, name: str) -> Splits:
        path = Path(name).expanduser()
        if file := self._file(name):
            return {"train": self._table([file])}
        if path.is_dir():
            return self._set(str(path))
        if glob.has_magic(name):
            return {"train": self._table(_matching(str(path)))}
        if _may_be_on_hub(name):
            return self._set(name)
        raise _missing(path)

    def _file(self, name: str) -> Path | None:
        """The file with this name, or the copy of a pipe; None if there is no such file."""
        path = Path(name).expanduser()
        if path.is_file() and name != STANDARD_INPUT:
            return path
        if name != STANDARD_INPUT and not is_readable(path):
            return None
        if name not in self.pipes:
            self.pipes[name] = _copied(name)
        return self.pipes[name]

    def _existing(self, given: Any) -> Path:
        if not isinstance(given, str | os.PathLike):
            raise UserError(f"expected the path of a file, got {given!r:.80} ({type(given).__name__})")
        file = self._file(os.fspath(given))
        if file is None:
            raise _missing(Path(given).expanduser())
        return file

    def _set(self, name: str) -> Splits:
        """The splits of a data set on the Hub, or of a folder with the same layout."""
        is_folder = Path(name).is_dir()
        try:
            if is_folder and (files := _plain_files(name, self.configuration)):
                return {split: self._table(own) for split, own in files.items()}
            revision = None if is_folder else self.revision
            return dict(load_dataset(name, self.configuration, revision=revision, streaming=self.streaming))
        except UserError:
            raise
        except Exception as error:  # the library raises RuntimeError, ValueError, FileNotFoundError, ...
            raise _explain_set(error, name, self.configuration) from error

    def _table(self, files: list[Path]) -> Rows:
        """The rows of several files of the same kind, in their order."""
        kind = _only_kind(files)
        if kind == "text" and self.numbered:
            kind = "csv"
        try:
            if kind in ("csv", "json"):
                return self._rows(files)
            if kind == "parquet":
                files = _with_rows(files)
            else:
                self._check_lines(files)
            paths = [glob.escape(str(file.resolve())) for file in files]
            return load_dataset(kind, data_files=paths, split="train", streaming=self.streaming)
        except UserError:
            raise
        except Exception as error:  # see _set
            raise _explain_files(error, files) from error

    def _rows(self, files: list[Path]) -> Rows:
        """The rows of CSV, TSV or JSON files, after all rows have been checked."""
        features = tables.features_of([str(file) for file in files], self.numbered)
        if not features:
            raise no_text(_some(files))
        given = {
            "files": [str(file.resolve()) for file in files],
            "features": features,
            "numbered": self.numbered,
            # `datasets` identifies cached rows by these arguments, so they include the state of the files and the code.
            "stamps": [(file.stat().st_mtime_ns, file.stat().st_size) for file in files],
            "code": inspect.getsource(tables),
        }
        kind: Any = IterableDataset if self.streaming else Dataset
        return kind.from_generator(tables.rows, features=features, gen_kwargs=given)

    def _check_lines(self, files: list[Path]) -> None:
        """Raise a `UserError` if a file is not text. For a stream, every line is checked before training begins."""
        for file in files:
            try:
                with opened(file) as content:
                    check_is_text(content, str(file))
            except UNREADABLE as error:
                raise damaged(file, error) from error
            if self.streaming:
                _count_lines(file)

    def _parallel(self, sources: Mapping[str, Any]) -> Rows:
        """The rows of parallel text files: line i of each file makes row i."""
        check_names(sources)
        files = {ours: self._side(given) for ours, given in sources.items()}
        lines = {ours: sum(map(_count_lines, own)) for ours, own in files.items()}
        if len(set(lines.values())) > 1:
            counts = ", ".join(f"{n} in {sources[ours]}" for ours, n in lines.items())
            raise UserError(
                f"expected the same number of lines in parallel files, got {counts}: compare their ends"
            )
        plain = replace(self, numbered=False)
        sides = [plain._table(own).rename_columns({"text": ours}) for ours, own in files.items()]
        return concatenate_datasets(sides, axis=1)

    def _side(self, given: Any) -> list[Path]:
        """The files of one side of parallel text."""
        pattern = str(Path(given).expanduser()) if isinstance(given, str | os.PathLike) else ""
        if glob.has_magic(pattern) and not Path(pattern).is_file():
            return _matching(pattern)
        return [self._existing(given)]


def _choose(found: Splits, names: Sequence[str], source: Any, *, only_one: bool = True) -> Rows:
    """The first of the named splits that exists; if none does, the only split."""
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
    """Raise a `UserError` if a name is not one of our columns."""
    for ours in columns:
        if ours not in COLUMNS:
            raise UserError(
                f"expected columns among {', '.join(COLUMNS)}, got {ours!r}{did_you_mean(ours, COLUMNS)}"
            )


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """The end of a message that asks for a similar name; empty if no name is similar."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _missing(path: Path) -> UserError:
    near = did_you_mean(path.name, os.listdir(path.parent) if path.parent.is_dir() else [])
    return UserError(
        f"expected a file or folder {path}, found none{near}: check the path (the current folder is {Path.cwd()})"
    )


def _matching(pattern: str) -> list[Path]:
    files = [Path(file) for file in sorted(glob.glob(pattern, recursive=True)) if Path(file).is_file()]
    if not files:
        raise UserError(f"expected files matching {pattern}, found none in {Path.cwd()}: check the pattern")
    return files


def _may_be_on_hub(name: str) -> bool:
    """Whether `name` looks like "set" or "owner/set", and not like a path into an existing folder."""
    if Path(name).suffix in {*BUILDERS, ".txt", ".gz"} or ("/" in name and Path(name).parent.is_dir()):
        return False
    return re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name) is not None


def is_table(file: str | Path) -> bool:
    """Whether a file with this name is read as a table, not as lines of text."""
    return _kind(Path(file)) != "text"


def _suffix(file: Path) -> str:
    return Path(file.name.lower().removesuffix(".gz")).suffix


def _kind(file: Path) -> str:
    return BUILDERS.get(_suffix(file), "text")


def _only_kind(files: Sequence[Path]) -> str:
    kinds = sorted({_kind(file) for file in files})
    if len(kinds) > 1:
        raise UserError(f"expected files of one kind, got {', '.join(kinds)}: pass them one by one")
    return kinds[0]


# ---- files


def _copied(name: str) -> Path:
    """A copy of a pipe's content, which is deleted when the program ends."""
    folder = Path(tempfile.mkdtemp(prefix="textvae-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = folder / ("input" if name == STANDARD_INPUT else Path(name).name)
    with opened(name) as content, copy.open("wb") as file:
        shutil.copyfileobj(content, file)
    return copy


def _count_lines(file: Path) -> int:
    """The number of lines of a text, as `datasets` counts them; every line is checked to be UTF-8."""
    return sum(1 for _ in whole_lines(file, newline=None))


def _plain_files(folder: str, configuration: str | None) -> dict[str, list[Path]]:
    """The files of each split of a folder; empty if the folder's card says how `datasets` must read them."""
    builder = load_dataset_builder(folder, configuration)
    found = {
        str(split): [_inside(folder, file) for file in own]
        for split, own in builder.config.data_files.items()
    }
    files = [file for own in found.values() for file in own]
    is_ours = all(file.is_file() and _suffix(file) in {*BUILDERS, ".txt"} for file in files)
    return found if is_ours and builder.info.features is None and _is_default(builder.config) else {}


def _inside(folder: str, file: str) -> Path:
    """The path of a file in a folder as the user named the folder; `datasets` returns absolute paths."""
    root = Path(folder).resolve()
    return Path(folder) / Path(file).relative_to(root) if Path(file).is_relative_to(root) else Path(file)


def _is_default(config: BuilderConfig) -> bool:
    """Whether a configuration sets nothing except the files."""
    default = type(config)()
    beside = {"name", "version", "data_dir", "data_files", "description"}
    options = [option.name for option in fields(config) if option.name not in beside]
    return all(getattr(config, name) == getattr(default, name) for name in options)


def _with_rows(files: Sequence[Path]) -> list[Path]:
    """The Parquet files that have rows; all of them must have the same columns."""
    found = {file: parquet.ParquetFile(file) for file in files}
    some = {file: table for file, table in found.items() if table.metadata.num_rows}
    if not some:
        raise no_text(_some(files))
    first, *others = [(file, set(table.schema_arrow.names)) for file, table in some.items()]
    for file, names in others:
        if differing := sorted(names ^ first[1]):
            raise UserError(
                f"expected the same columns in {first[0]} and {file}, got {', '.join(differing)} in only one of "
                "them: pass them one by one"
            )
    return list(some)


# ---- errors, in terms of what the user passed


def no_text(where: str) -> UserError:
    """The error if there are no rows, or all are blank."""
    return UserError(f"expected rows with text, got none in {where}: is it the right file and column?")


def _some(files: Sequence[Path]) -> str:
    return ", ".join(str(file) for file in files[:3])


def _explain_files(error: BaseException, files: Sequence[Path]) -> UserError:
    """The error that names the file that `datasets` could not read, and the reason."""
    cause = error.__cause__ or error
    if isinstance(cause, UserError):
        return cause
    if isinstance(cause, SchemaInferenceError | StopIteration) or "corresponds to no data" in str(cause):
        return no_text(_some(files))
    for file in files:
        try:
            if _kind(file) == "text":
                _count_lines(file)
        except UserError as wrong_bytes:
            return wrong_bytes
    return damaged(_some(files), cause)


@contextmanager
def blaming_the_cache() -> Iterator[None]:
    """If an error comes from a cache of `datasets` that is full or read-only, raise an error that says so."""
    try:
        yield
    except Exception as error:
        if fault := _cache_fault(error):
            raise fault from error
        raise


def _cache_fault(error: BaseException | None) -> UserError | None:
    """The error that says that the cache cannot be written, if that is the cause of ``error``; otherwise None."""
    cache = Path(datasets.config.HF_DATASETS_CACHE).expanduser().absolute()
    while error is not None:
        if isinstance(error, OSError):
            place = Path(str(error.filename)).absolute() if error.filename else None
            is_cache = place is not None and (place.is_relative_to(cache) or cache.is_relative_to(place))
            if error.errno in FULL or (is_cache and error.errno in UNWRITABLE):
                return UserError(
                    f"expected a writable cache, got {cache}: {error.strerror or error}; set "
                    "HF_DATASETS_CACHE to a folder with room"
                )
        error = error.__cause__ or error.__context__
    return None


def _explain_set(error: Exception, name: str, configuration: str | None) -> UserError:
    """The error that says why `datasets` cannot read a data set on the Hub or a folder, and what to do."""
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
