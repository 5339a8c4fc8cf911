"""Errors of a person detector, made in true boxes: people missed, boxes shifted, boxes merged."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from comparison.datasets import by_image, num_labelled

KINDS: Mapping[str, tuple[str, str]] = {  # the error; what its level is a share of
    "dropped": ("People dropped", "share of people"),
    "shifted": ("Boxes shifted", "share of the box's size"),
    "merged": ("Boxes merged with the nearest", "share of people"),
}
LEVELS = (0.1, 0.25, 0.5)


def spoiled_boxes(
    truth: Mapping[str, Any], kind: str, level: float, *, seed: int = 0
) -> list[dict[str, Any]]:
    """True boxes with errors, as COCO detection results: image_id, category_id, bbox, score.

    A larger level spoils the same boxes as a smaller one of the same kind, and more.

    Args:
        truth: COCO annotations.
        kind: a key of `KINDS`.
        level: from 0, which leaves all boxes as they are.
        seed: of whose boxes are spoiled, and in which direction.
    """
    found = []
    for image_id, entries in sorted(by_image(truth).items()):
        true = [entry["bbox"] for entry in entries if num_labelled(entry) and entry.get("bbox")]
        rng = np.random.default_rng((seed, image_id, 1))
        for box in _spoil(np.array(true, float).reshape(-1, 4), kind, level, rng):
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
        corners = boxes[:, :2] + level * direction * boxes[:, 2:]
        return np.concatenate([corners, boxes[:, 2:]], axis=1)
    assert kind == "merged", kind
    return _merge(boxes, np.flatnonzero(luck < level))


def _merge(
    boxes: Float[np.ndarray, "N 4"], chosen: Int[np.ndarray, " C"]
) -> Float[np.ndarray, "M 4"]:
    """Each chosen box becomes one with the nearest that is not merged yet."""
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    single = np.ones(len(boxes), bool)
    merged: list[np.ndarray] = []
    for i in chosen:
        distances = np.where(single, np.hypot(*(centres - centres[i]).T), np.inf)
        distances[i] = np.inf
        j = int(distances.argmin())
        if single[i] and np.isfinite(distances[j]):
            low = np.minimum(boxes[i, :2], boxes[j, :2])
            high = np.maximum(boxes[i, :2] + boxes[i, 2:], boxes[j, :2] + boxes[j, 2:])
            merged.append(np.concatenate([low, high - low]))
            single[[i, j]] = False
    return np.concatenate([boxes[single], np.array(merged, float).reshape(-1, 4)])
