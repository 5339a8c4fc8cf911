"""Boxes of people: read from annotations or COCO results, and suppressed where they overlap.

A box is left, top, right, bottom in pixels of the image.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from contract import read_json

PERSON = 1  # COCO's category


def truth(annotations: Mapping[str, Any]) -> dict[int, np.ndarray]:
    """Boxes of people with labelled joints, without crowd regions.

    Returns:
        by image id, (N, 5) boxes and a score of 1.

    Raises:
        ValueError: an annotation is not like COCO's.
    """
    people = [
        {**person, "score": 1.0}
        for person in annotations.get("annotations", ())
        if person.get("num_keypoints", 1) and not person.get("iscrowd", 0)
    ]
    return _by_image(people, "the annotations")


def from_results(path: Path) -> dict[int, np.ndarray]:
    """Boxes of a COCO detection results file.

    Returns:
        by image id, (N, 5) boxes and scores.

    Raises:
        ValueError: the file cannot be read, or is of another kind.
    """
    results = read_json(path)
    if not isinstance(results, list):
        raise ValueError(
            f"{path}: not a list of COCO results, each with image_id, category_id, bbox and score"
        )
    return _by_image(results, str(path))


def _by_image(entries: list[Any], what: str) -> dict[int, np.ndarray]:
    found: dict[int, list[list[float]]] = {}
    for entry in entries:
        try:
            x, y, width, height = map(float, entry["bbox"])
            row = [x, y, x + width, y + height, float(entry["score"])]
            if not np.isfinite(row).all():
                raise ValueError("a number is not finite")
            if entry.get("category_id", PERSON) == PERSON:
                found.setdefault(int(entry["image_id"]), []).append(row)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            message = f"{what}: a box that cannot be read ({reason}): {entry!r:.80}"
            raise ValueError(message) from error
    return {image_id: np.array(rows) for image_id, rows in found.items()}


def suppress(boxes: np.ndarray, scores: np.ndarray, *, overlap: float) -> np.ndarray:
    """Indices of the boxes that no better one overlaps, best first.

    Args:
        boxes: (N, 4).
        scores: (N,).
        overlap: intersection over union above which two boxes are of one person.
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    while order.size:
        first, order = order[0], order[1:]
        kept.append(first)
        order = order[intersection_over_union(boxes[first], boxes[order]) <= overlap]
    return np.array(kept, int)


def intersection_over_union(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) of a box with (N, 4) others."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = sides.clip(0).prod(1)
    areas = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1)
    return common / np.maximum(areas - common, 1e-9)
