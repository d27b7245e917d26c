"""What the commands share: their common options, and what they read."""

# Modules that need torch are imported inside the functions, so that --help and a mistyped option answer at once.

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
    str, typer.Argument(metavar="RUN", help="A run folder, a checkpoint of one, or a model on the Hub.")
]
Lines = Annotated[
    str, typer.Argument(metavar="FILE", help="Text, one sentence a line, also .gz; - is standard input.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, help="Sentences at once; left out: as many as are fast in little memory."),
]
MaximumLength = Annotated[int, typer.Option(min=1, help="Tokens after which a sentence ends at the latest.")]


def seed_option(what: str) -> Any:
    """The option ``--seed``, whose value is checked before any work.

    Args:
        what: it is the seed of.
    """

    def checked(seed: int | None) -> int | None:
        check_seed(seed, "--seed")
        return seed

    return typer.Option(callback=checked, metavar="SEED", help=what)


def output_option(*names: str, what: str) -> Any:
    """An option for a file to write, with ~ as the home folder.

    Args:
        *names: of the option; none: the parameter's.
        what: it is, for --help.
    """

    def expanded(path: Path | None) -> Path | None:
        return path if path is None else path.expanduser()

    return typer.Option(*names, callback=expanded, help=what)


def check_pictures(path: Path) -> None:
    """Refuse a picture that cannot be drawn there, or a page beside it that cannot be written.

    Raises:
        UserError: as `check_picture` and `check_writable` say.
    """
    from textvae.pictures.figure import check_picture

    check_picture(path)
    check_writable(path.with_suffix(".html"))


def load(run: str) -> TextVAE:
    """The model and the tokenizer of a run."""
    from textvae.interfaces.text_vae import TextVAE

    return TextVAE.from_pretrained(run)


def load_encoder(run: str) -> SentenceEncoder:
    """The model of a run, of any kind that encodes texts, and what makes words of them."""
    from textvae.interfaces.table import load_encoder

    return load_encoder(run)


def hide_bars(context: typer.Context) -> None:
    """No bars of `datasets`, whose own default is to draw them into log files too."""
    import datasets

    if context.obj["show_progress_bar"] is False or not sys.stderr.isatty():
        datasets.disable_progress_bars()


def recipe_of(run: str) -> Recipe | None:
    """The recipe in the run folder; a checkpoint's is that of the run around it."""
    from textvae.training.recipe import read_recipe

    folder = Path(run).expanduser()
    files = [place / "recipe.yaml" for place in (folder, folder.parent) if place.is_dir()]
    return next((read_recipe(file) for file in files if file.is_file()), None)


def given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}
