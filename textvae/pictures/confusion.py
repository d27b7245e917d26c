"""The confusion matrix of labels and clusters, as a picture and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from textvae.pictures.document import write_document
from textvae.pictures.figure import COLUMN, PAGE, check_picture, new_figure, plain, write
from textvae.support.display import shortened, without_markup
from textvae.support.errors import UserError

SIZE = 7
"""Size of the letters, in points."""

ROOM = 1.3
"""Width left for the names of the rows, in inches."""

LONGEST = 300
"""The most characters shown of a text, so that all texts of a cell fit on the screen."""

STYLE = """
  main { overflow-x: auto; padding-bottom: 45vh; }
  table { border-spacing: 2px; }
  th { padding: .2rem .5rem; font-size: .8rem; font-weight: 500; max-width: 9rem; overflow-wrap: break-word; }
  thead th { vertical-align: bottom; }
  tbody th { text-align: end; }
  td { padding: .35rem .5rem; min-width: 3rem; text-align: end; cursor: default; border-radius: 3px;
    font-variant-numeric: tabular-nums; background: color-mix(in srgb, var(--blue) var(--share), var(--panel)); }
  td.most { color: #fff; }
  td:hover, td:focus { outline: 2px solid var(--ink); }
  td aside { display: none; position: fixed; z-index: 1; inset: auto 1rem 1rem; max-height: 40vh; overflow: auto;
    padding: .7rem 1rem; text-align: start; color: var(--ink); background: var(--ground); border: 1px solid var(--line);
    border-radius: 6px; box-shadow: 0 2px 10px #0003; }
  td:focus aside { display: block; }
  td:hover aside { display: block; z-index: 2; }
  aside ul { margin: .3rem 0 0; padding-inline-start: 1.2rem; }
"""


def draw_confusion(matrix: ArrayLike, rows: Sequence[Any], columns: Sequence[Any], path: str | Path) -> None:
    """Draw how many texts of each label are in each cluster. The colour shows the share of the label's texts.

    Matched pairs should be on the diagonal, as `evaluation.clustering.clustering_scores` orders them.

    Args:
        matrix: numbers of texts, (labels, clusters).
        rows: names of the labels.
        columns: names of the clusters.
        path: file to write, .png, .pdf or .svg.

    Raises:
        UserError: if the matrix does not hold counts or does not fit the names, or the file cannot be written.
    """
    check_picture(path)
    counts = _checked(matrix, rows, columns)
    shares = _shares(counts, 1)
    # Many columns share the width of the page. The widest cell, 0.42 inches, holds six digits.
    cell = min(0.42, max(COLUMN - ROOM, min(PAGE - ROOM, 0.3 * len(columns))) / len(columns))
    figure = new_figure(cell * len(columns), cell * len(rows))
    axes = figure.add_axes((0, 0, 1, 1))
    # Up to 1.15, because the darkest blue is almost black.
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    digits = len(f"{counts.max():,.0f}")
    size = min(SIZE, 72 * 0.9 * cell / (0.6 * max(digits, 3)))
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.75 else "black"
        # A dot for zero makes the other numbers easier to see.
        words = f"{count:,.0f}" if count else "·"
        axes.text(column, row, words, ha="center", va="center", fontsize=size, color=colour)
    names = [plain(str(name), 24) for name in columns]
    turned = max(map(len, names)) * 0.6 * SIZE > 72 * cell
    axes.set_xticks(range(len(columns)), names, fontsize=SIZE)
    axes.set_yticks(range(len(rows)), [plain(str(name), 24) for name in rows], fontsize=SIZE)
    axes.xaxis.set_label_position("top")
    axes.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False, pad=2)
    # The labels at the top exist only after tick_params.
    for name in axes.get_xticklabels() if turned else ():
        name.set(rotation=45, rotation_mode="anchor", ha="left")
    axes.set_xlabel("cluster", fontsize=SIZE + 1)
    axes.set_ylabel("label", fontsize=SIZE + 1)
    axes.spines[:].set_visible(False)
    write(figure, path)


def write_confusion_page(
    matrix: ArrayLike,
    rows: Sequence[Any],
    columns: Sequence[Any],
    examples: Sequence[Sequence[Sequence[str]]],
    path: str | Path,
    *,
    title: str = "Labels and clusters",
) -> None:
    """Write the confusion matrix as one HTML file that needs no network. Pointing at a cell shows some of its texts.

    The file contains the texts, shortened and without HTML tags: whoever gets the page gets them.

    Args:
        matrix: numbers of texts, (labels, clusters).
        rows: names of the labels.
        columns: names of the clusters.
        examples: some texts for each row and column.
        path: HTML file to write.
        title: title of the page.

    Raises:
        UserError: if the matrix does not hold counts, or does not fit the names or the examples.
    """
    counts = _checked(matrix, rows, columns)
    if len(examples) != len(rows) or any(len(row) != len(columns) for row in examples):
        raise UserError(
            f"expected examples for each of {len(rows)} rows and {len(columns)} columns, got another shape: give texts "
            "for each cell"
        )
    of_label, of_cluster = _shares(counts, 1), _shares(counts, 0)

    def cell(row: int, column: int) -> str:
        count, share = counts[row, column], of_label[row, column]
        if not count:
            return '<td style="--share:0%">·</td>'
        number = f"{count:,.0f} text{'' if count == 1 else 's'}"
        about = (
            f"{number}: {share:.1%} of {escape(str(rows[row]))}, "
            f"{of_cluster[row, column]:.1%} of cluster {escape(str(columns[column]))}"
        )
        short = (shortened(without_markup(text), LONGEST) for text in examples[row][column])
        texts = "".join(f'<li dir="auto">{escape(text)}</li>' for text in short)
        kind = ' class="most"' if share > 0.55 else ""
        return (
            f'<td tabindex="0"{kind} style="--share:{share:.0%}">{count:,.0f}'
            f"<aside><b>{about}</b><ul>{texts}</ul></aside></td>"
        )

    head = "".join(f'<th scope="col" dir="auto">{escape(str(name))}</th>' for name in columns)
    body = "\n".join(
        f'<tr><th scope="row" dir="auto">{escape(str(name))}</th>'
        f"{''.join(cell(row, column) for column in range(len(columns)))}</tr>"
        for row, name in enumerate(rows)
    )
    about = "<p>Each row is a label, each column a cluster. Point at a cell to see some of its texts.</p>"
    table = f"<main><table><thead><tr><th></th>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></main>"
    write_document(title, STYLE, f"{about}\n{table}", path)


def _checked(matrix: ArrayLike, rows: Sequence[Any], columns: Sequence[Any]) -> NDArray[Any]:
    counts = np.asarray(matrix)
    if counts.shape != (len(rows), len(columns)) or not counts.size:
        raise UserError(
            f"expected a matrix of {len(rows)} rows and {len(columns)} columns, one for each name, got {counts.shape}"
        )
    if not np.isfinite(counts).all() or (counts < 0).any() or (counts % 1).any():
        raise UserError(
            "expected numbers of texts, got negative or fractional numbers: give counts, not shares"
        )
    return counts


def _shares(counts: NDArray[Any], axis: int) -> NDArray[np.float64]:
    """The counts divided by their sums along an axis."""
    return counts / np.maximum(counts.sum(axis, keepdims=True), 1)
