"""What makes crowds hard, one thing at a time, in drawn people: exact labels, and every factor a knob.

Only for methods that were trained on drawn people too; others have never seen any.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bottomup.data.drawings import DrawnEvaluation
from bottomup.data.scenes.crowd import Crowd
from comparison.datasets import Picture
from comparison.photo_sweeps import Factor, motion_blur

BASE = Crowd(
    512,
    512,
    people=(4, 4),
    sizes=(120.0, 120.0),
    overlap=0.0,
    truncation=0.0,
    blur=0.0,
    occluders=0,
    pose_spread=1.0,
)
FACTORS: Mapping[str, Factor] = {
    "occlusion": Factor(
        "People in front of people", "share of people on another", (0, 0.25, 0.5, 0.75, 1)
    ),
    "poses": Factor("Unusual poses", "spread of poses, 1 as in photos", (0.5, 1, 1.5, 2, 2.5)),
    "resolution": Factor(
        "Low resolution", "height or width of a person, px", (200, 100, 64, 32, 16)
    ),
    "blur": Factor("Motion blur", "length, px", (0, 8, 16, 32)),
    "truncation": Factor("Cut off at the border", "share of people", (0, 0.25, 0.5, 0.75, 1)),
}


def crowd_at(factor: str, level: float) -> Crowd:
    """The crowd of one level: `BASE` but for one factor. Blur comes afterwards."""
    changes = {
        "occlusion": {"overlap": float(level)},
        "poses": {"pose_spread": float(level)},
        "resolution": {"sizes": (float(level), float(level))},
        "truncation": {"truncation": float(level)},
    }
    return dataclasses.replace(BASE, **changes.get(factor, {}))


def sweep(
    factor: str, levels: Sequence[float], num_images: int, *, seed: int = 0
) -> Iterator[Picture]:
    """`num_images` pictures of each level, drawn from the same seeds."""
    for number, level in enumerate(levels):
        drawn = DrawnEvaluation(crowd_at(factor, level), num_images, seed)
        for index in range(num_images):
            people = drawn.ground_truth({index + 1})["annotations"]
            image = drawn[index].image
            if factor == "blur":
                image = motion_blur(
                    image, level, np.random.default_rng((seed, index, 1)).uniform(0, np.pi)
                )
            yield Picture(image, tuple(people), number)
