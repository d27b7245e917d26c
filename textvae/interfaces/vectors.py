"""Encode a corpus of any size to a file of vectors, in bounded memory; an interrupted call can be resumed."""

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
"""Maximum texts of a part. After an interruption at most one part is encoded again."""

CHARACTERS = 2**26
"""Maximum characters of a part, unless a single text has more."""


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
    """Write the vectors of all texts to a file, in order; returns the number of texts.

    An ``.npy`` file holds an array (n, Z) of the posterior means, float32, which `numpy.load` can memory-map. The
    standard deviations go to a second file, ``NAME.deviations.npy``. A ``.parquet`` file holds a table with the columns
    row (from 0), text, vector and, if ``deviations`` is set, deviation.

    Until the file is complete, parts of `ROWS` texts are kept in the folder ``PATH.parts`` (beside the target if the
    path is a link). If a call finds parts, it continues after them; the file is then byte for byte the same as without
    an interruption. Several processes can share the work; each must be given all texts.

    Args:
        vae: the model.
        texts: any number of texts, read once, in any form that `given.as_list` takes, such as a streamed split of
            `load_corpus`.
        path: the file to write.
        batch_size: texts at once; None: as many as make 4,096 tokens.
        normalize: scale each vector to length 1, and its standard deviations with it.
        deviations: write the posterior standard deviations too.
        show_progress_bar: None: only on a terminal.

    Raises:
        UserError: if the file is neither .npy nor .parquet or cannot be written, or if existing parts belong to another
            model, other options or other texts; see also `SentenceEncoder.encode`.

    Example:
        >>> vae = TextVAE.from_pretrained("runs/demo")                                # doctest: +SKIP
        >>> rows = load_corpus("reviews.csv", streaming=True)["train"]                # doctest: +SKIP
        >>> write_vectors(vae, rows, "reviews.parquet")                               # doctest: +SKIP
    """
    path = Path(path).expanduser()
    check_target(path, deviations)
    options: dict[str, Any] = {"batch_size": batch_size, "normalize": normalize, "deviations": deviations}
    parts = _encode_parts(vae, texts, _parts_folder(path), options, show_progress_bar)
    list(shared([parts], partial(_assemble, path)))
    return parts.rows


def check_target(path: Path, deviations: bool = False) -> None:
    """Check that vectors can be written to a file.

    Args:
        path: the file.
        deviations: whether a file of standard deviations is written too.

    Raises:
        UserError: if the path is a folder or does not end in .npy or .parquet; see also `check_writable`.
    """
    check_writable(path, "z.npy")
    if path.suffix not in (".npy", ".parquet"):
        raise UserError(f"expected a .npy or .parquet file, got {path}: name it {path.stem}.npy")
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
    """The vectors of all texts in order, in tables of up to `ROWS` rows, without writing a file.

    Args:
        vae: the model.
        texts: any number of texts, as in `write_vectors`.
        batch_size: texts at once; None: as many as make 4,096 tokens.
        normalize: scale each vector to length 1, and its standard deviations with it.
        deviations: return the posterior standard deviations too.

    Returns:
        Tables with the columns text, vector and, if ``deviations`` is set, deviation. If several processes share the
        work, each returns all tables.
    """
    options: dict[str, Any] = {"batch_size": batch_size, "normalize": normalize, "deviations": deviations}
    return shared(_parts_of(texts), lambda part: _table(vae, part, **options))


# ---- parts


MANIFEST = "manifest.json"


def _encode_parts(
    vae: SentenceEncoder, texts: Any, folder: Path, options: dict[str, Any], show_progress_bar: bool | None
) -> _Parts:
    """Write the parts that are missing in the folder; returns all parts.

    Raises:
        UserError: if parts in the folder belong to another model, other options or other texts.
    """
    settings = {"model": vae.fingerprint(), **options, "rows": ROWS}
    done = _digests(folder, settings)
    digests: list[str] = []
    rows = 0
    write = partial(_write_part, vae, folder, options, len(done))
    with tqdm(desc="encoding", unit=" texts", disable=hidden_bar(show_progress_bar)) as bar:
        for number, (digest, count) in enumerate(shared(enumerate(_parts_of(texts)), write)):
            digests.append(digest)
            if number < len(done) and digest != done[number]:
                raise _others(folder, f"different texts from row {rows} on")
            if number >= len(done) and is_first():
                _write_manifest(folder, settings, digests)
            rows += count
            bar.update(count)
    if len(digests) < len(done):
        raise _others(folder, "fewer texts")
    return _Parts(folder, len(digests), rows, _table(vae, [], **options).schema)


def _write_part(
    vae: SentenceEncoder, folder: Path, options: dict[str, Any], done: int, numbered: tuple[int, list[str]]
) -> tuple[str, int]:
    """Write a part unless it is among the first ``done``; returns the digest and the number of its texts."""
    number, texts = numbered
    if number >= done:
        with replacing(folder / _name(number)) as unfinished:
            parquet.write_table(_table(vae, texts, **options), unfinished)
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest(), len(texts)


def _parts_of(texts: Any) -> Iterator[list[str]]:
    """The texts in lists of up to `ROWS` texts and `CHARACTERS` characters."""
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
    """The folder of the parts, on the same disk as the file."""
    target = target_of(path)
    return target.with_name(f"{target.name}.parts")


def _of_deviations(path: Path) -> Path:
    """The file of the standard deviations, beside the file of the means."""
    return path.with_suffix(".deviations.npy")


def _name(part: int) -> str:
    return f"{part:08d}.parquet"


def _table(
    vae: SentenceEncoder, texts: list[str], batch_size: int | None, normalize: bool, deviations: bool
) -> pa.Table:
    """A table with the columns text, vector and, if ``deviations`` is set, deviation."""
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
    """An array (n, Z) as a column of n lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])


def _write_manifest(folder: Path, settings: dict[str, Any], digests: list[str]) -> None:
    """Write the settings and the digests of the parts. This follows each part, so the parts it names are complete."""
    with replacing(folder / MANIFEST) as partial:
        partial.write_text(json.dumps({**settings, "texts": digests}, indent=1) + "\n", encoding="utf-8")


def _digests(folder: Path, settings: dict[str, Any]) -> list[str]:
    """The digests of the texts of the complete parts."""
    if not (folder / MANIFEST).exists():
        return []
    found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    digests = found.pop("texts")
    if differing := [name for name, value in settings.items() if found.get(name) != value]:
        raise _others(folder, f"a different {' and '.join(differing)}")
    return digests


def _others(folder: Path, differing: str) -> UserError:
    return UserError(
        f"expected the interrupted call that left {folder}, got one with {differing}: repeat that call, or delete the "
        "folder"
    )


# ---- the file


@dataclass(frozen=True)
class _Parts:
    """All parts of a corpus, complete.

    Attributes:
        folder: the folder of the parts.
        count: number of parts.
        rows: number of rows in all parts together.
        schema: columns and types of each part.
    """

    folder: Path
    count: int
    rows: int
    schema: pa.Schema

    def tables(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The tables of the parts in order, with only the given columns; None: all columns."""
        for part in range(self.count):
            yield parquet.read_table(self.folder / _name(part), columns=columns)


def _assemble(path: Path, parts: _Parts) -> None:
    """Combine the parts into one file, and delete them."""
    parts.folder.mkdir(parents=True, exist_ok=True)
    (_assemble_table if path.suffix == ".parquet" else _assemble_arrays)(parts, path)
    # Delete the manifest first, so that a half-deleted folder does not look like one that can be resumed.
    (parts.folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(parts.folder)


def _assemble_table(parts: _Parts, path: Path) -> None:
    """Write the parts to one Parquet file, with an added column of row numbers."""
    partial, first = parts.folder / path.name, 0
    with parquet.ParquetWriter(partial, parts.schema.insert(0, pa.field("row", pa.int64()))) as writer:
        for table in parts.tables():
            numbers = pa.array(range(first, first + table.num_rows), pa.int64())
            writer.write_table(table.add_column(0, "row", numbers))
            first += table.num_rows
    move(partial, path)


def _assemble_arrays(parts: _Parts, path: Path) -> None:
    """Write the means to one array file and the standard deviations, if there are any, to another."""
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
            # A memory map would not do: its written pages count as memory of this process.
            np.lib.format.write_array_header_1_0(file, header)
            for table in parts.tables([column]):
                file.write(table[column].combine_chunks().flatten().to_numpy())
        move(partial, target)
