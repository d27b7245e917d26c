"""Loads a model from a run folder, a checkpoint or the Hub, or says in one line what is wrong with it."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from transformers import PretrainedConfig

from textvae.models.base import VAEModel
from textvae.models.kinds import kind_of_type
from textvae.support.errors import UserError
from textvae.support.finite import not_finite
from textvae.support.quiet import silenced
from textvae.text.fields import Fields


def name_of(run: str | Path) -> str:
    """The run as a string: the path of a folder, where ~ is replaced by the home folder, or a name on the Hub."""
    path = Path(run).expanduser()
    return str(path) if path.exists() else str(run)


def load_model(name: str) -> VAEModel:
    """The model in a folder or on the Hub, with all of its weights and no others.

    Raises:
        UserError: if there is no model, its run is not finished, it is damaged, or it is not a textvae model.
    """
    with silenced():
        return _weights_of(name, kind_of(name))


def load_run(
    run: str | Path, kind: type[VAEModel] = VAEModel, device: str | torch.device | None = None
) -> tuple[Any, Fields]:
    """The model of a run in evaluation mode, with all of its weights, and its fields.

    Args:
        run: a run folder, one of its checkpoints, or a name on the Hub.
        kind: the class that the model must have.
        device: the model is moved there; None: the GPU if there is one.

    Raises:
        UserError: if the run does not exist, is not finished or is damaged, or if its model has another class.
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
    """The newest complete checkpoint of a run; the last may be incomplete if the run was killed as it was written."""
    numbered = [
        (int(match[1]), path) for path in folder.glob("checkpoint-*") if (match := _STEP.search(path.name))
    ]
    return next((path for _, path in sorted(numbered, reverse=True) if _is_whole(path)), None)


_STEP = re.compile(r"-(\d+)$")


def _is_whole(checkpoint: Path) -> bool:
    """Whether training can resume from this checkpoint exactly: no file is missing or cut short."""
    generators = {path.name for path in checkpoint.glob("rng_state*.pth")}
    # A single process writes rng_state.pth; if there are several, each writes its own file.
    of_several = {f"rng_state_{process}.pth" for process in range(max(2, len(generators)))}
    if generators not in ({"rng_state.pth"}, of_several):
        return False
    files = [checkpoint / "optimizer.pt", checkpoint / "scheduler.pt", *checkpoint.glob("*.pt*")]
    try:
        # The trainer's state is the last file that is written.
        json.loads((checkpoint / "trainer_state.json").read_text())
        with safe_open(checkpoint / "model.safetensors", framework="pt"):
            # The table of contents of a zip file is at its end, so a file that was cut short has none.
            return all(map(is_zipfile, files))
    except (OSError, ValueError, SafetensorError):
        return False


def kind_of(name: str) -> type[VAEModel]:
    """The class of the model in a folder or on the Hub.

    Raises:
        UserError: if there is no model, or it is not a textvae model.
    """
    folder = Path(name)
    if folder.exists() and not (folder / "config.json").is_file():
        raise _no_model(folder)
    # "runs/dmo" could be on the Hub. But if there is a folder "runs", it is a typing error, and asking the Hub takes
    # long.
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
            f"expected a textvae model in {name}, got one of kind {model_type!r}: give a run folder of textvae"
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
    """The error that says what the folder holds instead of a model, and what to do."""
    if not folder.is_dir():
        return UserError(f"expected a run folder, got the file {folder}: give the folder it is in")
    if (folder / "model.safetensors").is_file():
        return UserError(
            f"expected config.json beside model.safetensors in {folder}, found none: copy the whole run again, or "
            "continue it with --resume"
        )
    if checkpoint := last_whole_checkpoint(folder):
        return UserError(
            f"expected a finished run in {folder}, got one without a model yet: finish it with --resume, or use "
            f"its last checkpoint, {checkpoint}"
        )
    if (folder / "recipe.yaml").is_file():
        return UserError(
            f"expected a finished run in {folder}, got one without a checkpoint yet: train it first"
        )
    return UserError(f"expected a run in {folder}, found no config.json: give the folder that training wrote")


def _weights_of(name: str, kind: type[VAEModel]) -> VAEModel:
    """The model with all of its weights. The file must hold all of them and no others."""
    try:
        loaded: Any = kind.from_pretrained(name, output_loading_info=True)
    except SafetensorError as error:
        raise UserError(
            f"expected complete weights in {name}/model.safetensors, got a damaged or cut-short file ({error}): "
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
