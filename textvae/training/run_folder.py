"""The folder of a run: the files that belong to it, who may write to it, and when writing begins."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from textvae.latent_space.fitted_priors import FOLDER as PRIORS
from textvae.models.checkpoint import last_whole_checkpoint
from textvae.support.errors import UserError
from textvae.support.files import PARTIAL_FOLDER, replacing
from textvae.text.corpus import load_corpus
from textvae.text.fields import SourceField
from textvae.text.vocabulary import FILE as VOCABULARY
from textvae.training.record import Corpus, Record, differences, digests, flat

SOURCE = SourceField.folder
RECIPE, RECORD, LOCK = "recipe.yaml", "run.json", ".lock"

Names = Mapping[str, Any]
"""Names in a folder: maps a regular expression to the names in a matching subfolder, or to None for a file."""

# Files left behind if a process is killed in `replacing_files_in`.
LEFT: Names = {PARTIAL_FOLDER.pattern: {".+": None}}
TOKENIZER: Names = {r"tokenizer(_config)?\.json": None, re.escape(VOCABULARY): None}
MODEL: Names = {r"(generation_)?config\.json": None, r"model\.safetensors": None}
CHECKPOINT: Names = {
    **MODEL,
    **TOKENIZER,
    r"(optimizer|scheduler|scaler)\.pt": None,
    r"rng_state(_\d+)?\.pth": None,
    r"trainer_state\.json": None,
    r"training_args\.bin": None,
}
CHECKPOINTS: Names = {r"checkpoint-\d+": CHECKPOINT}
LOGS: Names = {"runs": {".+": {r"events\.out\.tfevents\..+": None}}}
STAGE: Names = {**MODEL, **CHECKPOINTS, **LOGS, r"curves\.png": None}
PRETRAINING: Names = {"pretraining": {**STAGE, **LEFT, r"pretraining\.json": None}}
# A fitted prior is useless for another model, so it is deleted together with its model.
FITTED: Names = {PRIORS: {r".+\.safetensors": None}}
RESULT: Names = {r"evaluation\.json": None}

RUN: Names = {
    **STAGE,
    **PRETRAINING,
    **FITTED,
    **RESULT,
    **TOKENIZER,
    **LEFT,
    SOURCE: {**TOKENIZER, **LEFT},
    re.escape(RECIPE): None,
    re.escape(RECORD): None,
}
"""Everything that a run writes. Overwriting a run deletes these files and no others."""

LEFT_OVER: Names = {**LEFT, SOURCE: LEFT, "pretraining": LEFT}
"""Files that a resumed run does not need."""

WORK: Names = {**CHECKPOINTS, **PRETRAINING, **MODEL, **RESULT}
"""Files that took the run time to produce."""

PATIENCE = 6.0
"""Seconds to wait for the lock: data-loading processes hold it up to five seconds after their parent was killed."""


class RunFolder:
    """The folder of a run, used by the only process that writes to it.

    Training does all its work inside `locked`. It calls `check`, `read_corpus`, `compare` if it resumes a run, and
    `begin`, in this order. It calls `begin` only after the recipe, the corpus and the model have passed all checks;
    nothing is deleted before.

    Args:
        path: the folder, which need not exist.
        recipe: the sections of the recipe, as read from the file.
        step: the size of a step, see `size_of_step`.
    """

    def __init__(self, path: Path, recipe: Mapping[str, Any], step: int) -> None:
        self.path, self.recipe, self.step = path, recipe, step

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create and lock the folder; at the end, remove it if it is still empty.

        The operating system releases the lock when the process ends, even if it is killed.

        Raises:
            UserError: if another process trains in the folder, or the folder cannot be written to.
        """
        with self._made():
            lock = self._acquired()
            try:
                yield
            finally:
                # Delete the file before releasing the lock, which another process could take otherwise.
                with suppress(OSError):
                    (self.path / LOCK).unlink()
                lock.release()

    @contextmanager
    def _made(self) -> Iterator[None]:
        """Create the folder and its parents, and remove those again that stay empty."""
        new: list[Path] = []
        try:
            with self._writing():
                new += [place for place in (self.path, *self.path.parents) if not place.exists()]
                self.path.mkdir(parents=True, exist_ok=True)
            yield
        finally:
            for place in new:
                with suppress(OSError):
                    place.rmdir()

    def _acquired(self) -> FileLock:
        """Acquire the lock of the folder."""
        lock = FileLock(self.path / LOCK)
        with self._writing():
            try:
                lock.acquire(timeout=PATIENCE)
            except Timeout as error:
                raise UserError(
                    f"expected one training at a time in {self.path}, got another that is still running: wait for it, "
                    "end it, or set training.output_dir"
                ) from error
        return lock

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an error of the operating system into a `UserError` that says why the folder cannot be written to."""
        try:
            yield
        except OSError as error:
            raise UserError(
                f"expected a folder that can be written to, got {self.path} ({error.strerror}): set "
                "training.output_dir"
            ) from error

    @property
    def is_run(self) -> bool:
        """Whether a run has begun in the folder. Runs of earlier versions have no `RECORD`."""
        return self._has(RECORD) or (self._has(RECIPE) and self._has("tokenizer.json"))

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Check that this training may write to the folder, without changing anything.

        Args:
            resume: whether to continue the run in the folder.
            overwrite: whether to delete the run in the folder.

        Raises:
            UserError: if the folder holds something other than a run; if it holds a run and neither argument is set;
                if the run cannot be resumed; or if the recipe reads files that would be deleted.
        """
        if not self.is_run:
            self._check_empty(resume)
        elif overwrite:
            self._check_inputs()
        elif resume:
            self._check_checkpoints()
        elif any(belonging(self.path, WORK)):
            raise UserError(
                f"expected a new run folder, got {self.path}, which holds a run: pass --resume to continue it, "
                "--overwrite to delete it, or set training.output_dir"
            )

    def _check_empty(self, resume: bool) -> None:
        """Check that the folder is empty except for this recipe and, if ``resume`` is set, a tokenizer to use."""
        given = set(belonging(self.path, TOKENIZER)) if resume else set()
        if self._stored == self.recipe:
            given.add(self.path / RECIPE)
        others = sorted(
            path.name for path in self.path.iterdir() if path not in given and not path.name.startswith(".")
        )
        if others:
            names = ", ".join(others[:3]) + ", ..." * (len(others) > 3)
            raise UserError(
                f"expected an empty folder or one that holds a run, got {self.path} with other files ({names}): set "
                "training.output_dir to another folder"
            )

    def _check_inputs(self) -> None:
        """Check that the recipe reads no file that is to be deleted."""
        kept = {self.path / RECIPE, self.path / RECORD}
        deleted = {path.resolve() for path in (self.path, *belonging(self.path, RUN)) if path not in kept}
        for key, value in flat(self.recipe).items():
            for name in value if isinstance(value, list) else [value]:
                if key != "training.output_dir" and _place(name) in deleted:
                    raise UserError(
                        f"expected {key} outside of the run that is overwritten, got {name}: set another "
                        "training.output_dir"
                    )

    def _check_checkpoints(self) -> None:
        """Check that a complete checkpoint exists if the run has results that starting again would replace."""
        parts = sorted(path.parent.name for path in self.path.glob("checkpoint-*/trainer_state.json"))
        ended = self._has("evaluation.json") and self._has("model.safetensors")
        if (parts or ended) and last_whole_checkpoint(self.path) is None:
            found = f"only parts of {' and '.join(parts)}" if parts else "a finished run without one"
            raise UserError(
                f"expected a complete checkpoint in {self.path} to resume from, got {found}: copy the run again, or "
                "pass --overwrite to start again"
            )

    def read_corpus(self, arguments: Mapping[str, Any], *, resume: bool) -> Corpus:
        """The corpus. A resumed run gets the same training rows as before, even if its test split has changed.

        If the first test split was drawn from the training data and is now replaced by another, its rows remain
        excluded from training.

        Args:
            arguments: arguments of `load_corpus`.
            resume: whether the run in the folder is resumed.

        Raises:
            UserError: see `load_corpus`.
        """
        corpus: Any = load_corpus(**arguments)
        record = self._record if resume else None
        if record is None or self._test in (None, record.test):
            return corpus
        begun = load_corpus(**{**arguments, "test": record.test})
        return type(corpus)({**begun, "test": corpus["test"]})

    def compare(self, corpus: Corpus) -> None:
        """Check that the run is resumed with the recipe and the rows that it began with.

        Args:
            corpus: the corpus from `read_corpus`.

        Raises:
            UserError: if there are differences; the message lists them all, with the old and the new values.
        """
        record, stored = self._record, self._stored
        if record is None:
            return
        if stored is None:
            if any(belonging(self.path, WORK)):
                raise self._damaged(RECIPE)
            return
        present = Record(self._test, digests(corpus), self.step)
        if found := differences(record, present, stored, self.recipe):
            raise UserError(
                f"expected the recipe and the corpus that the run in {self.path} began with, got {'; '.join(found)}: "
                "undo this, or set training.output_dir for another run"
            )

    def begin(self, corpus: Corpus, *, resume: bool) -> None:
        """Prepare the folder for this run: delete an existing run unless it is resumed, and write the recipe.

        The folder thus always holds the recipe of the last training.

        Args:
            corpus: the training corpus.
            resume: whether the run in the folder is resumed.

        Raises:
            UserError: if the folder cannot be written to.
        """
        record = (self._record if resume else None) or Record(self._test, {}, None)
        if not record.rows:
            record = replace(record, rows=digests(corpus), step=self.step)
        with self._writing():
            # Write the record first, so that the folder counts as a run even if its deletion is interrupted.
            self._write(RECORD, json.dumps(asdict(record), indent=2) + "\n")
            self._clear(LEFT_OVER if resume else RUN)
            if self._stored != self.recipe:
                self._write(RECIPE, yaml.safe_dump(dict(self.recipe), sort_keys=False, allow_unicode=True))

    def _clear(self, names: Names) -> None:
        """Delete files with these names, except the two that `begin` replaces, and folders that become empty."""
        for path in belonging(self.path, names):
            if path.is_dir() and not path.is_symlink():
                with suppress(OSError):
                    path.rmdir()
            elif path not in (self.path / RECIPE, self.path / RECORD):
                path.unlink()

    def _damaged(self, name: str) -> UserError:
        return UserError(
            f"expected {name} in {self.path} as training wrote it, got no file or a damaged one: copy the run again, "
            "or pass --overwrite to start again"
        )

    def _has(self, name: str) -> bool:
        return (self.path / name).is_file()

    def _write(self, name: str, text: str) -> None:
        with replacing(self.path / name) as partial:
            partial.write_text(text, encoding="utf-8")

    @property
    def _test(self) -> Any:
        """The test split that the recipe gives."""
        return (self.recipe.get("corpus") or {}).get("test")

    @property
    def _stored(self) -> dict[str, Any] | None:
        """The recipe in the folder; None if there is none, or it cannot be read."""
        try:
            stored = yaml.safe_load((self.path / RECIPE).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            return None
        return stored if isinstance(stored, dict) else None

    @property
    def _record(self) -> Record | None:
        """The record of the run in the folder; incomplete for a run of an earlier version."""
        if self._has(RECORD):
            try:
                return Record(**json.loads((self.path / RECORD).read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise self._damaged(RECORD) from error
        if self.is_run and self._stored is not None:
            return Record((self._stored.get("corpus") or {}).get("test"), {}, None)
        return None


def _place(name: Any) -> Path | None:
    """The path that a value of a recipe names; None if the value cannot be a path."""
    try:
        return Path(name).expanduser().resolve()
    except (TypeError, ValueError, OSError, RuntimeError):
        return None


def belonging(folder: Path, names: Names) -> Iterator[Path]:
    """The files in a folder that belong to a run, and their subfolders, each after its contents.

    Args:
        folder: the folder.
        names: the names of the files that belong to a run.
    """
    for path in sorted(folder.iterdir()):
        for inside in (inside for name, inside in names.items() if re.fullmatch(name, path.name)):
            if path.is_symlink() or (path.is_file() and inside is None):
                yield path
            elif path.is_dir() and inside is not None:
                yield from belonging(path, inside)
                yield path
