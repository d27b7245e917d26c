"""Quantities, which are values with a name, a unit and a note on how they were measured; and the meters for them."""

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
    """The description of a quantity: its name, its unit and where it is shown.

    The report, JSON, progress line, curves and comparison tables use it.

    Attributes:
        name: key in JSON and in logs.
        unit: such as "nats per sentence"; "%" shows a share as a percentage.
        decimals: digits after the decimal point in reports and tables.
        label: name in the report; None: ``name``.
        shown: whether the report has a line for it.
        progress: name in the progress line; "": not shown there.
        panel: the axis it is plotted on over the steps of training; "": not plotted.
        curve: name of its curve in that panel.
        greater_is_better: whether the model with the greater value is better; None: neither is.
    """

    name: str
    unit: str = ""
    decimals: int = 2
    label: str | None = None
    shown: bool = True
    progress: str = ""
    panel: str = ""
    curve: str = ""
    greater_is_better: bool | None = None


@dataclass(frozen=True)
class Quantity:
    """A measured quantity.

    Attributes:
        description: name, unit and where it is shown.
        value: a number, a word, or a list with a number for each latent dimension.
        how: how it was measured, in a few words.
    """

    description: Description
    value: Any
    how: str = ""

    @property
    def name(self) -> str:
        """The key in JSON and in logs."""
        return self.description.name

    @property
    def unit(self) -> str:
        """The unit, such as "nats per sentence"."""
        return self.description.unit

    @property
    def text(self) -> str:
        """The value as the report shows it."""
        return written(self.value, self.description)

    @property
    def remark(self) -> str:
        """The unit and how it was measured, as the report writes them after the value."""
        unit = "" if self.unit == PERCENT else self.unit
        return "; ".join(part for part in (unit, self.how) if part)


def written(value: Any, description: Description) -> str:
    """The value as text, with the decimals and the percent sign of its description."""
    if description.unit == PERCENT:
        return f"{100 * value:.{description.decimals}f} %"
    if isinstance(value, float):
        return f"{value:.{description.decimals}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


@dataclass(frozen=True)
class Training:
    """How a model was trained, as far as advice depends on it.

    Attributes:
        steps: steps of the run.
        warmup: steps of warm-up of the learning rate.
        target_rate: nats of KL per sentence that the objective held; None: it weighted the KL.
        pretraining: whether a first stage trained an auto-encoder.
        gained: relative gain of the last evaluation's bound over the one before; None: there were fewer than two.
        few_steps: with fewer steps a model of this kind has learnt little.
    """

    steps: int
    warmup: int = 0
    target_rate: float | None = None
    pretraining: bool = False
    gained: float | None = None
    few_steps: int = 0


class Evaluation(Mapping[str, Any]):
    """The measured quantities of a model on a data set: values by name.

    ``evaluation["kl"]`` and ``evaluation.kl`` are the value of a measured quantity; `get` returns None for one that was
    not measured. All bounds have KL weight 1, no dropout and no free bits.

    Args:
        quantities: measured quantities, in the order of the report.
        cures: what to try if the latent is not used, see `VAEModel.cures`.

    Attributes:
        training: how the model was trained; None: unknown.
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
        """Number of quantities."""
        return len(self.quantities)

    def to_dict(self) -> dict[str, Any]:
        """The values by name."""
        return dict(self)

    def scalars(self) -> dict[str, float]:
        """The values that are numbers, for logs; each entry of a list has a name such as ``kl_of_dimension_0``."""
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
    """What an evaluation measures; a meter decides by it whether it applies.

    Attributes:
        model: the model, in evaluation mode.
        fields: the model's fields; None: unknown.
        samples: K of the importance-weighted bound.
        batch_size: examples per batch, for meters that make their own batches.
        seed: seeds all draws.
        batches: number of batches; 0: unknown.
        rows: the split before it was prepared; None: unknown.
        cut: whether texts of the split were cut.
        options: arguments of the meters, by their names in `METERS`.
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
        """Whether the model has a condition besides z."""
        kinds = self.model.field_kinds(self.model.config)
        return any(kind.is_condition for kind in kinds)


class Meter(ABC):
    """Measures each batch, and computes quantities from the measurements.

    One process measures each batch; every process adds the measurements of all batches.

    Attributes:
        describes: descriptions of the quantities that it may return, in the order of the report.
        needs: fields that a model must have for a recipe to give arguments of this meter; empty: no arguments. The
            arguments are the constructor's parameters, under ``evaluation.NAME``, and `of` finds them in
            ``setting.options``. They apply to the evaluation after training; evaluations during training have none.
    """

    describes: ClassVar[tuple[Description, ...]]
    needs: ClassVar[tuple[type[Field], ...]] = ()

    @classmethod
    @abstractmethod
    def of(cls, setting: Setting) -> Self | None:
        """The meter for a setting; None if it does not apply to this model or data."""

    def measure(  # noqa: B027
        self, model: Any, batch: Batch, found: Bounds, number: int, generator: torch.Generator
    ) -> Any:
        """The measurement of a batch; its tensors must be on the CPU, because it is sent to other processes.

        Args:
            model: the model, in evaluation mode and without gradients.
            batch: the batch, on the model's device.
            found: the bounds of the batch's examples.
            number: index of the batch, from 0.
            generator: generator for all draws of the batch, shared by the meters in the order of their table.
        """

    def add(self, measured: Any) -> None:  # noqa: B027
        """Add the measurement of the next batch."""

    @abstractmethod
    def results(self) -> Mapping[str, tuple[Any, str]]:
        """The value of each quantity that could be measured, and how it was measured, by name."""

    def quantities(self) -> list[Quantity]:
        """The quantities over all batches."""
        found = self.results()
        known = [description for description in self.describes if description.name in found]
        return [Quantity(description, *found[description.name]) for description in known]
