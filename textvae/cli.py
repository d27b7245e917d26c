"""The command ``textvae``: measure a trained model and play with it."""

# Modules that need torch are imported inside the commands, so that --help and a mistyped option answer at once.

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from textvae.errors import UserError, reported_to_user

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

    from textvae.text_vae import TextVAE
    from textvae.training.recipe import Recipe

CHUNK = 4096
"""Sentences of a file that are held at once."""

EMBEDDED = 2_000
"""Sentences of the embedded corpus's test split, as many as `load_corpus` makes."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="A run folder, a checkpoint of one, or a model on the Hub.")
]
Lines = Annotated[str, typer.Argument(metavar="FILE", help="Text, one sentence a line; - is standard input.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Sentences at once.")]
MaximumLength = Annotated[int, typer.Option(min=1, help="Tokens after which a sentence ends at the latest.")]


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
    """Variational auto-encoders of text: measure a trained model, sample, interpolate, reconstruct, encode.

    A model is trained with recipes/language_model/train.py.
    """
    context.obj = {"show_progress_bar": False if quiet else None}


@app.command()
def evaluate(
    context: typer.Context,
    run: Run,
    file: Annotated[
        str | None,
        typer.Argument(
            help="What to measure on: a file, a folder, a data set on the Hub, or grammar, the embedded corpus. "
            "Left out: the run's own test split."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="K of the importance-weighted bound.")] = 500,
    batch_size: BatchSize = 32,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    refinement_steps: Annotated[
        int,
        typer.Option(
            min=0, help="Gradient steps that improve each sentence's posterior first (Kim et al. 2018)."
        ),
    ] = 0,
    column: Annotated[
        str | None, typer.Option(help="Column of FILE with the text: its name, or its number from 0.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure likelihood, perplexity and how far the latent is used.

    Sentences are cut where the run's recipe says so.
    """
    vae = _load(run)
    from textvae.evaluation.diagnosis import described
    from textvae.evaluation.evaluate import evaluate_rows
    from textvae.evaluation.report import report
    from textvae.models.refinement import Refinement

    _hide_bars(context)
    recipe = _recipe(run)
    rows = _own_test_split(run, recipe) if file is None else _test_split(file, column)
    result = evaluate_rows(
        vae.model,
        vae.tokenizer,
        rows,
        maximum_length=recipe.tokenizer.maximum_length if recipe else None,
        batch_size=batch_size,
        samples=samples,
        seed=seed,
        refinement=Refinement(steps=refinement_steps) if refinement_steps else None,
        **context.obj,
    )
    print(json.dumps(described(result)) if as_json else report(result))


@app.command()
def sample(
    context: typer.Context,
    run: Run,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 8,
    temperature: Annotated[
        float | None, typer.Option(min=1e-3, help="Draw the words, 1 from the model's own distribution.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw among the k likeliest words.")] = None,
    top_p: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Draw among the likeliest words of this probability."),
    ] = None,
    beams: Annotated[int, typer.Option(min=1, help="Beams of the search for the likeliest sentence.")] = 1,
    maximum_length: MaximumLength = 100,
    seed: Annotated[int | None, typer.Option(help="Of all draws; left out, each call gives others.")] = None,
    as_json: Json = False,
) -> None:
    """Write new sentences, each from a z of the prior; the likeliest of each z unless an option says otherwise.

    A language model without z draws its words.
    """
    texts = _load(run).sample(
        n,
        seed=seed,
        maximum_length=maximum_length,
        **_given(temperature=temperature, top_k=top_k, top_p=top_p),
        **({"num_beams": beams} if beams > 1 else {}),
        **context.obj,
    )
    _print_texts(texts, as_json)


@app.command()
def interpolate(
    context: typer.Context,
    run: Run,
    a: Annotated[str, typer.Argument(help="Where to begin.")],
    b: Annotated[str, typer.Argument(help="Where to end.")],
    steps: Annotated[int, typer.Option(min=2, help="Number of sentences, the ends counted.")] = 7,
    path: Annotated[
        Literal["linear", "spherical"], typer.Option(help="The way through the latent space.")
    ] = "linear",
    maximum_length: MaximumLength = 100,
    as_json: Json = False,
) -> None:
    """Write sentences on the way from one to another; the ends are the reconstructions of both."""
    _print_texts(
        _load(run).interpolate(a, b, steps, path, maximum_length=maximum_length, **context.obj), as_json
    )


@app.command()
def reconstruct(
    context: typer.Context,
    run: Run,
    file: Lines,
    n: Annotated[int | None, typer.Option("-n", min=1, help="Only the first n sentences.")] = None,
    batch_size: BatchSize = 32,
    maximum_length: MaximumLength = 100,
    as_json: Json = False,
) -> None:
    """Write each sentence and, below it, what the model makes of it."""
    texts = list(islice(_lines(file), n))
    options = {"batch_size": batch_size, "maximum_length": maximum_length, **context.obj}
    pairs = list(zip(texts, _load(run).reconstruct(texts, **options), strict=True))
    if as_json:
        rows = [{"text": text, "reconstruction": result} for text, result in pairs]
        print(json.dumps(rows, ensure_ascii=False))
        return
    for text, result in pairs:
        print(f"{text}\n  -> {_one_line(result)}")


@app.command()
def encode(
    context: typer.Context,
    run: Run,
    file: Lines,
    output: Annotated[Path, typer.Option("-o", "--output", help="The .npy file to write.")],
    batch_size: BatchSize = 32,
) -> None:
    """Write the posterior means as a float32 array (n, Z); row i belongs to line i, blank lines counted."""
    if output.is_dir():
        raise UserError(
            f"expected a file to write to, got the folder {output}: add a name, such as {output / 'z.npy'}"
        )
    lines = _lines(file)
    vae = _load(run)
    import numpy as np
    from tqdm import tqdm

    from textvae.files import replacing

    parts: list[Any] = [vae.encode([])]
    hidden = True if context.obj["show_progress_bar"] is False else None
    with tqdm(desc="encoding", unit=" sentences", disable=hidden) as bar:
        while chunk := list(islice(lines, CHUNK)):
            parts.append(vae.encode(chunk, batch_size=batch_size, show_progress_bar=False))
            bar.update(len(chunk))
    with replacing(output) as partial, partial.open("wb") as handle:
        np.save(handle, np.concatenate(parts))


# ---- what goes in


def _load(run: str) -> TextVAE:
    from textvae.text_vae import TextVAE

    return TextVAE.from_pretrained(run)


def _hide_bars(context: typer.Context) -> None:
    """No bars of `datasets`, whose own default is to draw them into log files too."""
    import datasets

    if context.obj["show_progress_bar"] is False or not sys.stderr.isatty():
        datasets.disable_progress_bars()


def _recipe(run: str) -> Recipe | None:
    """The recipe in the run folder; a checkpoint's is that of the run around it."""
    from textvae.training.recipe import read_recipe

    folder = Path(run).expanduser()
    files = [place / "recipe.yaml" for place in (folder, folder.parent) if place.is_dir()]
    return next((read_recipe(file) for file in files if file.is_file()), None)


def _own_test_split(run: str, recipe: Recipe | None) -> Dataset | IterableDataset:
    from textvae.text.corpus import load_corpus

    if recipe is None:
        raise UserError(
            f"expected a file to evaluate on, as {run} has no recipe.yaml that names one: textvae evaluate RUN FILE"
        )
    return load_corpus(**recipe.corpus)["test"]


def _test_split(file: str, column: str | None) -> Dataset | IterableDataset:
    """The test split of a data set that has one, otherwise all of its rows."""
    from textvae.text.corpus import load_corpus

    if file == "grammar":
        # Each split is drawn by itself, so that this is the test split of the default sizes.
        return load_corpus("grammar", sizes=(1, 1, EMBEDDED))["test"]
    columns: dict[str, str | int] | None = None
    if column is not None:
        columns = {"text": int(column) if column.isdecimal() else column}
    return load_corpus(file, file, file, columns=columns)["test"]


def _lines(file: str) -> Iterator[str]:
    """The lines of a file or of standard input, without the blanks at their ends.

    Raises:
        UserError: if there is no such file, here; if it is not text, at the line that is not.
    """
    path = Path(file).expanduser()
    if file != "-" and not path.is_file():
        what = "a folder" if path.is_dir() else "nothing"
        raise UserError(
            f"expected a text file, found {what} at {path}: check the path, or give - for standard input"
        )
    return _decoded(sys.stdin.buffer, "standard input") if file == "-" else _file_lines(path)


def _file_lines(path: Path) -> Iterator[str]:
    with path.open("rb") as handle:
        yield from _decoded(handle, str(path))


def _decoded(handle: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(handle, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise UserError(
                f"expected UTF-8, got byte 0x{error.object[error.start]:02x} in line {number} of {name}: "
                "convert it, e.g. iconv -f latin1 -t utf-8"
            ) from error


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


# ---- what comes out


def _print_texts(texts: list[str], as_json: bool) -> None:
    print(json.dumps(texts, ensure_ascii=False) if as_json else "\n".join(map(_one_line, texts)))


def _one_line(text: str) -> str:
    """A sentence may hold a line break, if its corpus did."""
    return " ".join(text.splitlines())


if __name__ == "__main__":
    main()
