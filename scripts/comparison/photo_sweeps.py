"""What makes photos hard, one thing at a time: the same photos with ever more of it, the rest as it was.

Each factor takes photos with their people and makes one picture per level. All but `resolution`
keep the scale of the people; where a picture gets smaller than its frame, or is turned, the rest is
a blurred copy of it, in which nobody can be found.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from comparison.datasets import Picture
from comparison.people import hide_joints, move_people, num_labelled, paste_person

Change = Callable[[Picture, float, np.random.Generator], Picture]


@dataclasses.dataclass(frozen=True)
class Factor:
    """One thing that makes images hard.

    Attributes:
        title: for people.
        unit: of the levels, with what they are.
        levels: from easy to hard.
    """

    title: str
    unit: str
    levels: tuple[float, ...]


FACTORS: Mapping[str, Factor] = {
    "resolution": Factor("Low resolution", "median height of a person, px", (200, 100, 64, 32, 16)),
    "distance": Factor(
        "Far away, the frame as it was", "median height of a person, px", (200, 100, 64, 32, 16)
    ),
    "blur": Factor("Motion blur", "length, px", (0, 8, 16, 32, 64)),
    "truncation": Factor("Cut off at the border", "share of the person", (0, 0.2, 0.4, 0.6)),
    "occlusion": Factor("Person in front of a person", "share of the width", (0, 0.25, 0.5, 0.75)),
    "rotation": Factor("Unusual poses: turned", "degrees", (0, 45, 90, 180)),
}


def sweep(
    factor: str, levels: Sequence[float], pictures: Sequence[Picture], *, seed: int = 0
) -> Iterator[Picture]:
    """The pictures of all levels; the same picture is treated alike at each.

    Args:
        factor: a key of `FACTORS`.
        levels: in the factor's unit.
        pictures: from `eligible`.
        seed: of directions and partners.
    """
    for number, level in enumerate(levels):
        for index, picture in enumerate(pictures):
            rng = np.random.default_rng((seed, index, 1))
            if factor == "occlusion":
                donor = pictures[
                    (index + 1 + int(rng.integers(max(len(pictures) - 1, 1)))) % len(pictures)
                ]
                changed = occlude(picture, donor, level)
            else:
                changed = CHANGES[factor](picture, level, rng)
            yield dataclasses.replace(changed, level=number)


def eligible(factor: str, people: Sequence[dict], levels: Sequence[float]) -> bool:
    """Whether a photo with these people can show all levels of a factor."""
    if not people or not any(num_labelled(entry) for entry in people):
        return False
    if factor in ("resolution", "distance"):
        return median_height(people) >= max(levels) and not any(
            entry.get("iscrowd") for entry in people
        )
    if factor in ("occlusion", "truncation"):
        best = max(people, key=num_labelled)
        return num_labelled(best) >= 12 and best["bbox"][3] >= 64
    return True


def median_height(people: Sequence[dict]) -> float:
    """Of the people who count, by their boxes, in pixels."""
    return float(np.median([entry["bbox"][3] for entry in people if num_labelled(entry)]))


def shrink(picture: Picture, level: float, rng: np.random.Generator) -> Picture:
    """Make the whole picture smaller, until the median person is `level` pixels high."""
    factor = min(level / median_height(picture.people), 1.0)
    height, width = picture.image.shape[:2]
    wh = max(round(width * factor), 1), max(round(height * factor), 1)
    scale = np.array(wh) / (width, height)
    matrix = np.column_stack([np.diag(scale), 0.5 * scale - 0.5])
    return Picture(
        cv2.resize(picture.image, wh, interpolation=cv2.INTER_AREA),
        move_people(picture.people, matrix, wh),
    )


def move_away(picture: Picture, level: float, rng: np.random.Generator) -> Picture:
    """Make the picture smaller within its frame, until the median person is `level` pixels high."""
    small = shrink(picture, level, rng)
    height, width = picture.image.shape[:2]
    high, wide = small.image.shape[:2]
    x, y = (width - wide) // 2, (height - high) // 2
    image = _backdrop(picture.image)
    image[y : y + high, x : x + wide] = small.image
    matrix = np.array([[1.0, 0, x], [0, 1, y]])
    return Picture(image, move_people(small.people, matrix, (width, height)))


def blur(picture: Picture, level: float, rng: np.random.Generator) -> Picture:
    """Blur along a straight line of `level` pixels, in any direction; nobody moves."""
    return dataclasses.replace(
        picture, image=motion_blur(picture.image, level, rng.uniform(0, np.pi))
    )


def motion_blur(
    image: UInt8[np.ndarray, "H W 3"], length: float, angle: float
) -> UInt8[np.ndarray, "H W 3"]:
    """Average along a line of a length in pixels at an angle in radians, centred on every pixel."""
    if length < 1:
        return image
    half = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    step = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    ends = np.round((half + np.stack([-step, step])) * 16).astype(int)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0, 1, cv2.LINE_AA, 4)
    kernel = kernel + kernel[::-1, ::-1]  # rounding must not move the middle
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)


def truncate(picture: Picture, level: float, rng: np.random.Generator) -> Picture:
    """Cut the picture so that `level` of the best labelled person is beyond the border: its feet, or one side."""
    height, width = picture.image.shape[:2]
    x, y, wide, high = max(picture.people, key=num_labelled)["bbox"]
    if level <= 0:
        return picture
    side = ("bottom", "left", "right")[int(rng.integers(3))]
    x0, x1, y1 = 0, width, height
    if side == "bottom":
        y1 = int(np.clip(round(y + high * (1 - level)), 8, height))
    elif side == "left":
        x0 = int(np.clip(round(x + wide * level), 0, width - 8))
    else:
        x1 = int(np.clip(round(x + wide * (1 - level)), 8, width))
    image = np.ascontiguousarray(picture.image[:y1, x0:x1])
    matrix = np.array([[1.0, 0, -x0], [0, 1, 0]])
    return Picture(image, move_people(picture.people, matrix, (x1 - x0, y1)))


def occlude(picture: Picture, donor: Picture, level: float) -> Picture:
    """Paste the best labelled person of another picture, as high as this one's, in front of it.

    At level 0 the two stand side by side, at 0.75 three quarters of the width overlap; nothing else
    differs.
    """
    target, other = max(picture.people, key=num_labelled), max(donor.people, key=num_labelled)
    width = picture.image.shape[1]
    x, y, wide, high = target["bbox"]
    reach = (
        wide + other["bbox"][2] * high / max(other["bbox"][3], 1.0)
    ) / 2  # between middles of two that touch
    side = 1 if x + wide / 2 < width / 2 else -1
    middle = np.array([x + wide / 2 + side * reach * (1 - level), y + high / 2])
    image = picture.image.copy()
    pasted, cover = paste_person(image, donor.image, other, middle, high)
    return Picture(image, (*(hide_joints(entry, cover) for entry in picture.people), pasted))


def rotate(picture: Picture, level: float, rng: np.random.Generator) -> Picture:
    """Turn the picture about its middle by `level` degrees; the frame grows to hold it."""
    if level % 360 == 0:
        return picture
    height, width = picture.image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), level, 1.0)
    turned = np.abs(matrix[:, :2])
    wh = np.ceil(turned @ (width, height) - 1e-6).astype(int)
    matrix[:, 2] += (wh - (width, height)) / 2
    size = (int(wh[0]), int(wh[1]))
    image = _backdrop(cv2.resize(picture.image, size, interpolation=cv2.INTER_AREA))
    there = (
        cv2.warpAffine(
            np.full((height, width), 255, np.uint8), matrix, size, flags=cv2.INTER_NEAREST
        )
        > 0
    )
    image[there] = cv2.warpAffine(picture.image, matrix, size, borderMode=cv2.BORDER_REPLICATE)[
        there
    ]
    return Picture(image, move_people(picture.people, matrix, size))


CHANGES: Mapping[str, Change] = {
    "resolution": shrink, "distance": move_away, "blur": blur, "truncation": truncate, "rotation": rotate,
}  # fmt: skip


def _backdrop(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """The picture blurred until nobody can be seen in it."""
    height, width = image.shape[:2]
    tiny = cv2.resize(
        image, (max(width // 80, 2), max(height // 80, 2)), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(tiny, (width, height), interpolation=cv2.INTER_CUBIC)
