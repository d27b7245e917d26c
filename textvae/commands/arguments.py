"""What the commands share: their common options, and what they read."""

# Modules that need torch are imported inside the functions, so that --help and a mistyped option answer at once.

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textvae.text.lines import lines_of as lines_of

if TYPE_CHECKING:
    from textvae.text_vae import TextVAE
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


def load(run: str) -> TextVAE:
    """The model and the tokenizer of a run."""
    from textvae.text_vae import TextVAE

    return TextVAE.from_pretrained(run)


def is_conditional(run: str) -> bool:
    """Whether the run is of recipes/translation."""
    from textvae.models.checkpoint import kind_of, name_of, silenced
    from textvae.models.seq2seq import Seq2SeqVAEModel

    with silenced():
        return kind_of(name_of(run)) is Seq2SeqVAEModel


def hide_bars(context: typer.Context) -> None:
    """No bars of `datasets`, whose own default is to draw them into log files too."""
    import datasets

    if context.obj["show_progress_bar"] is False or not sys.stderr.isatty():
        datasets.disable_progress_bars()


def recipe_of(run: str, conditional: bool = False) -> Recipe | None:
    """The recipe in the run folder, of a conditional model if so asked; a checkpoint's is that of the run around it."""
    from textvae.models.language import TextVAEConfig
    from textvae.models.seq2seq import Seq2SeqVAEConfig
    from textvae.training.recipe import read_recipe

    config = Seq2SeqVAEConfig if conditional else TextVAEConfig
    folder = Path(run).expanduser()
    files = [place / "recipe.yaml" for place in (folder, folder.parent) if place.is_dir()]
    return next((read_recipe(file, config=config) for file in files if file.is_file()), None)


def given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}
