"""A corpus of any size becomes a file of vectors, in bounded memory and with resume."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet
from tqdm import tqdm

from textvae.support.errors import UserError
from textvae.support.files import check_folder, check_writable, move, replacing, target_of
from textvae.support.processes import hidden_bar, is_first, shared
from textvae.text.given import each_text

if TYPE_CHECKING:
    from textvae.interfaces.sentence_encoder import SentenceEncoder

ROWS = 4096
"""Texts that are held, encoded and kept at once; so many are encoded again after a kill."""

CHARACTERS = 2**26
"""Characters of these texts, at most, unless one text alone has more."""


def write_vectors(
    vae: SentenceEncoder,
    texts: Any,
    path: str | Path,
    *,
    batch_size: int | None = None,
    normalize: bool = False,
    deviations: bool = False,
    show_progress_bar: bool | None = None,
) -> int:
    """Write the vectors of all texts to a file, in their order; returns how many there are.

    An ``.npy`` file is an array (n, Z) of the posterior means in single precision, which `numpy.load` can map into
    memory; the deviations are a second one beside it, ``NAME.deviations.npy``. A ``.parquet`` file is a table with
    the columns row (from 0), text, vector and, if asked for, deviation.

    Parts of `ROWS` texts are kept in the folder ``PATH.parts`` until the file is whole; if the path is a link, beside
    the file behind it. A call that finds such parts goes on behind them, and the file is, byte for byte, the one that
    it would have been without a break. Several processes share the parts, all texts of which each must be given; the
    file is that of one.

    Args:
        vae: what encodes.
        texts: as many as there are, read once, in anything that `given.as_list` takes, such as a streamed split of
            `load_corpus`.
        path: the file to write.
        batch_size: texts at once; None: as many as have 4,096 tokens.
        normalize: scale each vector to length 1, and its deviations with it.
        deviations: write the posterior's standard deviations too.
        show_progress_bar: None: only on a terminal.

    Raises:
        UserError: if the file is of no such kind or cannot be written, if the parts are of another model, other options
            or other texts, or as `SentenceEncoder.encode` says.

    Example:
        >>> vae = TextVAE.from_pretrained("runs/demo")                                # doctest: +SKIP
        >>> rows = load_corpus("reviews.csv", streaming=True)["train"]                # doctest: +SKIP
        >>> write_vectors(vae, rows, "reviews.parquet")                               # doctest: +SKIP
    """
    path = Path(path).expanduser()
    check_target(path, deviations)
    options: dict[str, Any] = {"batch_size": batch_size, "normalize": normalize, "deviations": deviations}
    settings = {"model": vae.fingerprint(), **options, "rows": ROWS}
    folder = _parts_folder(path)
    done = _digests(folder, settings)
    digests: list[str] = []
    rows = 0
    hidden = hidden_bar(show_progress_bar)

    def kept(item: tuple[int, list[str]]) -> tuple[str, int]:
        """The digest of a part, which is written, and the number of its texts."""
        number, part = item
        if number >= len(done):
            with replacing(folder / _name(number)) as unfinished:
                parquet.write_table(_table(vae, part, **options), unfinished)
        return hashlib.sha256(json.dumps(part).encode()).hexdigest(), len(part)

    with tqdm(desc="encoding", unit=" sentences", disable=hidden) as bar:
        for number, (digest, count) in enumerate(shared(enumerate(_parts_of(texts)), kept)):
            digests.append(digest)
            if number < len(done) and digest != done[number]:
                raise _others(folder, f"its texts from row {rows} on")
            if number >= len(done) and is_first():
                _write_manifest(folder, settings, digests)
            rows += count
            bar.update(count)
    if len(digests) < len(done):
        raise _others(folder, "the number of its texts")
    parts = _Parts(folder, len(digests), rows, _table(vae, [], **options).schema)
    list(shared([parts], partial(_assemble, path)))
    return rows


def check_target(path: Path, deviations: bool = False) -> None:
    """Refuse a file that cannot be written as vectors.

    Args:
        path: of the file.
        deviations: whether theirs has to be written too.

    Raises:
        UserError: if it is a folder, if its name has another ending, or as `check_writable` says.
    """
    check_writable(path, "z.npy")
    if path.suffix not in (".npy", ".parquet"):
        raise UserError(f"expected a file .npy or .parquet, got {path}: name it {path.stem}.npy")
    if deviations and path.suffix == ".npy":
        check_writable(_of_deviations(path))
    check_folder(_parts_folder(path))


def tables_of(
    vae: SentenceEncoder,
    texts: Any,
    *,
    batch_size: int | None = None,
    normalize: bool = False,
    deviations: bool = False,
) -> Iterator[pa.Table]:
    """The vectors of all texts in their order, `ROWS` at a time, for what is not to become a file.

    Args:
        vae: what encodes.
        texts: as for `write_vectors`, as are the options.
        batch_size: texts at once; None: as many as have 4,096 tokens.
        normalize: scale each vector to length 1, and its deviations with it.
        deviations: give the posterior's standard deviations too.

    Returns:
        Tables with the columns text, vector and, if asked for, deviation; the same on each of several processes,
        which share the work.
    """
    options: dict[str, Any] = {"batch_size": batch_size, "normalize": normalize, "deviations": deviations}
    return shared(_parts_of(texts), lambda part: _table(vae, part, **options))


# ---- parts


MANIFEST = "manifest.json"


def _parts_of(texts: Any) -> Iterator[list[str]]:
    """The strings, so many at a time."""
    part: list[str] = []
    characters = 0
    for text in each_text(texts):
        if part and characters + len(text) > CHARACTERS:
            yield part
            part, characters = [], 0
        part.append(text)
        characters += len(text)
        if len(part) == ROWS:
            yield part
            part, characters = [], 0
    if part:
        yield part


def _parts_folder(path: Path) -> Path:
    """Where the parts are until the file is whole: on the disk of the file."""
    target = target_of(path)
    return target.with_name(f"{target.name}.parts")


def _of_deviations(path: Path) -> Path:
    """The file of the deviations beside an array of means."""
    return path.with_suffix(".deviations.npy")


def _name(part: int) -> str:
    return f"{part:08d}.parquet"


def _table(
    vae: SentenceEncoder, texts: list[str], batch_size: int | None, normalize: bool, deviations: bool
) -> pa.Table:
    """A part: columns text, vector and, if asked for, deviation."""
    means, scales = vae.encode(
        texts,
        batch_size=batch_size,
        show_progress_bar=False,
        normalize_embeddings=normalize,
        return_deviations=True,
    )
    columns = {"text": pa.array(texts, pa.string()), "vector": _lists(means)}
    return pa.table(columns | ({"deviation": _lists(scales)} if deviations else {}))


def _lists(vectors: NDArray[np.float32]) -> pa.FixedSizeListArray:
    """The rows of (n, Z)."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])


def _write_manifest(folder: Path, settings: dict[str, Any], digests: list[str]) -> None:
    """Say what the parts come from; written behind each part, so that those it names are whole."""
    with replacing(folder / MANIFEST) as partial:
        partial.write_text(json.dumps({**settings, "texts": digests}, indent=1) + "\n", encoding="utf-8")


def _digests(folder: Path, settings: dict[str, Any]) -> list[str]:
    """The digest of the texts of each part that is done."""
    if not (folder / MANIFEST).exists():
        return []
    found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    digests = found.pop("texts")
    if differing := [name for name, value in settings.items() if found.get(name) != value]:
        raise _others(folder, f"its {' and '.join(differing)}")
    return digests


def _others(folder: Path, differing: str) -> UserError:
    return UserError(
        f"expected to go on with {folder}, got another call than the one that was interrupted ({differing}): repeat "
        f"that, or delete the folder"
    )


# ---- the file


@dataclass(frozen=True)
class _Parts:
    """The parts that are done, all of them.

    Attributes:
        folder: where they are.
        count: how many.
        rows: how many there are in all of them.
        schema: their columns and types.
    """

    folder: Path
    count: int
    rows: int
    schema: pa.Schema

    def tables(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """One after the other, with these columns alone or with all."""
        for part in range(self.count):
            yield parquet.read_table(self.folder / _name(part), columns=columns)


def _assemble(path: Path, parts: _Parts) -> None:
    """Make one file of the parts, and delete them."""
    parts.folder.mkdir(parents=True, exist_ok=True)
    (_assemble_table if path.suffix == ".parquet" else _assemble_arrays)(parts, path)
    # First, so that no folder that is half deleted looks like one to go on with.
    (parts.folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(parts.folder)


def _assemble_table(parts: _Parts, path: Path) -> None:
    """Write the parts as one Parquet file, with the number of each row."""
    partial, first = parts.folder / path.name, 0
    with parquet.ParquetWriter(partial, parts.schema.insert(0, pa.field("row", pa.int64()))) as writer:
        for table in parts.tables():
            numbers = pa.array(range(first, first + table.num_rows), pa.int64())
            writer.write_table(table.add_column(0, "row", numbers))
            first += table.num_rows
    move(partial, path)


def _assemble_arrays(parts: _Parts, path: Path) -> None:
    """Write the parts as one array, and their deviations as another."""
    names = {"deviation": _of_deviations(path), "vector": path}
    for column, target in names.items():
        if column not in parts.schema.names:
            continue
        partial = parts.folder / target.name
        header = {
            "descr": "<f4",
            "fortran_order": False,
            "shape": (parts.rows, parts.schema.field(column).type.list_size),
        }
        with partial.open("wb") as file:
            # Not through a memory map, whose written pages would count as this program's memory.
            np.lib.format.write_array_header_1_0(file, header)
            for table in parts.tables([column]):
                file.write(table[column].combine_chunks().flatten().to_numpy())
        move(partial, target)
