"""What makes images hard, one factor at a time: the same images with ever more of it.

A sweep of photos changes the user's photos. All factors but `resolution` keep the scale of the
people. Where a photo gets smaller than its frame, or is turned, a blurred copy of it fills the
rest, in which nobody can be found.

A sweep of drawings draws people with exact labels. It is for methods that were trained on drawn
people too; others have never seen any.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from bottomup.coordinates import map_points
from bottomup.data.drawings import DrawnEvaluation
from bottomup.data.scenes.crowd import Crowd
from comparison.datasets import Entry, LabelledImage, best_labelled, num_labelled
from comparison.pasting import hide_joints, move_people, paste_person

MIN_JOINTS, MIN_HEIGHT = 12, 64  # labelled joints and pixels of a person to cut off or cover


@dataclasses.dataclass(frozen=True)
class Factor:
    """One thing that makes images hard.

    Attributes:
        title: for readers.
        unit: of the levels, with what they are.
        levels: from easy to hard.
    """

    title: str
    unit: str
    levels: tuple[float, ...]


HEIGHTS = (200, 100, 64, 32, 16)
PHOTO_FACTORS: Mapping[str, Factor] = {
    "resolution": Factor("Low resolution", "median height of a person, px", HEIGHTS),
    "distance": Factor("Far away, the frame as it was", "median height of a person, px", HEIGHTS),
    "blur": Factor("Motion blur", "length, px", (0, 8, 16, 32, 64)),
    "truncation": Factor("Cut off at the border", "share of the person", (0, 0.2, 0.4, 0.6)),
    "occlusion": Factor("Person in front of a person", "share of the width", (0, 0.25, 0.5, 0.75)),
    "rotation": Factor("Unusual poses: turned", "degrees", (0, 45, 90, 180)),
}
SHARES = (0, 0.25, 0.5, 0.75, 1)
DRAWN_FACTORS: Mapping[str, Factor] = {
    "occlusion": Factor("People in front of people", "share of people on another", SHARES),
    "poses": Factor("Unusual poses", "spread of poses, 1 as in photos", (0.5, 1, 1.5, 2, 2.5)),
    "resolution": Factor("Low resolution", "height or width of a person, px", HEIGHTS),
    "blur": Factor("Motion blur", "length, px", (0, 8, 16, 32)),
    "truncation": Factor("Cut off at the border", "share of people", SHARES),
}
BASE = Crowd(
    512, 512, people=(4, 4), sizes=(120.0, 120.0), overlap=0.0, truncation=0.0, blur=0.0,
    occluders=0, pose_spread=1.0,
)  # fmt: skip
"""The drawn crowd from which each level differs in one thing."""


def sweep_photos(
    factor: str, levels: Sequence[float], photos: Sequence[LabelledImage], *, seed: int = 0
) -> Iterator[LabelledImage]:
    """The images of all levels; the same photo is treated alike at each level.

    Args:
        factor: a key of `PHOTO_FACTORS`.
        levels: in the unit of the factor.
        photos: those that are `eligible`.
        seed: of directions and partners.
    """
    for number, level in enumerate(levels):
        for index, photo in enumerate(photos):
            rng = np.random.default_rng((seed, index, 1))
            if factor == "occlusion":
                step = 1 + int(rng.integers(max(len(photos) - 1, 1)))
                changed = occlude(photo, photos[(index + step) % len(photos)], level)
            else:
                changed = CHANGES[factor](photo, level, rng)
            yield dataclasses.replace(changed, level=number)


def sweep_drawings(
    factor: str, levels: Sequence[float], num_images: int, *, seed: int = 0
) -> Iterator[LabelledImage]:
    """`num_images` drawings of each level, from the same seeds.

    Args:
        factor: a key of `DRAWN_FACTORS`.
        levels: in the unit of the factor.
        num_images: of each level.
        seed: of the drawing.
    """
    for number, level in enumerate(levels):
        drawn = DrawnEvaluation(crowd_at(factor, level), num_images, seed)
        for index in range(num_images):
            people = drawn.ground_truth({index + 1})["annotations"]
            pixels = drawn[index].image
            if factor == "blur":
                angle = np.random.default_rng((seed, index, 1)).uniform(0, np.pi)
                pixels = motion_blur(pixels, level, angle)
            yield LabelledImage(pixels, tuple(people), number)


def crowd_at(factor: str, level: float) -> Crowd:
    """The crowd of one level: `BASE` with one factor changed. Blur comes after drawing."""
    changes = {
        "occlusion": {"overlap": float(level)},
        "poses": {"pose_spread": float(level)},
        "resolution": {"sizes": (float(level), float(level))},
        "truncation": {"truncation": float(level)},
    }
    return dataclasses.replace(BASE, **changes.get(factor, {}))


def eligible(factor: str, people: Sequence[Entry], levels: Sequence[float]) -> bool:
    """Whether a photo with these people can show all levels of a factor."""
    if not any(num_labelled(entry) for entry in people):
        return False
    if factor in ("resolution", "distance"):
        has_crowd = any(entry.get("iscrowd") for entry in people)
        return median_height(people) >= max(levels) and not has_crowd
    if factor in ("occlusion", "truncation"):
        best = best_labelled(people)
        return num_labelled(best) >= MIN_JOINTS and best["bbox"][3] >= MIN_HEIGHT
    return True


def median_height(people: Sequence[Entry]) -> float:
    """Median height of the boxes of the people who count, in pixels."""
    return float(np.median([entry["bbox"][3] for entry in people if num_labelled(entry)]))


def shrink(photo: LabelledImage, level: float, rng: np.random.Generator) -> LabelledImage:
    """Make the whole photo smaller, until the median person is `level` pixels high."""
    factor = min(level / median_height(photo.people), 1.0)
    width, height = photo.wh
    wh = max(round(width * factor), 1), max(round(height * factor), 1)
    offset = map_points(np.zeros(2), photo.wh, wh)
    matrix = np.column_stack([np.diag(np.array(wh) / photo.wh), offset])
    pixels = cv2.resize(photo.pixels, wh, interpolation=cv2.INTER_AREA)
    return LabelledImage(pixels, move_people(photo.people, matrix, wh))


def move_away(photo: LabelledImage, level: float, rng: np.random.Generator) -> LabelledImage:
    """Make the photo smaller within its frame, until the median person is `level` pixels high."""
    small = shrink(photo, level, rng)
    (width, height), (wide, high) = photo.wh, small.wh
    x, y = (width - wide) // 2, (height - high) // 2
    pixels = _backdrop(photo.pixels)
    pixels[y : y + high, x : x + wide] = small.pixels
    matrix = np.array([[1.0, 0, x], [0, 1, y]])
    return LabelledImage(pixels, move_people(small.people, matrix, photo.wh))


def blur(photo: LabelledImage, level: float, rng: np.random.Generator) -> LabelledImage:
    """Blur along a straight line of `level` pixels in a random direction; nobody moves."""
    pixels = motion_blur(photo.pixels, level, rng.uniform(0, np.pi))
    return dataclasses.replace(photo, pixels=pixels)


def motion_blur(
    pixels: UInt8[np.ndarray, "H W 3"], length: float, angle: float
) -> UInt8[np.ndarray, "H W 3"]:
    """Average along a line centred on every pixel, `length` in pixels, `angle` in radians."""
    if length < 1:
        return pixels
    half = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    step = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    ends = np.round((half + np.stack([-step, step])) * 16).astype(int)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0, 1, cv2.LINE_AA, 4)
    kernel = kernel + kernel[::-1, ::-1]  # symmetric, so that rounding does not move the image
    return cv2.filter2D(pixels, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)


def truncate(photo: LabelledImage, level: float, rng: np.random.Generator) -> LabelledImage:
    """Cut the photo so that a share `level` of the best labelled person is outside.

    The cut takes the feet, or the left or right side.
    """
    width, height = photo.wh
    x, y, wide, high = best_labelled(photo.people)["bbox"]
    if level <= 0:
        return photo
    side = ("bottom", "left", "right")[int(rng.integers(3))]
    x0, x1, y1 = 0, width, height
    if side == "bottom":
        y1 = int(np.clip(round(y + high * (1 - level)), 8, height))
    elif side == "left":
        x0 = int(np.clip(round(x + wide * level), 0, width - 8))
    else:
        x1 = int(np.clip(round(x + wide * (1 - level)), 8, width))
    pixels = np.ascontiguousarray(photo.pixels[:y1, x0:x1])
    matrix = np.array([[1.0, 0, -x0], [0, 1, 0]])
    return LabelledImage(pixels, move_people(photo.people, matrix, (x1 - x0, y1)))


def occlude(photo: LabelledImage, donor: LabelledImage, level: float) -> LabelledImage:
    """Paste the best labelled person of another photo in front of this one's, equally high.

    At level 0 the two stand side by side, at 0.75 three quarters of the width overlap; nothing else
    differs.
    """
    target, other = best_labelled(photo.people), best_labelled(donor.people)
    x, y, wide, high = target["bbox"]
    other_wide = other["bbox"][2] * high / max(other["bbox"][3], 1.0)
    reach = (wide + other_wide) / 2  # between the centres of two boxes that touch
    side = 1 if x + wide / 2 < photo.wh[0] / 2 else -1
    centre = np.array([x + wide / 2 + side * reach * (1 - level), y + high / 2])
    pixels = photo.pixels.copy()
    pasted, cover = paste_person(pixels, donor.pixels, other, centre, high)
    return LabelledImage(pixels, (*(hide_joints(entry, cover) for entry in photo.people), pasted))


def rotate(photo: LabelledImage, level: float, rng: np.random.Generator) -> LabelledImage:
    """Turn the photo about its centre by `level` degrees; the frame grows to hold it."""
    if level % 360 == 0:
        return photo
    width, height = photo.wh
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), level, 1.0)
    extent = np.ceil(np.abs(matrix[:, :2]) @ (width, height) - 1e-6).astype(int)
    matrix[:, 2] += (extent - (width, height)) / 2
    wh = (int(extent[0]), int(extent[1]))
    pixels = _backdrop(cv2.resize(photo.pixels, wh, interpolation=cv2.INTER_AREA))
    whole = np.full((height, width), 255, np.uint8)
    inside = cv2.warpAffine(whole, matrix, wh, flags=cv2.INTER_NEAREST) > 0
    turned = cv2.warpAffine(photo.pixels, matrix, wh, borderMode=cv2.BORDER_REPLICATE)
    pixels[inside] = turned[inside]
    return LabelledImage(pixels, move_people(photo.people, matrix, wh))


CHANGES: Mapping[str, Callable[[LabelledImage, float, np.random.Generator], LabelledImage]] = {
    "resolution": shrink,
    "distance": move_away,
    "blur": blur,
    "truncation": truncate,
    "rotation": rotate,
}


def _backdrop(pixels: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """The image blurred until nobody can be seen in it."""
    height, width = pixels.shape[:2]
    tiny_wh = max(width // 80, 2), max(height // 80, 2)
    tiny = cv2.resize(pixels, tiny_wh, interpolation=cv2.INTER_AREA)
    return cv2.resize(tiny, (width, height), interpolation=cv2.INTER_CUBIC)
