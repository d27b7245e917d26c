"""`textvae classify`."""

from __future__ import annotations

import typer

from textvae.commands.arguments import BatchSize, Json, Lines, Run, lines_of, load
from textvae.commands.printing import print_json
from textvae.support.display import one_line


def classify(
    context: typer.Context,
    run: Run,
    file: Lines,
    batch_size: BatchSize = None,
    as_json: Json = False,
) -> None:
    """Print the likeliest class of each sentence, its probability and the sentence, separated by tabs.

    Needs a model with classes (model.posterior.kind: classes). --json prints the probabilities of all classes.
    """
    texts = list(lines_of(file))
    vae = load(run)
    probabilities = vae.classify(texts, batch_size=batch_size, **context.obj)
    classes = vae.model.config.classes or []
    labels = [classes[place] for place in probabilities.argmax(1)]
    if as_json:
        named = [dict(zip(classes, row, strict=True)) for row in probabilities.tolist()]
        rows = [
            {"text": text, "label": label, "probabilities": row}
            for text, label, row in zip(texts, labels, named, strict=True)
        ]
        print_json(rows)
        return
    for text, label, row in zip(texts, labels, probabilities, strict=True):
        print(f"{one_line(label)}\t{row.max():.3f}\t{one_line(text)}")
