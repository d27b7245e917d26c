"""Find recipes by name: in the installed package or in a checkout."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from textvae.support.errors import UserError
from textvae.support.options import did_you_mean

PLACES = ("language_model", "clustering", "classification", "translation")
"""Folders of recipes, in the order in which they are listed."""


@dataclass(frozen=True)
class Named:
    """A recipe with a name.

    Attributes:
        name: the name, such as "captions", or "folder/name" if two folders have a recipe with this name.
        file: the YAML file.
        summary: the first sentence of the header of the file.
    """

    name: str
    file: Path
    summary: str


def shipped() -> list[Named]:
    """List all named recipes."""
    root = _root()
    files = [file for place in PLACES for file in sorted((root / place).glob("*.yaml"))]
    stems = [file.stem for file in files]
    return [
        Named(
            file.stem if stems.count(file.stem) == 1 else f"{file.parent.name}/{file.stem}",
            file,
            _summary(file),
        )
        for file in files
    ]


def recipe_file(what: str) -> Path | None:
    """The YAML file with this path or name; None if ``what`` is neither, so it must be a corpus.

    Raises:
        UserError: if ``what`` is the path of a YAML file that does not exist.
    """
    path = Path(what).expanduser()
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"expected a recipe in {path}, found no such file{_known(path.stem)}")
        return path
    if path.exists():
        return None
    return next((recipe.file for recipe in shipped() if recipe.name == what), None)


def _known(name: str) -> str:
    return did_you_mean(name, [recipe.name for recipe in shipped()])


def _root() -> Path:
    """The folder of the recipes: inside an installed package, or beside the package in a checkout."""
    installed = Path(str(resources.files("textvae"))) / "recipes"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "recipes"


def _summary(file: Path) -> str:
    """The first sentence of the file's header, without the # signs."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") or line.strip() == "#":
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines).split(". ")[0].rstrip(".")
