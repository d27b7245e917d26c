"""`textvae translate`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from textvae.commands.arguments import BatchSize, Json, Lines, MaximumLength, given, lines_of, seed_option
from textvae.commands.printing import print_json
from textvae.support.display import one_line
from textvae.support.errors import UserError


def translate(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder of recipes/translation.")],
    file: Lines = "-",
    beam: Annotated[
        int | None,
        typer.Option(
            min=1, help="Beams of the search, 1 is greedy; left out: 5, or 1 where words are drawn."
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="So many translations of each line, each from a z of its own."),
    ] = None,
    length_penalty: Annotated[float, typer.Option(help="The larger, the longer the translations.")] = 1.0,
    rescore: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Order what was found by the bound on log p(y | x) with so many draws, for its length.",
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=1e-3, help="Draw the words, 1 from the model's own distribution.")
    ] = None,
    references: Annotated[
        str | None, typer.Option(help="A translation of each line: BLEU is printed on standard error.")
    ] = None,
    tokenize: Annotated[
        str,
        typer.Option(help="How sacreBLEU splits: 13a, char, none for text that is split already, ..."),
    ] = "13a",
    batch_size: BatchSize = None,
    maximum_length: MaximumLength = 100,
    seed: Annotated[int | None, seed_option("Of all draws; left out, each call gives others.")] = None,
    as_json: Json = False,
) -> None:
    """Translate the lines of a file, or of standard input, one line each; a blank line stays blank.

    With --samples the translations of one line stand below each other, each behind the number of the line, from 1.
    """
    texts = list(lines_of(file))
    expected = None if references is None else list(lines_of(references))
    if expected is not None and len(expected) != len(texts):
        raise UserError(
            f"expected a reference for each line, got {len(expected)} for {len(texts)} lines: compare the ends of both "
            "files"
        )
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
    if samples is None:
        sys.stdout.writelines(f"{one_line(text)}\n" for text in found)
    else:
        for number, own in enumerate(found, 1):
            sys.stdout.writelines(f"{number}\t{one_line(text)}\n" for text in own)
    if score is not None:
        print(score, file=sys.stderr)
