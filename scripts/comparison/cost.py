"""What a method costs: time by image and stage, and how it grows with the number of people."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from comparison.timing import STAGES, Timing


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a method over the images of a run; times are wall-clock milliseconds.

    Attributes:
        median: of the whole, per image.
        p95: 95th percentile of the whole, per image.
        images_per_second: one image after the other.
        stages: median and 95th percentile by stage.
        images: how many were timed.
        failed: how many the method could not read.
        peak_memory_mb: see `Timing`, as all that follow.
        parameters: of all networks.
        gflops: of one image.
        threads: that the method was allowed to use.
        machine: that it ran on.
    """

    median: float
    p95: float
    images_per_second: float
    stages: Mapping[str, tuple[float, float]]
    images: int
    failed: int
    peak_memory_mb: float | None = None
    parameters: int | None = None
    gflops: float | None = None
    threads: int = 1
    machine: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Growth:
    """The time of a method against the number of people.

    Attributes:
        people: in the images of each point, ascending.
        found: median number of results per image.
        ms: median time per image.
        stages: median time per image by stage.
        start: ms without people, on the straight line through the points.
        slope: ms per person, on that line.
    """

    people: tuple[int, ...]
    found: tuple[float, ...]
    ms: tuple[float, ...]
    stages: Mapping[str, tuple[float, ...]]
    start: float
    slope: float


@dataclasses.dataclass(frozen=True)
class Crossing:
    """The number of people from which on one method is slower than another.

    Attributes:
        flat: the bottom-up method.
        rising: the top-down method.
        fitted: where the straight lines cross; None if they do not.
        measured: where the measured curves cross; None if they do not.
    """

    flat: str
    rising: str
    fitted: float | None
    measured: float | None


def cost_of(timing: Timing) -> Cost:
    """Medians and percentiles of a run; NaN if no image was timed."""
    rows = [image.ms for image in timing.images if image.ms is not None]
    totals = np.array([sum(row.values()) for row in rows]) if rows else np.array([np.nan])
    stages = {}
    for stage in STAGES:
        values = [row[stage] for row in rows if stage in row]
        if values:
            stages[stage] = (float(np.median(values)), float(np.quantile(values, 0.95)))
    mean = float(totals.mean())
    return Cost(
        median=float(np.median(totals)),
        p95=float(np.quantile(totals, 0.95)),
        images_per_second=1000 / mean if mean > 0 else np.nan,
        stages=stages,
        images=len(rows),
        failed=len(timing.images) - len(rows),
        peak_memory_mb=timing.peak_memory_mb,
        parameters=timing.parameters,
        gflops=timing.gflops,
        threads=timing.threads,
        machine=dict(timing.machine),
    )


def growth_of(timing: Timing, people: Mapping[int, int]) -> Growth:
    """How the time grows.

    Args:
        timing: a run on the images of `pasting.growing_crowds`.
        people: how many are in each image, by its id.

    Raises:
        ValueError: fewer than two numbers of people were timed.
    """
    rows = [(people[image.image_id], image) for image in timing.images if image.ms is not None]
    counts = tuple(sorted({count for count, _ in rows}))
    if len(counts) < 2:
        raise ValueError(f"a line needs two numbers of people or more, not {counts}")
    groups = [[image for number, image in rows if number == count] for count in counts]
    ms = tuple(_median([sum(image.ms.values()) for image in group if image.ms]) for group in groups)
    stages = {
        stage: tuple(
            _median([(image.ms or {}).get(stage, 0.0) for image in group]) for group in groups
        )
        for stage in STAGES
        if any(image.ms and stage in image.ms for _, image in rows)
    }
    found = tuple(_median([image.people or 0 for image in group]) for group in groups)
    slope, start = np.polyfit(counts, ms, 1)
    return Growth(counts, found, ms, stages, float(start), float(slope))


def crossings(
    curves: Mapping[str, Growth], flat: Sequence[str], rising: Sequence[str]
) -> list[Crossing]:
    """Where the curves of each pair of methods cross.

    Args:
        curves: by method.
        flat: names of the bottom-up methods.
        rising: names of the top-down methods.
    """
    found = []
    for one in flat:
        for other in rising:
            pair = curves[one], curves[other]
            found.append(Crossing(one, other, fitted_crossing(*pair), measured_crossing(*pair)))
    return found


def fitted_crossing(flat: Growth, rising: Growth) -> float | None:
    """The number of people from which on the line of `rising` is above that of `flat`.

    0 if it is above from the beginning, None if it never is.
    """
    if rising.slope <= flat.slope:
        return None
    return max((flat.start - rising.start) / (rising.slope - flat.slope), 0.0)


def measured_crossing(flat: Growth, rising: Growth) -> float | None:
    """The number of people from which on the measured curve of `rising` stays above that of `flat`.

    Between measured points the curves are straight. The first point if it is above from there on,
    None if it does not stay above.
    """
    people = sorted(set(flat.people) & set(rising.people))
    first, second = (dict(zip(growth.people, growth.ms, strict=True)) for growth in (flat, rising))
    gaps = np.array([second[count] - first[count] for count in people])
    below = np.flatnonzero(gaps <= 0)
    if not len(below):
        return float(people[0])
    last = int(below[-1])
    if last + 1 == len(people):
        return None
    share = -gaps[last] / (gaps[last + 1] - gaps[last])
    return float(people[last] + share * (people[last + 1] - people[last]))


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
