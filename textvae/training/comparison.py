"""A comparison: run configurations of one recipe with several seeds, and tabulate their results."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from textvae.evaluation.meters.table import descriptions
from textvae.support.errors import UserError
from textvae.support.files import replacing
from textvae.support.options import did_you_mean
from textvae.support.seeds import Seed, check_seed
from textvae.support.yaml import in_one_line, read_yaml
from textvae.training.recipe import read_recipe
from textvae.training.record import flat

COLUMNS = (
    "iw_nll",
    "neg_elbo",
    "kl",
    "mutual_information",
    "active_units",
    "reconstruction_bleu",
    "minutes",
)
"""Default columns of the table."""
_KINDS: dict[str, Any] = {
    "recipe": str,
    "output_dir": str,
    "seeds": Annotated[list[Seed], Field(min_length=1)],
    "configurations": Annotated[dict[str, dict[str, Any] | None], Field(min_length=1)],
    "columns": list[str],
}
_DEFAULTS: dict[str, Any] = {"seeds": [0], "columns": list(COLUMNS)}


@dataclass(frozen=True)
class Run:
    """A run of a configuration with one seed.

    Attributes:
        configuration: name of the configuration.
        seed: seed of training and evaluation.
        overrides: the overrides of the recipe, as arguments of ``train.py``.
        source: the sections of the recipe with the overrides.
    """

    configuration: str
    seed: int
    overrides: tuple[str, ...]
    source: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.configuration}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self.source["training"]["output_dir"])

    def evaluation(self) -> dict[str, Any] | None:
        """The results of the finished run; None if it is not finished or was run with a different recipe."""
        file = self.folder / "evaluation.json"
        if not file.exists() or self.difference():
            return None
        return json.loads(file.read_text(encoding="utf-8"))

    def difference(self) -> str | None:
        """The differences between the recipe of the run in the folder and this one; None if there are none."""
        file = self.folder / "recipe.yaml"
        if not file.exists():
            return "no recipe.yaml" if (self.folder / "evaluation.json").exists() else None
        there, here = flat(read_yaml(file, "a recipe")), flat(self.source)
        differing = [key for key in there | here if there.get(key, _ABSENT) != here.get(key, _ABSENT)]
        found = [f"{key} {there.get(key, _ABSENT)}, now {here.get(key, _ABSENT)}" for key in differing]
        return _listed(found) if found else None


@dataclass(frozen=True)
class Comparison:
    """A checked comparison.

    Attributes:
        recipe: the recipe file that all configurations modify.
        folder: the folder of the runs and the table.
        names: names of the configurations, in the order of the file.
        seeds: seeds of the table.
        columns: quantities of the table.
        runs: all runs, ordered by seed, so that each configuration has one result early.
    """

    recipe: Path
    folder: Path
    names: tuple[str, ...]
    seeds: tuple[int, ...]
    columns: tuple[str, ...]
    runs: tuple[Run, ...]

    def chosen(self, names: Sequence[str] | None = None, seeds: Sequence[int] | None = None) -> list[Run]:
        """The runs of the given configurations and seeds; None: all.

        Raises:
            UserError: if a name is not that of a configuration.
        """
        for name in names or ():
            if name not in self.names:
                raise UserError(f"no configuration {name}{did_you_mean(name, self.names)}")
        return [
            run
            for run in self.runs
            if (names is None or run.configuration in names) and (seeds is None or run.seed in seeds)
        ]


def read_comparison(
    path: str | Path, overrides: Sequence[str] = (), more_seeds: Sequence[int] = ()
) -> Comparison:
    """Read a comparison and the recipes of all its runs.

    Args:
        path: a YAML file with the keys recipe (a path relative to the file), output_dir, configurations (for each name
            a mapping of overrides, ``section.key: value``), seeds and columns.
        overrides: ``section.key=value``, applied to every configuration after its own overrides.
        more_seeds: seeds in addition to those of the file.

    Raises:
        UserError: if the file or the recipe of a configuration has faults, or a run folder holds a run of a different
            recipe. The message names all faults.
    """
    for seed in more_seeds:
        check_seed(seed, "--seeds")
    values, faults = _checked(read_yaml(path, "a comparison"))
    configurations = {name: given or {} for name, given in values["configurations"].items()}
    faults += [*_unknown_columns(values["columns"]), *_without_folder(configurations)]
    recipe, folder = Path(path).parent / values["recipe"], Path(values["output_dir"])
    seeds = tuple(dict.fromkeys([*values["seeds"], *more_seeds]))
    runs, found = _runs(recipe, folder, configurations, overrides, seeds) if values["recipe"] else ([], [])
    faults += found
    if not faults:
        others = ((run.difference(), str(run.folder)) for run in runs)
        faults = _grouped(
            (f"it has a different recipe ({found}): delete it, or change output_dir", f"a run in {place}")
            for found, place in others
            if found
        )
    if faults:
        raise UserError(f"{path}: {len(faults)} to mend: " + "; ".join(faults))
    return Comparison(recipe, folder, tuple(configurations), seeds, tuple(values["columns"]), tuple(runs))


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A row for each configuration: its name, the finished seeds, their results, their mean and standard deviation.

    ``deviation`` is the sample standard deviation, with n - 1; it is empty for a single seed.
    """
    table = []
    for name in comparison.names:
        measured = {
            run.seed: found
            for run in comparison.runs
            if run.configuration == name and (found := run.evaluation()) is not None
        }
        runs = list(measured.values())
        numbers = {
            quantity: [run[quantity] for run in runs]
            for quantity in (runs[0] if runs else ())
            if all(isinstance(run.get(quantity), int | float) for run in runs)
        }
        table.append(
            {
                "name": name,
                "seeds": list(measured),
                "runs": runs,
                "mean": {quantity: statistics.fmean(values) for quantity, values in numbers.items()},
                "deviation": {
                    quantity: statistics.stdev(values)
                    for quantity, values in numbers.items()
                    if len(values) > 1 and all(map(math.isfinite, values))
                },
            }
        )
    return table


def write_table(comparison: Comparison) -> str:
    """Write the results of the finished runs to table.md and table.json; returns the Markdown table."""
    table = rows(comparison)
    text = _markdown(table, comparison)
    for name, content in (("table.md", text), ("table.json", json.dumps(table, indent=2))):
        with replacing(comparison.folder / name) as partial:
            partial.write_text(content + "\n", encoding="utf-8")
    return text


def _checked(given: Mapping[Any, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values by key, with an empty value for each faulty one, and the faults."""
    values: dict[str, Any] = {"recipe": "", "output_dir": "", "configurations": {}} | _DEFAULTS
    faults = [f"{key}: no such key{did_you_mean(str(key), _KINDS)}" for key in given if key not in _KINDS]
    faults += [f"{key}: missing" for key in _KINDS if key not in given and key not in _DEFAULTS]
    for key in _KINDS.keys() & given.keys():
        try:
            values[key] = TypeAdapter(_KINDS[key]).validate_python(given[key])
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, (key, *first["loc"])))
            faults.append(f"{place}: {first['msg']}, got {first['input']!r}")
    return values, sorted(faults)


def _unknown_columns(columns: Sequence[str]) -> list[str]:
    known = {*COLUMNS, *descriptions()}
    return [
        f"columns: no quantity {name}{did_you_mean(name, sorted(known))}"
        for name in columns
        if name not in known
    ]


def _without_folder(configurations: Iterable[str]) -> list[str]:
    """A fault for each configuration whose name gives no folder name, or the same one as an earlier configuration."""
    first: dict[str, str] = {}
    faults = []
    for name in configurations:
        before = first.setdefault(_slug(name), name)
        if not _slug(name):
            faults.append(f"configurations: expected a name with letters or digits, got {name!r}")
        elif before != name:
            faults.append(f"configurations: {before!r} and {name!r} would share the folder {_slug(name)}")
    return faults


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower()).strip("-_")


def _runs(
    recipe: Path,
    folder: Path,
    configurations: Mapping[str, Mapping[str, Any]],
    overrides: Sequence[str],
    seeds: Sequence[int],
) -> tuple[list[Run], list[str]]:
    """The runs, ordered by seed, and the faults of their recipes."""
    runs, faults = [], []
    for seed, (name, given) in product(seeds, configurations.items()):
        place = folder / _slug(name) / f"seed{seed}"
        chosen = [*(f"{key}={in_one_line(value)}" for key, value in given.items()), *overrides]
        faults += [
            (f"{key} cannot be set here, because the comparison sets it from {reason}: leave it out", name)
            for key, reason in (("training.seed", "seeds"), ("training.output_dir", "output_dir"))
            if any(override.startswith(f"{key}=") for override in chosen)
        ]
        chosen += [f"training.seed={seed}", f"training.output_dir={in_one_line(str(place))}"]
        try:
            runs.append(Run(name, seed, tuple(chosen), read_recipe(recipe, chosen).source))
        except UserError as error:
            faults.append((str(error), name))
    return runs, _grouped(faults)


def _grouped(faults: Iterable[tuple[str, str]]) -> list[str]:
    """Each message once, after the list of the places it applies to."""
    places: dict[str, dict[str, None]] = {}
    for message, place in faults:
        places.setdefault(message, {})[place] = None
    return [f"{_listed(list(found))}: {message}" for message, found in places.items()]


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")


_ABSENT = "absent"


def _markdown(table: Sequence[Mapping[str, Any]], comparison: Comparison) -> str:
    """The table in Markdown, followed by an explanation of its numbers."""
    seeds = ", ".join(map(str, comparison.seeds))
    many = len(comparison.seeds) > 1
    lines = [["configuration", *comparison.columns]]
    for row in table:
        finished = len(row["seeds"])
        note = (
            f" ({finished} of {len(comparison.seeds)} seeds)" if 0 < finished < len(comparison.seeds) else ""
        )
        cells = (_cell(row, column) for column in comparison.columns)
        lines.append([row["name"].replace("|", "\\|") + note, *cells])
    text = [
        *_aligned(lines),
        "",
        f"Mean ± sample standard deviation over seeds {seeds}." if many else f"Seed {seeds}.",
    ]
    exact = {
        f"{run['entropy']:.2f}" for row in table for run in row["runs"] if run.get("entropy") is not None
    }
    if exact:
        text.append(f"Exact entropy of the test sentences: {', '.join(sorted(exact))} nats per sentence.")
    return "\n".join(text)


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table with padded cells: the first column left-aligned, the others right-aligned."""
    first, *others = (max(map(len, cells)) for cells in zip(*lines, strict=True))
    padded = [[line[0].ljust(first), *map(str.rjust, line[1:], others)] for line in lines]
    padded.insert(1, ["-" * first, *("-" * (width - 1) + ":" for width in others)])
    return [f"| {' | '.join(line)} |" for line in padded]


def _decimals(column: str) -> int:
    """The number of decimals of a column; minutes have one."""
    described = descriptions().get(column)
    return described.decimals if described else 1


def _cell(row: Mapping[str, Any], column: str) -> str:
    """The mean ± the standard deviation, or a dash if not every run has a number."""
    if column not in row["mean"]:
        return "—"
    counts = all(isinstance(run[column], int) for run in row["runs"])
    decimals = int(len(row["runs"]) > 1) if counts else _decimals(column)
    deviation = row["deviation"].get(column)
    spread = "" if deviation is None else f" ± {deviation:.{decimals}f}"
    return f"{row['mean'][column]:.{decimals}f}{spread}"
