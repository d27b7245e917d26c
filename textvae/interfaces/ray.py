"""Encode corpora that are too large for one machine, on Ray Data."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import fs, parquet

from textvae.interfaces.text_vae import TextVAE
from textvae.support.errors import UserError

TEXT_BYTES = 64 * 2**20
"""Bytes of a piece of a text file. After an interruption at most one piece for each worker is encoded again."""

ROWS = 4096
"""Texts that are held in memory at once."""

SETTINGS = "_textvae.json"
"""The file with the settings of a folder's vectors. Readers of Parquet folders ignore names that begin with _."""


class Encoder:
    """An actor for `ray.data.Dataset.map_batches` that adds a column of vectors to a table of texts.

    Args:
        model: a run folder that every machine can read, or ``owner/name`` on the Hub.
        column: name of the column of texts.
        batch_size: texts at once; None: as many as make 4,096 tokens.
        normalize: scale each vector to length 1, and its standard deviations with it.
        deviations: add a column of the posterior standard deviations too.

    Example:
        >>> texts = ray.data.read_parquet("s3://bucket/reviews/")                     # doctest: +SKIP
        >>> vectors = texts.map_batches(                                              # doctest: +SKIP
        ...     Encoder,
        ...     fn_constructor_kwargs={"model": "runs/demo"},
        ...     batch_format="pyarrow",
        ...     batch_size=4096,
        ...     concurrency=8,
        ... )
    """

    def __init__(
        self,
        model: str,
        column: str = "text",
        batch_size: int | None = None,
        normalize: bool = False,
        deviations: bool = False,
    ) -> None:
        self.vae = TextVAE.from_pretrained(model)
        self.column, self.batch_size = column, batch_size
        self.normalize, self.deviations = normalize, deviations

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The table with an added column ``vector`` and, if ``deviations`` is set, a column ``deviation``."""
        means, scales = self.vae.encode(
            batch[self.column].to_pylist(),
            batch_size=self.batch_size,
            show_progress_bar=False,
            normalize_embeddings=self.normalize,
            return_deviations=True,
        )
        named = {"vector": means} | ({"deviation": scales} if self.deviations else {})
        for name, vectors in named.items():
            flat = pa.array(np.asarray(vectors, dtype=np.float32).ravel())
            batch = batch.append_column(name, pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))
        return batch


def write_vectors(
    model: str,
    source: str,
    folder: str,
    *,
    column: str = "text",
    batch_size: int | None = None,
    normalize: bool = False,
    deviations: bool = False,
    workers: int = 2,
    cpus_per_worker: float = 1,
    gpus_per_worker: float = 0,
) -> int:
    """Write the vectors of all texts to a folder of Parquet files; returns the number of rows.

    The source is divided into pieces: the row groups of a Parquet file, or `TEXT_BYTES` of a text file with one text
    per line. A Ray actor encodes each piece to one file, and moves the file into place when it is complete. If a worker
    dies, another repeats its piece; a repeated call encodes only the missing pieces. Read in the order of their names,
    the files hold the texts in the order of the source, with all its columns.

    All machines must be able to read the paths: local or shared folders, or URIs of `pyarrow.fs`, such as ``s3://…``.

    Args:
        model: a run folder, or ``owner/name`` on the Hub.
        source: a Parquet or text file (.txt, or .gz, which is one piece), or a folder of such files.
        folder: the folder of the vectors.
        column: name of the column of texts in Parquet files.
        batch_size: texts at once; None: as many as make 4,096 tokens.
        normalize: scale each vector to length 1, and its standard deviations with it.
        deviations: write the posterior standard deviations too.
        workers: number of actors that encode in parallel.
        cpus_per_worker: CPU cores, and so threads, of each actor.
        gpus_per_worker: GPUs of each actor.

    Raises:
        UserError: if the source holds no such files, or the folder holds vectors of another model, source or options.
    """
    import ray

    options = {"column": column, "batch_size": batch_size, "normalize": normalize, "deviations": deviations}
    store, root = fs.FileSystem.from_uri(_uri(folder))
    pieces = list(_pieces(source, column))
    fingerprint = TextVAE.from_pretrained(model, "cpu").fingerprint()
    _claim(store, root, {"model": fingerprint, "source": source, "pieces": len(pieces), **options})
    if missing := _missing(store, root, pieces):
        rows = ray.data.from_items([vars(piece) for piece in missing], override_num_blocks=len(missing))
        arguments = {"folder": folder, "model": model, **options}
        actors: dict[str, Any] = {
            "concurrency": workers,
            "num_cpus": cpus_per_worker,
            "num_gpus": gpus_per_worker,
        }
        rows.map_batches(_PieceWriter, fn_constructor_kwargs=arguments, batch_size=1, **actors).materialize()
    return sum(parquet.read_metadata(f"{root}/{piece.name}", filesystem=store).num_rows for piece in pieces)


@dataclass(frozen=True)
class _Piece:
    """A piece of the source.

    Attributes:
        name: name of the file for its vectors.
        uri: the file that contains the piece.
        start: number of the row group or, in a text file, the first byte. A piece has the lines that begin in it.
        stop: the byte after the piece; -1 in a Parquet file or for a whole text file.
    """

    name: str
    uri: str
    start: int
    stop: int


def _uri(path: str) -> str:
    """The URI of a path, which may be a URI already, or a local path, absolute or relative."""
    return path if "://" in path else Path(path).absolute().as_uri()


def _pieces(source: str, column: str) -> Iterator[_Piece]:
    """All pieces of the source, sorted by file name."""
    store, path = fs.FileSystem.from_uri(_uri(source))
    found = store.get_file_info(path)
    if found.type == fs.FileType.NotFound:
        raise UserError(f"expected a file or folder in {source}, got none: check the path")
    infos = [found]
    if found.type == fs.FileType.Directory:
        infos = [
            info
            for info in store.get_file_info(fs.FileSelector(path, recursive=True))
            if info.type == fs.FileType.File and not info.base_name.startswith((".", "_"))
        ]
    prefix = _uri(source).split("://")[0] + "://"
    count = 0
    for info in sorted(infos, key=lambda info: info.path):
        for start, stop in _cuts(store, info, column):
            yield _Piece(f"{count:08d}.parquet", prefix + info.path, start, stop)
            count += 1
    if not count:
        raise UserError(f"expected Parquet or text files in {source}, got none with text in them")


def _cuts(store: fs.FileSystem, info: fs.FileInfo, column: str) -> Iterator[tuple[int, int]]:
    """The start and stop of each piece of a file."""
    kind = PurePosixPath(info.base_name).suffix
    if kind == ".parquet":
        metadata = parquet.ParquetFile(info.path, filesystem=store)
        if column not in metadata.schema_arrow.names:
            names = ", ".join(metadata.schema_arrow.names)
            raise UserError(f"expected a column {column} in {info.path}, got {names}: name it with column=")
        yield from ((group, -1) for group in range(metadata.num_row_groups))
    elif kind == ".gz":
        # A compressed file cannot be read from the middle.
        yield 0, -1
    elif kind == ".txt":
        for start in range(0, info.size, TEXT_BYTES):
            yield start, min(start + TEXT_BYTES, info.size)
    else:
        raise UserError(
            f"expected Parquet or text files, got {info.path}: remove other files from the source"
        )


def _claim(store: fs.FileSystem, root: str, settings: dict[str, Any]) -> None:
    """Write the settings to the folder, or check that they equal those of an earlier call."""
    store.create_dir(root)
    path = f"{root}/{SETTINGS}"
    if store.get_file_info(path).type == fs.FileType.NotFound:
        with store.open_output_stream(path) as file:
            file.write(json.dumps(settings, indent=1).encode() + b"\n")
        return
    with store.open_input_stream(path) as file:
        found = json.loads(file.read())
    if differing := [name for name, value in settings.items() if found.get(name) != value]:
        raise UserError(
            f"expected the settings with which the vectors in {root} were begun, got different values of "
            f"{' and '.join(differing)}: repeat the first call, or choose another folder"
        )


def _missing(store: fs.FileSystem, root: str, pieces: list[_Piece]) -> list[_Piece]:
    """The pieces whose vectors are not in the folder yet."""
    there = {info.base_name for info in store.get_file_info(fs.FileSelector(root))}
    return [piece for piece in pieces if piece.name not in there]


class _PieceWriter:
    """An actor that encodes pieces to files of vectors."""

    def __init__(self, folder: str, **options: Any) -> None:
        self.encoder = Encoder(**options)
        self.store, self.root = fs.FileSystem.from_uri(_uri(folder))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Write the file of each piece; returns the numbers of their rows, (n,)."""
        pieces = zip(*(batch[field].tolist() for field in ("name", "uri", "start", "stop")), strict=True)
        return {"rows": np.array([self._write(_Piece(*piece)) for piece in pieces])}

    def _write(self, piece: _Piece) -> int:
        rows, writer = 0, None
        partial = f"{self.root}/.{piece.name}"
        for texts in _tables(piece, self.encoder.column):
            table = self.encoder(texts)
            writer = writer or parquet.ParquetWriter(partial, table.schema, filesystem=self.store)
            writer.write_table(table)
            rows += table.num_rows
        if writer is not None:
            writer.close()
            self.store.move(partial, f"{self.root}/{piece.name}")
        return rows


def _tables(piece: _Piece, column: str) -> Iterator[pa.Table]:
    """The rows of a piece in tables of `ROWS` rows; an empty piece gives one empty table."""
    store, path = fs.FileSystem.from_uri(piece.uri)
    if path.endswith(".parquet"):
        file = parquet.ParquetFile(path, filesystem=store)
        parts = (pa.Table.from_batches([part]) for part in file.iter_batches(ROWS, row_groups=[piece.start]))
        yield from (
            parts if file.metadata.row_group(piece.start).num_rows else [file.schema_arrow.empty_table()]
        )
        return
    lines = _lines(store, path, piece.start, piece.stop)
    first = list(islice(lines, ROWS))
    yield pa.table({column: pa.array(first, pa.string())})
    while part := list(islice(lines, ROWS)):
        yield pa.table({column: part})


def _lines(store: fs.FileSystem, path: str, start: int, stop: int) -> Iterator[str]:
    """The lines of a text file that begin at byte ``start`` or later, and before ``stop``."""
    with (
        store.open_input_file(path) as raw,
        gzip.open(raw) if path.endswith(".gz") else io.BufferedReader(raw, 2**20) as file,
    ):
        at = start
        if start:
            # A line that begins before ``start`` belongs to the previous piece.
            file.seek(start - 1)
            at += len(file.readline()) - 1
        while (stop < 0 or at < stop) and (line := file.readline()):
            at += len(line)
            try:
                yield line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"expected UTF-8 in {path}, got other bytes in the line that ends at byte {at}: convert the file "
                    "to UTF-8"
                ) from error
