"""`textvae translate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from textvae.commands.arguments import (
    BatchSize,
    Json,
    Lines,
    MaximumLength,
    Temperature,
    given,
    lines_of,
    seed_option,
)
from textvae.commands.printing import print_json
from textvae.support.display import one_line
from textvae.support.errors import UserError

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run folder of recipes/translation.")]
Beam = Annotated[
    int | None,
    typer.Option(min=1, help="Beams of the search; 1 is greedy. Default: 5, or 1 with --temperature."),
]
Samples = Annotated[
    int | None, typer.Option(min=1, help="Number of translations of each line, each from its own z.")
]
LengthPenalty = Annotated[float, typer.Option(help="Larger values give longer translations.")]
Rescore = Annotated[
    int | None,
    typer.Option(
        min=1, help="Order the translations by the bound on log p(y | x) per length, with this many draws."
    ),
]
References = Annotated[
    str | None,
    typer.Option(help="A file with a reference for each line; BLEU is printed to standard error."),
]
Tokenize = Annotated[
    str,
    typer.Option(help="sacreBLEU's tokenizer: 13a, char, none for text that is already split, ..."),
]


def translate(
    context: typer.Context,
    run: Run,
    file: Lines = "-",
    beam: Beam = None,
    samples: Samples = None,
    length_penalty: LengthPenalty = 1.0,
    rescore: Rescore = None,
    temperature: Temperature = None,
    references: References = None,
    tokenize: Tokenize = "13a",
    batch_size: BatchSize = None,
    maximum_length: MaximumLength = 100,
    seed: Annotated[int | None, seed_option("Seeds all draws. Default: random.")] = None,
    as_json: Json = False,
) -> None:
    """Translate the lines of a file or of standard input, one per line; blank lines stay blank.

    With --samples, each translation is on its own line, after the number of its source line, from 1.
    """
    texts = list(lines_of(file))
    expected = None if references is None else _references(references, len(texts))
    from textvae.evaluation.bleu import bleu
    from textvae.interfaces.translator import Translator

    found = Translator.from_pretrained(run).translate(
        texts,
        num_beams=beam,
        samples=samples,
        length_penalty=length_penalty,
        rescore=rescore,
        maximum_length=maximum_length,
        batch_size=batch_size,
        seed=seed,
        **given(temperature=temperature),
        **context.obj,
    )
    first = found if samples is None else [own[0] for own in found]
    score = None if expected is None else bleu(first, expected, tokenize)
    if as_json:
        result: Any = {"bleu": score.score, "bleu_signature": score.signature} if score else {}
        print_json({"translations": found, **result})
        return
    _print(found, samples is not None)
    if score is not None:
        print(score, file=sys.stderr)


def _references(file: str, lines: int) -> list[str]:
    """The lines of a file of references, checked to be one for each source line."""
    found = list(lines_of(file))
    if len(found) != lines:
        raise UserError(
            f"expected a reference for each line, got {len(found)} for {lines} lines: compare the ends of both files"
        )
    return found


def _print(found: Sequence[Any], several: bool) -> None:
    """Print one translation per line, or several, each after the number of its source line."""
    if not several:
        sys.stdout.writelines(f"{one_line(text)}\n" for text in found)
        return
    for number, own in enumerate(found, 1):
        sys.stdout.writelines(f"{number}\t{one_line(text)}\n" for text in own)
