"""Quantities: numbers with a name, a unit and how they were counted, and the meters that take them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from datasets import Dataset, IterableDataset

from textvae.inference.bounds import Bounds
from textvae.models.base import VAEModel
from textvae.text.batches import Batch
from textvae.text.fields import Field, Fields

PER_SENTENCE = "nats per sentence"
PERCENT = "%"


@dataclass(frozen=True)
class Description:
    """What is known of a quantity before it is measured.

    Report, JSON, progress line, curves and the tables of comparisons are made from it.

    Attributes:
        name: its key in JSON and in logs.
        unit: such as "nats per sentence"; "%" shows a share as a percentage.
        decimals: digits behind the point in reports and tables.
        label: its name in the report; None: its ``name``.
        shown: whether it is a line of the report.
        progress: what the progress line calls it; "": it is not there.
        panel: the axis on which it is drawn over the steps of training; "": it is not drawn.
        curve: its name in that panel.
    """

    name: str
    unit: str = ""
    decimals: int = 2
    label: str | None = None
    shown: bool = True
    progress: str = ""
    panel: str = ""
    curve: str = ""


@dataclass(frozen=True)
class Quantity:
    """A measured quantity.

    Attributes:
        description: its name, unit and where it is shown.
        value: a number, a word, or a list of numbers, one for each latent dimension.
        how: how it was counted, in a few words.
    """

    description: Description
    value: Any
    how: str = ""

    @property
    def name(self) -> str:
        """Its key in JSON and in logs."""
        return self.description.name

    @property
    def unit(self) -> str:
        """Such as "nats per sentence"."""
        return self.description.unit

    @property
    def text(self) -> str:
        """The value as the report shows it."""
        return written(self.value, self.description)

    @property
    def remark(self) -> str:
        """Unit and how it was counted, as they stand behind the value."""
        unit = "" if self.unit == PERCENT else self.unit
        return "; ".join(part for part in (unit, self.how) if part)


def written(value: Any, description: Description) -> str:
    """A value with the digits and the unit of its description."""
    if description.unit == PERCENT:
        return f"{100 * value:.{description.decimals}f} %"
    if isinstance(value, float):
        return f"{value:.{description.decimals}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


@dataclass(frozen=True)
class Training:
    """What is known of how a model was trained, for advice that fits it.

    Attributes:
        steps: of the run.
        warmup: steps until the learning rate had come to its highest.
        target_rate: nats of KL per sentence at which the objective held the model; None: it weighed the KL.
        pretraining: whether a first stage trained an auto-encoder.
        gained: share by which the last evaluation's bound was better than the one before; None: there were not two.
    """

    steps: int
    warmup: int = 0
    target_rate: float | None = None
    pretraining: bool = False
    gained: float | None = None


class Evaluation(Mapping[str, Any]):
    """What a model is worth on a data set: the values of its quantities by name.

    ``evaluation["kl"]`` and ``evaluation.kl`` are the value of a quantity that was measured; `get` gives None for one
    that was not. All bounds are at KL weight 1, without dropout and free bits.

    Args:
        quantities: in the order of the report.
        cures: what to try if the latent is not used, see `VAEModel.cures`.

    Attributes:
        training: how the model was trained; None: it is not known.
    """

    def __init__(self, quantities: Sequence[Quantity], cures: Sequence[str] = ()) -> None:
        self.quantities = {quantity.name: quantity for quantity in quantities}
        self.cures = tuple(cures)
        self.training: Training | None = None

    def __getitem__(self, name: str) -> Any:
        """The value of a quantity."""
        return self.quantities[name].value

    def __getattr__(self, name: str) -> Any:
        """The value of a quantity."""
        try:
            return self.__dict__["quantities"][name].value
        except KeyError:
            raise AttributeError(f"no quantity {name} was measured") from None

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self.quantities)

    def __len__(self) -> int:
        """How many quantities there are."""
        return len(self.quantities)

    def to_dict(self) -> dict[str, Any]:
        """The values by name."""
        return dict(self)

    def scalars(self) -> dict[str, float]:
        """The values that are numbers, for logs; of a list each entry, ``kl_of_dimension_0`` and so on."""
        numbers: dict[str, float] = {}
        for name, value in self.items():
            if isinstance(value, list):
                single = name.replace("_per_dimension", "_of_dimension")
                numbers |= {f"{single}_{place}": entry for place, entry in enumerate(value)}
            elif not isinstance(value, str):
                numbers[name] = value
        return numbers


@dataclass(frozen=True)
class Setting:
    """What an evaluation measures, for meters to decide whether they apply.

    Attributes:
        model: in evaluation mode.
        fields: the model's fields; None: they are not known.
        samples: K of the importance-weighted bound.
        batch_size: examples at once, for meters that make batches of their own.
        seed: of all draws.
        batches: how many batches there will be; 0: unknown.
        rows: the split before it was prepared; None: it is not known.
        cut: whether texts of the split were cut.
        options: arguments of meters, by the names of `METERS`.
        show_progress_bar: None: only on a terminal.
    """

    model: VAEModel
    fields: Fields | None = None
    samples: int = 1
    batch_size: int = 32
    seed: int = 0
    batches: int = 0
    rows: Dataset | IterableDataset | None = None
    cut: bool = False
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    show_progress_bar: bool | None = None

    @property
    def has_condition(self) -> bool:
        """Whether the model is given a condition beside z."""
        kinds = self.model.field_kinds(self.model.config)
        return any(kind.is_condition for kind in kinds)


class Meter(ABC):
    """What is taken of each batch, and the quantities that come of it.

    Each batch is measured by one process, and all processes take in what was found of all batches.

    Attributes:
        describes: the quantities that it may give, in the order of the report.
        needs: the fields of a model for which a recipe may give the meter's arguments; none: it takes no arguments.
    """

    describes: ClassVar[tuple[Description, ...]]
    needs: ClassVar[tuple[type[Field], ...]] = ()

    @classmethod
    @abstractmethod
    def of(cls, setting: Setting) -> Self | None:
        """The meter for a setting; None if it does not apply to the model or the data."""

    def measure(  # noqa: B027
        self, model: Any, batch: Batch, found: Bounds, number: int, generator: torch.Generator
    ) -> Any:
        """What there is to say of a batch; it is sent to other processes, so its tensors are on the CPU.

        Args:
            model: in evaluation mode, without gradients.
            batch: on the model's device.
            found: the bounds of its examples.
            number: of the batch, from 0.
            generator: of all draws.
        """

    def add(self, measured: Any) -> None:  # noqa: B027
        """Take in what `measure` found of the next batch."""

    @abstractmethod
    def results(self) -> Mapping[str, tuple[Any, str]]:
        """Value and way of counting of each quantity that could be measured, by name."""

    def quantities(self) -> list[Quantity]:
        """The quantities of all batches."""
        found = self.results()
        known = [description for description in self.describes if description.name in found]
        return [Quantity(description, *found[description.name]) for description in known]
