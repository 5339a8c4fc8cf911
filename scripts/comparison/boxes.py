"""What a person detector may do wrong, done to true boxes: people dropped, boxes shifted, two people in one box."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from comparison.datasets import keypoints_of

KINDS: Mapping[str, tuple[str, str]] = {  # what is done; of what the levels are the share
    "dropped": ("People dropped", "share of people"),
    "shifted": ("Boxes shifted", "share of the box's size"),
    "merged": ("Boxes merged with the nearest", "share of people"),
}
LEVELS = (0.1, 0.25, 0.5)


def spoiled_boxes(
    truth: Mapping[str, Any], kind: str, level: float, *, seed: int = 0
) -> list[dict[str, Any]]:
    """True boxes with errors, as COCO detection results: image_id, category_id, bbox, score.

    The larger level of a kind spoils what the smaller one does, and more.

    Args:
        truth: COCO annotations.
        kind: a key of `KINDS`.
        level: how much; 0 leaves all boxes as they are.
        seed: of who is hit and where to.
    """
    boxes: dict[int, list[Any]] = {info["id"]: [] for info in truth["images"]}
    for entry in truth["annotations"]:
        if not entry.get("iscrowd") and keypoints_of(entry)[:, 2].any() and entry.get("bbox"):
            boxes[entry["image_id"]].append(entry["bbox"])
    found = []
    for image_id, entries in sorted(boxes.items()):
        rng = np.random.default_rng((seed, image_id, 1))
        for box in _spoil(np.array(entries, float).reshape(-1, 4), kind, level, rng):
            rounded = [round(float(value), 3) for value in box]
            found.append({"image_id": image_id, "category_id": 1, "bbox": rounded, "score": 1.0})
    return found


def _spoil(
    boxes: Float[np.ndarray, "N 4"], kind: str, level: float, rng: np.random.Generator
) -> Float[np.ndarray, "M 4"]:
    luck, angles = rng.random(len(boxes)), rng.uniform(0, 2 * np.pi, len(boxes))
    if kind == "dropped":
        return boxes[luck >= level]
    if kind == "shifted":
        direction = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return np.concatenate(
            [boxes[:, :2] + level * direction * boxes[:, 2:], boxes[:, 2:]], axis=1
        )
    assert kind == "merged", kind
    return _merge(boxes, np.flatnonzero(luck < level))


def _merge(
    boxes: Float[np.ndarray, "N 4"], hit: Sequence[int] | np.ndarray
) -> Float[np.ndarray, "M 4"]:
    """Each person who is hit shares a box with the nearest one; a person is in one box only."""
    middles = boxes[:, :2] + boxes[:, 2:] / 2
    free = np.ones(len(boxes), bool)
    merged: list[np.ndarray] = []
    for i in hit:
        distances = np.where(free, np.hypot(*(middles - middles[i]).T), np.inf)
        distances[i] = np.inf
        j = int(distances.argmin())
        if free[i] and np.isfinite(distances[j]):
            low = np.minimum(boxes[i, :2], boxes[j, :2])
            high = np.maximum(boxes[i, :2] + boxes[i, 2:], boxes[j, :2] + boxes[j, 2:])
            merged.append(np.concatenate([low, high - low]))
            free[[i, j]] = False
    return np.concatenate([boxes[free], np.array(merged, float).reshape(-1, 4)])
