"""Vectors of corpora that are too large for one machine, on Ray Data."""

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
"""A text file is encoded in pieces of so many bytes; so much is encoded again after a break."""

ROWS = 4096
"""Texts that are held at once."""

SETTINGS = "_textvae.json"
"""What a folder's vectors are of; readers of Parquet folders leave out names that begin so."""


class Encoder:
    """The actor for `ray.data.Dataset.map_batches` that puts vectors beside texts.

    Args:
        model: a run folder that every machine sees, or the Hub's ``owner/name``.
        column: with the texts.
        batch_size: texts at once; None: as many as have 4,096 tokens.
        normalize: scale each vector to length 1, and its deviations with it.
        deviations: put the posterior's standard deviations there too.

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
        """The table with the column ``vector`` and, if asked for, ``deviation``, in the order of its rows."""
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
    """Write the vectors of all texts to a folder of Parquet files; returns how many rows there are.

    The source is cut into pieces: the row groups of Parquet files, of text files, one text a line, as many bytes as
    `TEXT_BYTES`. Each piece becomes one file, which an actor of `ray.data.Dataset.map_batches` writes and then moves
    into place. So a piece is there once and whole, or not at all: one whose worker has died is done again by another,
    and a call that is repeated does those that are missing. In the order of their names the files hold the texts in
    the order of the source, with all columns that it has.

    Paths are those that all machines see: local or shared folders, or URIs of `pyarrow.fs`, such as ``s3://…``.

    Args:
        model: a run folder, or the Hub's ``owner/name``.
        source: a file or a folder of files, Parquet or text (.txt; also .gz, in one piece).
        folder: where the vectors go.
        column: of Parquet files, with the texts.
        batch_size: texts at once; None: as many as have 4,096 tokens.
        normalize: scale each vector to length 1, and its deviations with it.
        deviations: write the posterior's standard deviations too.
        workers: actors that encode at the same time.
        cpus_per_worker: cores of each, which is also how many threads it uses.
        gpus_per_worker: devices of each.

    Raises:
        UserError: if the source holds no such files, or the folder holds vectors of another model, source or options.
    """
    import ray

    options = {"batch_size": batch_size, "normalize": normalize, "deviations": deviations}
    store, root = fs.FileSystem.from_uri(_uri(folder))
    pieces = list(_pieces(source, column))
    fingerprint = TextVAE.from_pretrained(model, "cpu").fingerprint()
    _claim(
        store,
        root,
        {"model": fingerprint, "source": source, "pieces": len(pieces), "column": column, **options},
    )
    there = {info.base_name for info in store.get_file_info(fs.FileSelector(root))}
    if missing := [piece for piece in pieces if piece.name not in there]:
        written = ray.data.from_items([vars(piece) for piece in missing], override_num_blocks=len(missing))
        written.map_batches(
            _PieceWriter,
            fn_constructor_kwargs={"folder": folder, "model": model, "column": column, **options},
            batch_size=1,
            concurrency=workers,
            num_cpus=cpus_per_worker,
            num_gpus=gpus_per_worker,
        ).materialize()
    return sum(parquet.read_metadata(f"{root}/{piece.name}", filesystem=store).num_rows for piece in pieces)


@dataclass(frozen=True)
class _Piece:
    """A part of the source.

    Attributes:
        name: of the file that its vectors go to.
        uri: of the file that it is in.
        start: its row group or, in a text file, first byte; its lines are those that begin from there on.
        stop: the byte behind it; -1 in a Parquet file, and where the whole of a text file is meant.
    """

    name: str
    uri: str
    start: int
    stop: int


def _uri(path: str) -> str:
    """A URI for a URI or a local path, which may be relative."""
    return path if "://" in path else Path(path).absolute().as_uri()


def _pieces(source: str, column: str) -> Iterator[_Piece]:
    """All pieces of the source, in the order of file names."""
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
    """Start and stop of the pieces of one file."""
    kind = PurePosixPath(info.base_name).suffix
    if kind == ".parquet":
        metadata = parquet.ParquetFile(info.path, filesystem=store)
        if column not in metadata.schema_arrow.names:
            names = ", ".join(metadata.schema_arrow.names)
            raise UserError(f"expected a column {column} in {info.path}, got {names}: name it with column=")
        yield from ((group, -1) for group in range(metadata.num_row_groups))
    elif kind == ".gz":
        # What lies where in it is not known without reading all of it.
        yield 0, -1
    elif kind == ".txt":
        for start in range(0, info.size, TEXT_BYTES):
            yield start, min(start + TEXT_BYTES, info.size)
    else:
        raise UserError(f"expected Parquet or text files, got {info.path}: leave out what is neither")


def _claim(store: fs.FileSystem, root: str, settings: dict[str, Any]) -> None:
    """Say in the folder what its vectors are of, or make sure that it says the same."""
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
            f"expected to go on with the vectors in {root}, got another {' and '.join(differing)}: repeat the call "
            "that began them, or take another folder"
        )


class _PieceWriter:
    """The actor that turns pieces into files of vectors."""

    def __init__(self, folder: str, **options: Any) -> None:
        self.encoder = Encoder(**options)
        self.store, self.root = fs.FileSystem.from_uri(_uri(folder))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The number of rows of each piece (n,), once its file is there."""
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
    """The rows of a piece, `ROWS` at once; one table without rows where there are none."""
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
    """The lines of a text file that begin from byte ``start`` on and before ``stop``."""
    with (
        store.open_input_file(path) as raw,
        gzip.open(raw) if path.endswith(".gz") else io.BufferedReader(raw, 2**20) as file,
    ):
        at = start
        if start:
            # A line that began before belongs to the piece before.
            file.seek(start - 1)
            at += len(file.readline()) - 1
        while (stop < 0 or at < stop) and (line := file.readline()):
            at += len(line)
            try:
                yield line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"expected UTF-8 in {path}, got other bytes in the line that ends at byte {at}: convert the file"
                ) from error
