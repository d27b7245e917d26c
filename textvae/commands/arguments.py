"""Options that several commands share, and functions that read their values."""

# Functions import the modules that need torch, so that --help and mistyped options are answered at once.

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textvae.support.files import check_writable
from textvae.support.seeds import check_seed
from textvae.text.lines import lines_of as lines_of

if TYPE_CHECKING:
    from textvae.interfaces.sentence_encoder import SentenceEncoder
    from textvae.interfaces.text_vae import TextVAE
    from textvae.training.recipe import Recipe

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="A run folder, one of its checkpoints, or a model on the Hub.")
]
Lines = Annotated[
    str,
    typer.Argument(metavar="FILE", help="Text, one sentence per line, may be .gz; - reads standard input."),
]
Column = Annotated[
    str | None, typer.Option(help="Column of FILE that holds the text: its name, or its number from 0.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, help="Sentences per batch. Default: chosen for speed and little memory."),
]
MaximumLength = Annotated[int, typer.Option(min=1, help="The most tokens of a sentence.")]
Temperature = Annotated[
    float | None,
    typer.Option(min=1e-3, help="Draw the tokens at this temperature; 1: the model's own distribution."),
]


def seed_option(what: str) -> Any:
    """The option ``--seed``; its value is checked before any work.

    Args:
        what: help text.
    """

    def checked(seed: int | None) -> int | None:
        check_seed(seed, "--seed")
        return seed

    return typer.Option(callback=checked, metavar="SEED", help=what)


def output_option(*names: str, what: str) -> Any:
    """An option for a file to write; ~ is expanded to the home folder.

    Args:
        *names: names of the option; none: the parameter's name.
        what: help text.
    """

    def expanded(path: Path | None) -> Path | None:
        return path if path is None else path.expanduser()

    return typer.Option(*names, callback=expanded, help=what)


def check_pictures(path: Path) -> None:
    """Check that a picture can be written to ``path``, and a page beside it.

    Raises:
        UserError: as `check_picture` and `check_writable`.
    """
    from textvae.pictures.figure import check_picture

    check_picture(path)
    check_writable(path.with_suffix(".html"))


def load(run: str) -> TextVAE:
    """The model and tokenizer of a run."""
    from textvae.interfaces.text_vae import TextVAE

    return TextVAE.from_pretrained(run)


def load_encoder(run: str) -> SentenceEncoder:
    """The model of a run, of any kind that encodes texts, and what makes words of them."""
    from textvae.interfaces.table import load_encoder

    return load_encoder(run)


def hide_bars(context: typer.Context) -> None:
    """Hide the bars of `datasets` if quiet or not on a terminal; by default it draws them into log files, too."""
    import datasets

    if context.obj["show_progress_bar"] is False or not sys.stderr.isatty():
        datasets.disable_progress_bars()


def recipe_of(run: str) -> Recipe | None:
    """The recipe in a run folder; for a checkpoint, the recipe of its run."""
    from textvae.training.recipe import read_recipe

    folder = Path(run).expanduser()
    files = [place / "recipe.yaml" for place in (folder, folder.parent) if place.is_dir()]
    return next((read_recipe(file) for file in files if file.is_file()), None)


def given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}
