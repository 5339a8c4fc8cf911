"""The images on which methods differ most, with the people that each method found."""

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from bottomup.coordinates import map_points
from bottomup.images.drawing import draw
from bottomup.poses import Poses
from comparison.datasets import Dataset, Entry, by_image, num_labelled, read_image
from comparison.errors import oks, pair, scenes

SIDE = 300  # pixels, of the longer side of a small image
JPEG_QUALITY = 80


@dataclasses.dataclass(frozen=True)
class SmallImage:
    """One image as a method sees it.

    Attributes:
        caption: whose people are drawn.
        address: a data address of a JPEG.
    """

    caption: str
    address: str


@dataclasses.dataclass(frozen=True)
class SideBySide:
    """One image as labelled, then as each method sees it."""

    name: str
    images: tuple[SmallImage, ...]


def side_by_side(
    dataset: Dataset,
    entries: Mapping[str, Sequence[Entry]],
    thresholds: Mapping[str, float],
    count: int,
) -> list[SideBySide]:
    """The images on which methods differ most.

    Args:
        dataset: the images.
        entries: COCO results by method.
        thresholds: the score from which on results count, by method.
        count: at most as many images.
    """
    truth = dataset.load()
    scores = {name: image_scores(of, truth, thresholds[name]) for name, of in entries.items()}
    infos = {info["id"]: info for info in truth["images"]}
    people = by_image(truth)
    found = []
    for image_id in most_different(scores, count):
        pixels = read_image(dataset.images, infos[image_id], ()).pixels
        labelled = [entry for entry in people[image_id] if num_labelled(entry)]
        images = [SmallImage("labelled", small_image(pixels, labelled, 0.0))]
        for name, of in entries.items():
            own = [entry for entry in of if entry["image_id"] == image_id]
            caption = f"{name} ({scores[name][image_id]:.2f})"
            images.append(SmallImage(caption, small_image(pixels, own, max(thresholds[name], 0.0))))
        found.append(SideBySide(infos[image_id]["file_name"], tuple(images)))
    return found


def image_scores(
    entries: Sequence[Any], truth: dict[str, Any], threshold: float
) -> dict[int, float]:
    """How well a method does on each image with people, from 0 to 1.

    The score is F1 with OKS in place of right and wrong.

    Args:
        entries: COCO results.
        truth: COCO annotations.
        threshold: the score from which on results count.
    """
    scores = {}
    for image_id, whole in scenes(entries, truth):
        scene = whole.from_score(threshold)
        if not len(scene.people):
            continue
        paired = pair(scene)
        found, own = scene.results[paired >= 0, :, :2], paired[paired >= 0]
        similarity = oks(found, scene.people[own], scene.areas[own])
        num_all = len(scene.results) + len(scene.people)
        scores[image_id] = float(2 * similarity.sum() / num_all)
    return scores


def most_different(scores: Mapping[str, Mapping[int, float]], count: int) -> list[int]:
    """The ids of the images whose best and worst scores differ most, largest difference first."""
    if len(scores) < 2:
        return []
    spread = {}
    for image_id in sorted(set.intersection(*(set(of) for of in scores.values()))):
        values = [of[image_id] for of in scores.values()]
        spread[image_id] = max(values) - min(values)
    order = sorted(spread, key=lambda image_id: -spread[image_id])
    return [image_id for image_id in order if spread[image_id] > 0][:count]


def small_image(
    pixels: UInt8[np.ndarray, "H W 3"], people: Sequence[Entry], threshold: float
) -> str:
    """A data address of a small JPEG with the people who score at least `threshold`."""
    height, width = pixels.shape[:2]
    scale = min(SIDE / max(height, width), 1.0)
    wh = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(pixels, wh, interpolation=cv2.INTER_AREA)
    poses = Poses.from_coco(people)
    keypoints = map_points(poses.keypoints, (width, height), wh)
    poses = dataclasses.replace(poses, keypoints=keypoints)
    drawn = draw(small, poses, score_threshold=threshold, keypoint_threshold=0.0)
    bgr = np.ascontiguousarray(drawn[..., ::-1])
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
