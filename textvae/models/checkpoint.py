"""A run folder, one of its checkpoints or a Hub id becomes a model, or one line that says what is wrong with it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import datasets
import torch
from safetensors import SafetensorError, safe_open
from transformers import PretrainedConfig
from transformers.utils import logging as transformers_logging

from textvae.models.base import VAEModel
from textvae.models.kinds import kind_of_type
from textvae.support.errors import UserError
from textvae.support.finite import not_finite
from textvae.text.fields import Fields


def name_of(run: str | Path) -> str:
    """A run as a string: the path of a folder, with ~ as the home folder, or its name on the Hub."""
    path = Path(run).expanduser()
    return str(path) if path.exists() else str(run)


def load_model(name: str) -> VAEModel:
    """The model in a folder or on the Hub, with all of its weights and no others.

    Raises:
        UserError: if there is none, if its run is not finished, or if it is not one of ours or damaged.
    """
    with silenced():
        return _weights_of(name, kind_of(name))


def load_run(
    run: str | Path, kind: type[VAEModel] = VAEModel, device: str | torch.device | None = None
) -> tuple[Any, Fields]:
    """The model of a run in evaluation mode, with all of its weights, and its fields.

    Args:
        run: a run folder, one of its checkpoints, or a name on the Hub.
        kind: the class that the model must be of.
        device: where it goes; None: the GPU if there is one.

    Raises:
        UserError: if there is no such run, if it is not finished, is damaged, or if its model is of another class.
    """
    name = name_of(run)
    model = load_model(name)
    with silenced():
        if not isinstance(model, kind):
            raise UserError(
                f"expected a {kind.__name__} in {name}, got a {type(model).__name__}: use {model.used_by}"
            )
        fields = model.load_fields(name, model.config)
    _check_sizes(name, model.config, fields)
    torch.nn.Module.to(model, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return model.eval(), fields


def _check_sizes(name: str, config: PretrainedConfig, fields: Fields) -> None:
    """Refuse tokenizers of another run, whose ids mean other words."""
    for size, found in fields.sizes().items():
        expected = getattr(config, size, None)
        if found != expected:
            raise UserError(
                f"expected the tokenizers that the model in {name} was trained with, {size} {expected}, got those of "
                f"another, {size} {found}: copy the whole run again"
            )


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run that was written to its end; a run may be killed while it writes one."""
    numbered = [
        (int(match[1]), path) for path in folder.glob("checkpoint-*") if (match := _STEP.search(path.name))
    ]
    return next((path for _, path in sorted(numbered, reverse=True) if _is_whole(path)), None)


_STEP = re.compile(r"-(\d+)$")


def _is_whole(checkpoint: Path) -> bool:
    """Whether training goes on from there as if it had not stopped: no file is missing or cut short."""
    generators = {path.name for path in checkpoint.glob("rng_state*.pth")}
    # One process writes the first; each of several writes its own.
    of_several = {f"rng_state_{process}.pth" for process in range(max(2, len(generators)))}
    if generators not in ({"rng_state.pth"}, of_several):
        return False
    files = [checkpoint / "optimizer.pt", checkpoint / "scheduler.pt", *checkpoint.glob("*.pt*")]
    try:
        # The state is written last.
        json.loads((checkpoint / "trainer_state.json").read_text())
        with safe_open(checkpoint / "model.safetensors", framework="pt"):
            # A zip file's table of contents stands at its end.
            return all(map(is_zipfile, files))
    except (OSError, ValueError, SafetensorError):
        return False


@contextmanager
def silenced() -> Iterator[None]:
    """No bars and no reports of the libraries: what matters of them is said in an error of ours."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(transformers_logging.CRITICAL)
    try:
        with without_bars():
            yield
    finally:
        transformers_logging.set_verbosity(level)


@contextmanager
def without_bars(of_datasets: bool = True) -> Iterator[None]:
    """No bars of `transformers`, which show the reading and writing of files, nor, if so asked, of `datasets`."""
    reading = transformers_logging.is_progress_bar_enabled()
    mapping = of_datasets and not datasets.are_progress_bars_disabled()
    transformers_logging.disable_progress_bar()
    if mapping:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if reading:
            transformers_logging.enable_progress_bar()
        if mapping:
            datasets.enable_progress_bars()


def kind_of(name: str) -> type[VAEModel]:
    """The class of the model in a folder or on the Hub.

    Raises:
        UserError: if there is none, or one that is not ours.
    """
    folder = Path(name)
    if folder.exists() and not (folder / "config.json").is_file():
        raise _no_model(folder)
    # "runs/dmo" could be on the Hub, but beside a folder "runs" it is a slip, and the Hub takes long to say no.
    beside = len(folder.parts) == 2 and folder.parent.is_dir()
    is_no_hub_name = folder.is_absolute() or name.startswith((".", "~")) or len(folder.parts) > 2 or beside
    if not folder.exists() and is_no_hub_name:
        raise _missing(name)
    try:
        model_type = PretrainedConfig.get_config_dict(name)[0].get("model_type")
    except (OSError, AttributeError, TypeError) as error:  # the last two from JSON that is no object
        if folder.exists():
            raise UserError(
                f"expected JSON in {folder / 'config.json'}, got a damaged file: copy the run again"
            ) from error
        raise _missing(name) from error
    kind = kind_of_type(model_type)
    if kind is None:
        raise UserError(
            f"expected a textvae model in {name}, got one of kind {model_type!r}: give a run of textvae"
        )
    return kind


def _missing(name: str) -> UserError:
    place = Path(name).parent
    beside = [str(path) for path in place.iterdir() if path.is_dir()] if place.is_dir() else []
    near = difflib.get_close_matches(str(Path(name)), beside, n=1)
    hint = (
        f"did you mean {near[0]}?"
        if near
        else "train it first, or check the spelling (for the Hub, the network)"
    )
    return UserError(f"expected a run folder or a model on the Hub, found no {name}: {hint}")


def _no_model(folder: Path) -> UserError:
    """What is there in place of a model, and what can be done with it."""
    if not folder.is_dir():
        return UserError(f"expected a run folder, got the file {folder}: give the folder it is in")
    if (folder / "model.safetensors").is_file():
        return UserError(
            f"expected config.json beside model.safetensors in {folder}, found none: copy the whole run again, or go "
            "on with it by --resume"
        )
    if checkpoint := last_whole_checkpoint(folder):
        return UserError(
            f"expected a finished run in {folder}, got one that has no model yet: finish it with --resume, or use "
            f"its last checkpoint, {checkpoint}"
        )
    if (folder / "recipe.yaml").is_file():
        return UserError(
            f"expected a finished run in {folder}, got one without a checkpoint yet: train it first"
        )
    return UserError(f"expected a run in {folder}, found no config.json: give the folder that training wrote")


def _weights_of(name: str, kind: type[VAEModel]) -> VAEModel:
    """The model with all of its weights, and no others."""
    try:
        loaded: Any = kind.from_pretrained(name, output_loading_info=True)
    except SafetensorError as error:
        raise UserError(
            f"expected whole weights in {name}/model.safetensors, got a damaged or cut-short file ({error}): "
            "copy it again, or use a checkpoint of the run"
        ) from error
    except OSError as error:
        raise UserError(
            f"expected weights in {name}, found no readable model.safetensors: copy it again"
        ) from error
    except RuntimeError as error:
        raise UserError(_unfitting(name, "other sizes")) from error
    model, report = loaded
    if report["missing_keys"] or report["unexpected_keys"]:
        differing = sorted({*report["missing_keys"], *report["unexpected_keys"]})
        raise UserError(_unfitting(name, f"a difference in {', '.join(differing[:3])}"))
    if names := not_finite(model.state_dict()):
        raise UserError(
            f"expected finite weights in {name}, got NaN or infinity in {names[0]}: its training has diverged; use an "
            "earlier checkpoint, or train again with a lower training.learning_rate"
        )
    return model


def _unfitting(name: str, found: str) -> str:
    return f"expected weights in {name}/model.safetensors that fit its config.json, got {found}: copy both from one run"
