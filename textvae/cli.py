"""The program ``textvae``: measure a trained model and play with it."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated

import typer

from textvae.commands.classify import classify
from textvae.commands.cluster import cluster
from textvae.commands.encode import encode
from textvae.commands.evaluate import evaluate
from textvae.commands.latent import analogy, fill, fit_prior, neighbours, traverse
from textvae.commands.map import map_corpus
from textvae.commands.train import recipes, train
from textvae.commands.translate import translate
from textvae.commands.write import interpolate, reconstruct, sample
from textvae.errors import reported_to_user

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (train, recipes, evaluate, sample, interpolate, reconstruct, encode, classify, cluster):
    app.command()(command)
app.command("map")(map_corpus)
for operation in (analogy, traverse, fill, neighbours, fit_prior, translate):
    app.command()(operation)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line, and end the program.

    A `UserError` ends it with one line and exit code 2, Ctrl-C with 130 and a reader that went away with 1, all
    without a traceback.

    Args:
        arguments: in place of those of the program.
    """
    try:
        with warnings.catch_warnings(), reported_to_user():
            warnings.simplefilter("ignore")
            try:
                app(arguments, prog_name="textvae")
            finally:
                sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer must go somewhere, or the interpreter complains when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _version(asked: bool) -> None:
    if asked:
        from textvae import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Variational auto-encoders of text: train one on your text, measure it, and use it."""
    context.obj = {"show_progress_bar": False if quiet else None}
