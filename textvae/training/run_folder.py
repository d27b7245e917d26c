"""The folder of a run: what belongs to it, which training may write to it, and when that begins to write."""

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
"""What a folder holds: regular expressions of names, each with what a folder of that name holds, or None for a file."""

# What a process has left that was killed in `replacing_files_in`.
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
# A fitted prior is of no use to another model, so it goes with the one that it was fitted to.
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
"""All that a run writes, and so all that is deleted with it."""

LEFT_OVER: Names = {**LEFT, SOURCE: LEFT, "pretraining": LEFT}
"""What is of no use to a run that goes on."""

WORK: Names = {**CHECKPOINTS, **PRETRAINING, **MODEL, **RESULT}
"""What took a run time."""

PATIENCE = 6.0
"""Seconds for which a lock is waited for: processes that load data notice within five that their parent was killed."""


class RunFolder:
    """The folder of a run, for the one training that writes to it.

    A training calls `locked` around all that it does; then, in this order, `check`, `read_corpus` and `compare` if it
    goes on with the run in the folder, and `begin` when the recipe, the corpus and the model have been found right.
    Nothing is deleted before that.

    Args:
        path: the folder, which need not be there.
        recipe: the sections of the recipe, as they were read.
        step: see `size_of_step`.
    """

    def __init__(self, path: Path, recipe: Mapping[str, Any], step: int) -> None:
        self.path, self.recipe, self.step = path, recipe, step

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings out of the folder, which is made, and goes again if nothing was written to it.

        The lock is the operating system's, and ends with the process, however that ends.

        Raises:
            UserError: if another training is at work in the folder, or it cannot be written to.
        """
        with self._made():
            lock = self._acquired()
            try:
                yield
            finally:
                # While it is still held, or another training might have it already.
                with suppress(OSError):
                    (self.path / LOCK).unlink()
                lock.release()

    @contextmanager
    def _made(self) -> Iterator[None]:
        """Make the folder and those around it, and remove those again that stayed empty."""
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
        """The lock of the folder, which no other process has."""
        lock = FileLock(self.path / LOCK)
        with self._writing():
            try:
                lock.acquire(timeout=PATIENCE)
            except Timeout as error:
                raise UserError(
                    f"expected one training at a time in {self.path}, got another that is at work there: wait for it, "
                    "end it, or set training.output_dir"
                ) from error
        return lock

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say in one line why the folder cannot be written to."""
        try:
            yield
        except OSError as error:
            raise UserError(
                f"expected a folder that can be written to, got {self.path} ({error.strerror}): set "
                "training.output_dir"
            ) from error

    @property
    def is_run(self) -> bool:
        """Whether a run has begun in the folder; those of earlier versions have no `RECORD`."""
        return self._has(RECORD) or (self._has(RECIPE) and self._has("tokenizer.json"))

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse a folder whose content is not for this training to change; nothing is changed yet.

        Args:
            resume: whether the run in the folder is to go on.
            overwrite: whether it is to be deleted.

        Raises:
            UserError: if the folder holds something else than a run; if it holds a run and neither is said; if that
                run cannot go on; or if the recipe reads what is to be deleted.
        """
        if not self.is_run:
            self._check_empty(resume)
        elif overwrite:
            self._check_inputs()
        elif resume:
            self._check_checkpoints()
        elif any(belonging(self.path, WORK)):
            raise UserError(
                f"expected a new run folder, got {self.path}, which holds a run: pass --resume to go on with it, "
                "--overwrite to delete it, or set training.output_dir"
            )

    def _check_empty(self, resume: bool) -> None:
        """Refuse all but the recipe that is run and, as it is taken if the run is resumed, a tokenizer."""
        given = set(belonging(self.path, TOKENIZER)) if resume else set()
        if self._stored == self.recipe:
            given.add(self.path / RECIPE)
        others = sorted(
            path.name for path in self.path.iterdir() if path not in given and not path.name.startswith(".")
        )
        if others:
            names = ", ".join(others[:3]) + ", ..." * (len(others) > 3)
            raise UserError(
                f"expected an empty folder or one that holds a run, got {self.path} with something else ({names}): set "
                "training.output_dir to a folder of the run's own"
            )

    def _check_inputs(self) -> None:
        """Refuse to delete what the recipe reads."""
        kept = {self.path / RECIPE, self.path / RECORD}
        deleted = {path.resolve() for path in (self.path, *belonging(self.path, RUN)) if path not in kept}
        for key, value in flat(self.recipe).items():
            for name in value if isinstance(value, list) else [value]:
                if key != "training.output_dir" and _place(name) in deleted:
                    raise UserError(
                        f"expected {key} outside of the run that is to be overwritten, got {name}: set another "
                        "training.output_dir"
                    )

    def _check_checkpoints(self) -> None:
        """Refuse to begin anew, as a run without a checkpoint does, where that would replace what there is."""
        parts = sorted(path.parent.name for path in self.path.glob("checkpoint-*/trainer_state.json"))
        ended = self._has("evaluation.json") and self._has("model.safetensors")
        if (parts or ended) and last_whole_checkpoint(self.path) is None:
            found = f"only parts of {' and '.join(parts)}" if parts else "a finished run without one"
            raise UserError(
                f"expected a whole checkpoint in {self.path} to go on from, got {found}: copy the run again, or pass "
                "--overwrite to begin anew"
            )

    def read_corpus(self, arguments: Mapping[str, Any], *, resume: bool) -> Corpus:
        """The corpus; of a run that goes on with the training rows that it began with, whatever its test split is now.

        Rows that were drawn from the training data for the first test split would go back to it when another takes its
        place; they stay held out, so that the run goes on as it began.

        Args:
            arguments: of `load_corpus`.
            resume: whether the run in the folder goes on.

        Raises:
            UserError: as `load_corpus`.
        """
        corpus: Any = load_corpus(**arguments)
        record = self._record if resume else None
        if record is None or self._test in (None, record.test):
            return corpus
        begun = load_corpus(**{**arguments, "test": record.test})
        return type(corpus)({**begun, "test": corpus["test"]})

    def compare(self, corpus: Corpus) -> None:
        """Refuse to go on with the run under another recipe, or with other rows, than it began with.

        Args:
            corpus: as `read_corpus` returns it.

        Raises:
            UserError: naming all that differs and may not, with its values then and now.
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
                "take that back, or set training.output_dir for another run"
            )

    def begin(self, corpus: Corpus, *, resume: bool) -> None:
        """Make the folder this run's, which deletes the run that is there unless it goes on.

        Afterwards it holds the recipe, so that what is done with the run later is done as it was trained last.

        Args:
            corpus: what is trained on.
            resume: whether the run in the folder goes on.

        Raises:
            UserError: if the folder cannot be written to.
        """
        record = (self._record if resume else None) or Record(self._test, {}, None)
        if not record.rows:
            record = replace(record, rows=digests(corpus), step=self.step)
        with self._writing():
            # First, so that a folder whose deletion is interrupted is known for a run.
            self._write(RECORD, json.dumps(asdict(record), indent=2) + "\n")
            self._clear(LEFT_OVER if resume else RUN)
            if self._stored != self.recipe:
                self._write(RECIPE, yaml.safe_dump(dict(self.recipe), sort_keys=False, allow_unicode=True))

    def _clear(self, names: Names) -> None:
        """Delete files of these names but the two that `begin` replaces, and the folders that are empty then."""
        for path in belonging(self.path, names):
            if path.is_dir() and not path.is_symlink():
                with suppress(OSError):
                    path.rmdir()
            elif path not in (self.path / RECIPE, self.path / RECORD):
                path.unlink()

    def _damaged(self, name: str) -> UserError:
        return UserError(
            f"expected {name} in {self.path} as training wrote it, got none or a damaged one: copy the run again, or "
            "pass --overwrite to begin anew"
        )

    def _has(self, name: str) -> bool:
        return (self.path / name).is_file()

    def _write(self, name: str, text: str) -> None:
        with replacing(self.path / name) as partial:
            partial.write_text(text, encoding="utf-8")

    @property
    def _test(self) -> Any:
        """The recipe's test split."""
        return (self.recipe.get("corpus") or {}).get("test")

    @property
    def _stored(self) -> dict[str, Any] | None:
        """The recipe in the folder, if there is one that can be read."""
        try:
            stored = yaml.safe_load((self.path / RECIPE).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            return None
        return stored if isinstance(stored, dict) else None

    @property
    def _record(self) -> Record | None:
        """What the run in the folder began with; one of an earlier version tells it in part."""
        if self._has(RECORD):
            try:
                return Record(**json.loads((self.path / RECORD).read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise self._damaged(RECORD) from error
        if self.is_run and self._stored is not None:
            return Record((self._stored.get("corpus") or {}).get("test"), {}, None)
        return None


def _place(name: Any) -> Path | None:
    """The file or folder that a value of a recipe names, if it may be the name of one."""
    try:
        return Path(name).expanduser().resolve()
    except (TypeError, ValueError, OSError, RuntimeError):
        return None


def belonging(folder: Path, names: Names) -> Iterator[Path]:
    """The files that a run wrote to a folder, and the folders that hold them, each behind what is in it.

    Args:
        folder: where they are.
        names: what a run writes there.
    """
    for path in sorted(folder.iterdir()):
        for inside in (inside for name, inside in names.items() if re.fullmatch(name, path.name)):
            if path.is_symlink() or (path.is_file() and inside is None):
                yield path
            elif path.is_dir() and inside is not None:
                yield from belonging(path, inside)
                yield path
