"""How well people are found: figures with intervals, differences between methods, bins of images.

All intervals are percentile intervals over the same bootstrap samples of images, so that two
methods can be compared pair by pair.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from bottomup.evaluation.bootstrap import draw_images, percentile_interval
from bottomup.evaluation.keypoints import (
    CROWD_LEVELS,
    MAX_PEOPLE,
    Matches,
    RangeMatches,
    match_results,
    precision_recall,
    summarise,
)
from comparison.datasets import Entry, by_image, keypoints_of, num_labelled

PEOPLE = {"1": (1, 1), "2-4": (2, 4), "5-9": (5, 9), "10-19": (10, 19), "20+": (20, 10**9)}
"""Numbers of people in an image, by the names of the bins."""
SIZES = {"< 32": (0, 32), "32-64": (32, 64), "64-96": (64, 96), "96-160": (96, 160)}
SIZES |= {">= 160": (160, 10**5)}
"""Square roots of the areas of people in pixels, by the names of the bins."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """A figure, and how far it would move on other images of the same kind (95 %)."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Bin:
    """Average precision on some of the images or people.

    Attributes:
        name: what they have in common.
        images: how many images have such people.
        people: how many of them there are.
        ap: average precision.
        standard: whether at most `MAX_PEOPLE` results per image count, as in COCO.
    """

    name: str
    images: int
    people: int
    ap: Interval
    standard: bool = True


def figure_samples(matches: Matches, *, num_samples: int, seed: int = 0) -> list[dict[str, float]]:
    """The figures on all images, then on each bootstrap sample."""
    draws = draw_images(len(matches.image_ids), num_samples, seed=seed)
    return [summarise(matches), *(summarise(matches, weights) for weights in draws)]


def intervals(samples: Sequence[Mapping[str, float]]) -> dict[str, Interval]:
    """Every figure of `figure_samples` with its interval."""
    names = samples[0].keys()
    return {name: _interval(np.array([sample[name] for sample in samples])) for name in names}


def differences(
    samples: Sequence[Mapping[str, float]], reference: Sequence[Mapping[str, float]]
) -> dict[str, Interval]:
    """Every figure minus that of another method, sample by sample, on the same images."""
    pairs = zip(samples, reference, strict=True)
    return intervals([{name: ours[name] - theirs[name] for name in ours} for ours, theirs in pairs])


def average_precision(matches: RangeMatches, *, num_samples: int, seed: int = 0) -> Interval:
    """AP alone, with its interval."""
    num_images = len(matches.num_people)
    draws = draw_images(num_images, num_samples, seed=seed) if num_images else []
    weights = [np.ones(num_images), *draws]
    return _interval(np.array([precision_recall(matches, row)[0].mean() for row in weights]))


def keep(matches: RangeMatches, inside: Bool[np.ndarray, " I"]) -> RangeMatches:
    """The part about some of the images."""
    chosen = inside[matches.images]
    places = (np.cumsum(inside) - 1)[matches.images[chosen]]
    return RangeMatches(
        places, matches.right[:, chosen], matches.wrong[:, chosen], matches.num_people[inside]
    )


def by_people(
    entries: Sequence[Any],
    truth: dict[str, Any],
    matches: Matches,
    *,
    num_samples: int,
    seed: int = 0,
) -> list[Bin]:
    """AP by the number of people in an image who count.

    In the last bin as many results of an image count as there are people in the fullest image.
    """
    counts = matches.ranges["all"].num_people
    bins = []
    for name, (low, high) in PEOPLE.items():
        inside = (low <= counts) & (counts <= high)
        chosen, is_standard = matches, high <= MAX_PEOPLE
        if inside.any() and not is_standard:
            chosen = match_results(list(entries), truth, max_people=int(counts.max()))
        part = keep(chosen.ranges["all"], inside)
        bins.append(_bin(name, part, num_samples, seed, is_standard=is_standard))
    return bins


def by_crowding(
    matches: Matches, truth: dict[str, Any], *, num_samples: int, seed: int = 0
) -> list[Bin]:
    """AP on images that are easy, medium and hard by their crowd index."""
    index = crowd_indices(truth)
    values = np.array([index.get(i, np.nan) for i in matches.image_ids.tolist()])
    bins = []
    for level, (low, high) in CROWD_LEVELS.items():
        part = keep(matches.ranges["all"], (low <= values) & (values < high))
        bins.append(_bin(level, part, num_samples, seed))
    return bins


def by_size(
    entries: Sequence[Any], truth: dict[str, Any], *, num_samples: int, seed: int = 0
) -> list[Bin]:
    """AP by the size of a person, the square root of the area.

    Results on people of other sizes do not count.
    """
    areas = {name: (float(low) ** 2, float(high) ** 2) for name, (low, high) in SIZES.items()}
    matches = match_results(list(entries), truth, areas=areas)
    return [_bin(name, matches.ranges[name], num_samples, seed) for name in SIZES]


def crowd_indices(truth: dict[str, Any]) -> dict[int, float]:
    """The crowd index of every image with people.

    Of a person: the labelled joints of all others within the person's box, divided by the person's
    own within it. Of an image: the mean over its people. 0 where nobody is close to another; it may
    exceed 1.

    Source: section 4.1 of Li et al., CrowdPose, CVPR 2019.
    """
    indices = {}
    for image_id, entries in by_image(truth).items():
        people = [entry for entry in entries if num_labelled(entry) and entry.get("bbox")]
        if people:
            indices[image_id] = _crowd_index(people)
    return indices


def _crowd_index(people: Sequence[Entry]) -> float:
    keypoints = np.stack([keypoints_of(entry) for entry in people])  # N 17 3
    boxes = np.array([entry["bbox"] for entry in people], float)
    low, high = boxes[:, None, None, :2], (boxes[:, :2] + boxes[:, 2:])[:, None, None]
    points, labelled = keypoints[None, ..., :2], keypoints[None, ..., 2] > 0
    inside = ((low <= points) & (points <= high)).all(-1) & labelled  # N boxes, N people, 17
    counts = inside.sum(-1)
    own = np.diag(counts)
    ratios = (counts.sum(1) - own)[own > 0] / own[own > 0]
    return float(ratios.mean()) if len(ratios) else 0.0


def _bin(
    name: str, matches: RangeMatches, num_samples: int, seed: int, *, is_standard: bool = True
) -> Bin:
    num_images, num_people = int((matches.num_people > 0).sum()), int(matches.num_people.sum())
    ap = average_precision(matches, num_samples=num_samples, seed=seed)
    return Bin(name, num_images, num_people, ap, is_standard)


def _interval(values: Float[np.ndarray, " S"]) -> Interval:
    return Interval(float(values[0]), *percentile_interval(values[1:]))
