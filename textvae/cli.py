"""The program ``textvae``: train a model, measure it and use it."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from textvae.commands.classify import classify
from textvae.commands.cluster import cluster
from textvae.commands.encode import encode
from textvae.commands.evaluate import evaluate
from textvae.commands.latent import analogy, fill, fit_prior, neighbours, traverse
from textvae.commands.map import map_corpus
from textvae.commands.train import recipes, train
from textvae.commands.translate import translate
from textvae.commands.write import interpolate, reconstruct, sample
from textvae.support.program import program


class _Commands(TyperGroup):
    """A group whose help shows the whole first sentence of each command; the parent class cuts it to one line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands."""
        rows = [(name, self.commands[name].get_short_help_str(limit=1_000)) for name in self.commands]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


# Plain help takes half the time of rich's help.
app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (train, recipes, evaluate, sample, interpolate, reconstruct, encode, classify, cluster):
    app.command()(command)
app.command("map")(map_corpus)
for operation in (analogy, traverse, fill, neighbours, fit_prior, translate):
    app.command()(operation)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the program, see `textvae.support.program.program`.

    Args:
        arguments: the arguments; None: those of the program.
    """
    with program(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app(arguments, prog_name="textvae")


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
