"""The data of a report: what report.json holds, and what `page` shows."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from comparison.accuracy import Bin, Interval
from comparison.cost import Cost, Crossing, Growth
from comparison.errors import ErrorCounts

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class DatasetSummary:
    """The images that were compared on.

    Attributes:
        images: how many.
        people: how many of them count.
        annotations: the name of the annotation file.
    """

    images: int
    people: int
    annotations: str


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """How the comparison was run.

    Attributes:
        samples: of the bootstrap of the main figures.
        seed: of everything that is drawn.
        quick: whether it was a short trial.
    """

    samples: int
    seed: int
    quick: bool


@dataclasses.dataclass(frozen=True)
class MethodSummary:
    """A method, and whether it ran.

    Attributes:
        name: of the method.
        kind: "bottom-up", "top-down" or "other".
        command: that runs it.
        status: "done", "unavailable" or "failed".
        reason: why it is not done; empty if it is.
    """

    name: str
    kind: str
    command: str
    status: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """How well methods find people.

    Attributes:
        figures: by method and name of the figure.
        differences: the same, minus those of the reference.
        errors: by method.
        bins: by kind ("people", "crowding", "size") and method.
    """

    figures: Mapping[str, Mapping[str, Interval]]
    differences: Mapping[str, Mapping[str, Interval]]
    errors: Mapping[str, ErrorCounts]
    bins: Mapping[str, Mapping[str, Sequence[Bin]]]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Average precision as one factor makes the images harder.

    Attributes:
        family: "photos" or "drawn".
        name: of the sweep.
        title: for readers.
        unit: of the levels, with what they are.
        levels: from easy to hard.
        images: of each level.
        people: who count, by level.
        ap: by method, at each level.
    """

    family: str
    name: str
    title: str
    unit: str
    levels: Sequence[float]
    images: int
    people: Sequence[int]
    ap: Mapping[str, Sequence[Interval]]


@dataclasses.dataclass(frozen=True)
class CostGrowth:
    """The cost against the number of people.

    Attributes:
        curves: by method.
        crossings: of each pair of a bottom-up and a top-down method.
        pictures: images of each number of people.
    """

    curves: Mapping[str, Growth]
    crossings: Sequence[Crossing]
    pictures: int


@dataclasses.dataclass(frozen=True)
class BoxErrors:
    """Average precision of top-down methods as one kind of error spoils their boxes.

    Attributes:
        kind: a key of `boxes.KINDS`.
        title: for readers.
        unit: of the levels, with what they are.
        levels: from 0, where all boxes are true.
        ap: by method, at each level; None where the method failed.
    """

    kind: str
    title: str
    unit: str
    levels: Sequence[float]
    ap: Mapping[str, Sequence[Interval | None]]


@dataclasses.dataclass(frozen=True)
class SpoiledBoxes:
    """What happens when detection fails.

    Attributes:
        images: how many.
        people: who count.
        kinds: of errors.
        others: average precision of the methods that need no boxes, on the same images.
    """

    images: int
    people: int
    kinds: Sequence[BoxErrors]
    others: Mapping[str, Interval]


@dataclasses.dataclass(frozen=True)
class Problem:
    """A run that did not work.

    Attributes:
        part: of the comparison.
        method: its name.
        status: "unavailable" or "failed".
        reason: why, in one line.
    """

    part: str
    method: str
    status: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything about a comparison.

    Attributes:
        dataset: the images.
        settings: how the comparison was run.
        reference: the method with which the others are compared.
        methods: in the order of the report.
        cost: by method.
        accuracy: of the methods that are done.
        sweeps: that were run so far.
        growth: of the cost; None before it was measured.
        boxes: None before they were spoiled.
        problems: of all parts.
        seconds: that each part took.
    """

    dataset: DatasetSummary
    settings: RunSettings
    reference: str
    methods: Sequence[MethodSummary]
    cost: Mapping[str, Cost]
    accuracy: Accuracy
    sweeps: Sequence[Sweep] = ()
    growth: CostGrowth | None = None
    boxes: SpoiledBoxes | None = None
    problems: Sequence[Problem] = ()
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)


def to_json(report: Report) -> dict[str, Any]:
    """What report.json holds: parts that were not measured are left out."""
    content = {"format": FORMAT} | _plain(report)
    return {key: value for key, value in content.items() if value is not None}


def _plain(value: Any) -> Any:
    """Dataclasses as dicts, an `Interval` as three numbers, None for infinities and NaN."""
    if isinstance(value, Interval):
        return [_plain(number) for number in dataclasses.astuple(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
