"""`textvae encode`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from textvae.commands.arguments import BatchSize, Lines, Run, lines_of, load
from textvae.errors import UserError

CHUNK = 4096
"""Sentences of a file that are held at once."""


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
    lines = lines_of(file)
    vae = load(run)
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
