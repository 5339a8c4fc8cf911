"""Annotated people moved with their image, or cut out and pasted into another."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from bottomup.data.copy_paste import body_shape
from bottomup.data.scenes.background import draw_background
from bottomup.skeleton import COCO
from comparison.datasets import (
    Entry,
    LabelledImage,
    area_of,
    best_labelled,
    keypoints_of,
    person,
)

MARGIN = 0.1  # around the joints of a turned person, for the box; share of the person's extent
LIMB_MARGIN = 0.25, 3  # around the joints of a person to paste: share of the extent, pixels
BLUR = 0.7  # pixels, of the edge of a pasted person
CROWD_WH = (960, 720)  # of the images with a growing number of people
CROWD_HEIGHTS = (80.0, 140.0)  # of the people in them, pixels
CROWD_GRID = (12, 9)  # columns and rows of places for them, taken in random order


def move_people(
    people: Sequence[Entry], matrix: Float[np.ndarray, "2 3"], wh: tuple[int, int]
) -> tuple[Entry, ...]:
    """People after a similarity transform of their image.

    Joints outside of the new image lose their label, and boxes are cut at its border.

    Args:
        people: COCO annotations.
        matrix: from pixels of the old image to pixels of the new one.
        wh: width and height of the new image.
    """
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    moved = []
    for entry in people:
        keypoints = keypoints_of(entry)
        keypoints[:, :2] = _transform(keypoints[:, :2], matrix)
        inside = (keypoints[:, :2] >= -0.5).all(1) & (keypoints[:, :2] < np.array(wh) - 0.5).all(1)
        corners = _moved_corners(entry, keypoints, matrix)
        low, high = np.clip(corners.min(0), 0, wh), np.clip(corners.max(0), 0, wh)
        keypoints = keypoints * (inside & (keypoints[:, 2] > 0))[:, None]
        there = person(keypoints, [*low, *(high - low)], area_of(entry) * scale**2)
        moved.append(entry | there | {"iscrowd": entry.get("iscrowd", 0)})
    return tuple(moved)


def hide_joints(entry: Entry, cover: Bool[np.ndarray, "H W"]) -> Entry:
    """The person with the labelled joints under the cover marked as hidden."""
    keypoints = keypoints_of(entry)
    height, width = cover.shape
    x, y = np.clip(np.round(keypoints[:, :2]).astype(int), 0, (width - 1, height - 1)).T
    keypoints[:, 2] = np.where((keypoints[:, 2] > 0) & cover[y, x], 1, keypoints[:, 2])
    return entry | {"keypoints": [float(value) for value in keypoints.reshape(-1)]}


def paste_person(
    target: UInt8[np.ndarray, "H W 3"],
    source: UInt8[np.ndarray, "h w 3"],
    entry: Entry,
    centre: Float[np.ndarray, " 2"],
    height: float,
) -> tuple[Entry, Bool[np.ndarray, "H W"]]:
    """Paste a person into an image, in place. The outline is guessed from the joints.

    Args:
        target: the image that is changed.
        source: the image that shows the person.
        entry: the annotation of the person.
        centre: where the centre of the box goes.
        height: of the box, in pixels of the target.

    Returns:
        the new annotation, and which pixels of the target show the person.
    """
    box = np.array(entry["bbox"], float)
    factor = height / max(box[3], 1.0)
    matrix = np.column_stack([np.eye(2) * factor, centre - factor * (box[:2] + box[2:] / 2)])
    wh = (target.shape[1], target.shape[0])
    keypoints = keypoints_of(entry)
    keypoints[:, :2] = _transform(keypoints[:, :2], matrix)

    # only a window around the person is changed
    points = keypoints[keypoints[:, 2] > 0, :2]
    margin = LIMB_MARGIN[0] * np.ptp(points, axis=0).max() + LIMB_MARGIN[1]
    x0, y0 = np.clip(points.min(0) - margin, 0, wh).astype(int).tolist()
    x1, y1 = np.clip(points.max(0) + margin, 0, wh).astype(int).tolist()
    cover = np.zeros(target.shape[:2], bool)
    if x0 < x1 and y0 < y1:
        window = target[y0:y1, x0:x1]
        shape = body_shape(keypoints - (x0, y0, 0), COCO.edges, window.shape[:2])
        opacity = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), BLUR)[..., None]
        local = np.column_stack([matrix[:, :2], matrix[:, 2] - (x0, y0)])
        pasted = cv2.warpAffine(source, local, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
        window[:] = cv2.convertScaleAbs(window + opacity * (pasted.astype(np.float32) - window))
        cover[y0:y1, x0:x1] = shape
    return move_people([entry], matrix, wh)[0], cover


def growing_crowds(
    donors: Sequence[LabelledImage], counts: Sequence[int], repeats: int, *, seed: int = 0
) -> Iterator[LabelledImage]:
    """People cut out of photos over one background, ever more of them.

    An image with more people also shows those of the images of the same crowd with fewer.

    Args:
        donors: images with at least one labelled person each.
        counts: numbers of people; the level of an image is its index in this list.
        repeats: how many crowds; all have the same background.
        seed: of the background, and of who stands where.
    """
    background = draw_background(np.random.default_rng((seed, 1)), *CROWD_WH)
    for repeat in range(repeats):
        rng = np.random.default_rng((seed, repeat, 2))
        places = _places(max(counts), rng)
        chosen = rng.integers(len(donors), size=max(counts))
        heights = rng.uniform(*CROWD_HEIGHTS, max(counts))
        for level, count in enumerate(counts):
            yield _crowd(background, donors, places[:count], chosen[:count], heights[:count], level)


def _places(count: int, rng: np.random.Generator) -> Float[np.ndarray, "N 2"]:
    """Centres of people: cells of a grid in random order, and anywhere once all are taken."""
    columns, rows = CROWD_GRID
    cells = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2) + 0.5
    cells = rng.permutation(cells) + rng.uniform(-0.3, 0.3, cells.shape)
    places = cells / CROWD_GRID
    while len(places) < count:
        places = np.concatenate([places, rng.uniform(0.05, 0.95, (1, 2))])
    border = np.array(CROWD_HEIGHTS)
    return places[:count] * (np.array(CROWD_WH) - border) + border / 2


def _crowd(
    background: UInt8[np.ndarray, "H W 3"],
    donors: Sequence[LabelledImage],
    places: Float[np.ndarray, "N 2"],
    chosen: Int[np.ndarray, " N"],
    heights: Float[np.ndarray, " N"],
    level: int,
) -> LabelledImage:
    pixels = background.copy()
    people: list[Entry] = []
    feet = places[:, 1] + heights / 2
    for i in np.argsort(feet, kind="stable").tolist():  # who stands lower is nearer
        donor = donors[int(chosen[i])]
        entry = best_labelled(donor.people)
        pasted, cover = paste_person(pixels, donor.pixels, entry, places[i], float(heights[i]))
        people = [*(hide_joints(earlier, cover) for earlier in people), pasted]
    return LabelledImage(pixels, tuple(people), level)


def _moved_corners(
    entry: Entry, keypoints: Float[np.ndarray, "17 3"], matrix: Float[np.ndarray, "2 3"]
) -> Float[np.ndarray, "C 2"]:
    """Points whose bounding box is the box of the moved person, given the moved joints."""
    labelled = keypoints[keypoints[:, 2] > 0, :2]
    if abs(matrix[0, 1]) > 1e-9 and len(labelled):  # the box around a turned box would be too large
        margin = MARGIN * np.ptp(labelled, axis=0).max()
        return np.concatenate([labelled - margin, labelled + margin])
    x, y, width, height = entry["bbox"]
    corners = [[x, y], [x + width, y], [x, y + height], [x + width, y + height]]
    return _transform(np.array(corners, float), matrix)


def _transform(
    points: Float[np.ndarray, "P 2"], matrix: Float[np.ndarray, "2 3"]
) -> Float[np.ndarray, "P 2"]:
    return points @ matrix[:, :2].T + matrix[:, 2]
