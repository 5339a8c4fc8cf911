"""What a method costs: by image and stage, and how the time grows with the number of people."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from bottomup.data.scenes.background import draw_background
from comparison.datasets import Entry, Picture
from comparison.people import hide_joints, num_labelled, paste_person
from comparison.timing import STAGES, Timing

FRAME = (960, 720)  # width and height of the pictures with 1 to 100 people
HEIGHTS = (80.0, 140.0)  # of the people in them, pixels
GRID = (12, 9)  # places for them, taken in a random order


@dataclasses.dataclass(frozen=True)
class Cost:
    """The time of a method over the images of a run, in milliseconds of wall-clock time.

    Attributes:
        median: of the whole, per image.
        p95: 95th percentile of the whole, per image.
        images_per_second: one image after the other.
        stages: median and 95th percentile by stage.
        images: that were timed.
        failed: images that the method could not read.
    """

    median: float
    p95: float
    images_per_second: float
    stages: Mapping[str, tuple[float, float]]
    images: int
    failed: int


@dataclasses.dataclass(frozen=True)
class Growth:
    """The time of a method against the number of people.

    Attributes:
        people: in the pictures of each point, ascending.
        found: results per picture, median.
        ms: median time per picture.
        stages: median time per picture by stage.
        start: of the straight line through the points: ms without people.
        slope: of that line: ms per person.
    """

    people: tuple[int, ...]
    found: tuple[float, ...]
    ms: tuple[float, ...]
    stages: Mapping[str, tuple[float, ...]]
    start: float
    slope: float


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
        float(np.median(totals)),
        float(np.quantile(totals, 0.95)),
        1000 / mean if mean > 0 else np.nan,
        stages,
        len(rows),
        len(timing.images) - len(rows),
    )


def growth_of(timing: Timing, people: Mapping[int, int]) -> Growth:
    """How the time grows.

    Args:
        timing: a run on the pictures of `growing_crowds`.
        people: in each picture, by its id.

    Raises:
        ValueError: fewer than two numbers of people were timed.
    """
    rows = [(people[image.image_id], image) for image in timing.images if image.ms is not None]
    counts = tuple(sorted({count for count, _ in rows}))
    if len(counts) < 2:
        raise ValueError(f"a line needs two numbers of people or more, not {counts}")
    groups = [[image for number, image in rows if number == count] for count in counts]
    ms = tuple(_median([sum(image.ms.values()) for image in group if image.ms]) for group in groups)
    there = [stage for stage in STAGES if any(image.ms and stage in image.ms for _, image in rows)]
    stages = {
        stage: tuple(
            _median([(image.ms or {}).get(stage, 0.0) for image in group]) for group in groups
        )
        for stage in there
    }
    found = tuple(_median([image.people or 0 for image in group]) for group in groups)
    slope, start = np.polyfit(counts, ms, 1)
    return Growth(counts, found, ms, stages, float(start), float(slope))


def fitted_crossing(flat: Growth, rising: Growth) -> float | None:
    """From how many people on the second method's line is above the first one's; None if it never gets there.

    0 if it is above from the beginning.
    """
    if rising.slope <= flat.slope:
        return None
    return max((flat.start - rising.start) / (rising.slope - flat.slope), 0.0)


def measured_crossing(flat: Growth, rising: Growth) -> float | None:
    """From how many people on the second method's measured curve stays above the first one's; None if it does not.

    Between measured points the curves are straight; the first point if it is above from there on.
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


def growing_crowds(
    donors: Sequence[Picture], counts: Sequence[int], repeats: int, *, seed: int = 0
) -> Iterator[Picture]:
    """Photographed people, cut out, over one background: the picture with more people has those with fewer, too.

    Args:
        donors: pictures with at least one labelled person each.
        counts: numbers of people; a picture's level is its place in this list.
        repeats: how many crowds; all have the same background.
        seed: of the background, and of who stands where.
    """
    background = draw_background(np.random.default_rng((seed, 1)), *FRAME)
    for repeat in range(repeats):
        rng = np.random.default_rng((seed, repeat, 2))
        places = _places(max(counts), rng)
        chosen = rng.integers(len(donors), size=max(counts))
        heights = rng.uniform(*HEIGHTS, max(counts))
        for level, count in enumerate(counts):
            yield _crowd(background, donors, places[:count], chosen[:count], heights[:count], level)


def _places(count: int, rng: np.random.Generator) -> Float[np.ndarray, "N 2"]:
    """Middles of people: cells of a grid in random order, and anywhere once all cells are taken."""
    columns, rows = GRID
    cells = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2) + 0.5
    cells = rng.permutation(cells) + rng.uniform(-0.3, 0.3, cells.shape)
    places = cells / GRID
    while len(places) < count:
        places = np.concatenate([places, rng.uniform(0.05, 0.95, (1, 2))])
    inner = np.array(FRAME) - (HEIGHTS[0], HEIGHTS[1])
    return places[:count] * inner + np.array([HEIGHTS[0], HEIGHTS[1]]) / 2


def _crowd(
    background: np.ndarray,
    donors: Sequence[Picture],
    places: Float[np.ndarray, "N 2"],
    chosen: Int[np.ndarray, " N"],
    heights: Float[np.ndarray, " N"],
    level: int,
) -> Picture:
    image = background.copy()
    people: list[Entry] = []
    for i in np.argsort(
        places[:, 1] + heights / 2, kind="stable"
    ).tolist():  # who stands lower is nearer
        donor = donors[int(chosen[i])]
        entry = max(donor.people, key=num_labelled)
        pasted, cover = paste_person(image, donor.image, entry, places[i], float(heights[i]))
        people = [*(hide_joints(earlier, cover) for earlier in people), pasted]
    return Picture(image, tuple(people), level)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
