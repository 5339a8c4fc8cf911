"""Side by side, the images on which methods differ most."""

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from bottomup.images.drawing import draw
from bottomup.poses import Poses
from comparison.errors import pair, scenes, similarities

SIDE = 300  # pixels, of the longer side of a small picture
JPEG_QUALITY = 80


def image_scores(
    entries: Sequence[Any], truth: dict[str, Any], threshold: float
) -> dict[int, float]:
    """How well a method does on each image with people: F1 with OKS in place of right and wrong, from 0 to 1.

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
        found = paired >= 0
        own = scene.people[paired[found]]
        near = similarities(scene.results[found][..., :2], own, scene.areas[paired[found]])
        oks = near.sum(-1) / (own[..., 2] > 0).sum(-1)
        scores[image_id] = float(2 * oks.sum() / (len(scene.results) + len(scene.people)))
    return scores


def most_different(scores: Mapping[str, Mapping[int, float]], count: int) -> list[int]:
    """The ids of the images whose scores differ most between the best and the worst method, largest first."""
    ids = sorted(set.intersection(*(set(of) for of in scores.values()))) if len(scores) > 1 else []
    spread = {
        i: max(of[i] for of in scores.values()) - min(of[i] for of in scores.values()) for i in ids
    }
    return [i for i in sorted(ids, key=lambda i: -spread[i]) if spread[i] > 0][:count]


def small_picture(
    image: UInt8[np.ndarray, "H W 3"], people: Sequence[Any], threshold: float
) -> str:
    """A data address of a small JPEG with the people drawn on it, whose score is at least `threshold`."""
    height, width = image.shape[:2]
    scale = min(SIDE / max(height, width), 1.0)
    wh = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(image, wh, interpolation=cv2.INTER_AREA)
    factor = np.array(wh, np.float32) / np.array((width, height), np.float32)
    poses = Poses.from_coco(people)
    reduced = dataclasses.replace(poses, keypoints=_reduced(poses.keypoints, factor))
    drawn = draw(small, reduced, score_threshold=threshold, keypoint_threshold=0.0)
    _, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(drawn[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _reduced(
    points: Float[np.ndarray, "N K 2"], factor: Float[np.ndarray, " 2"]
) -> Float[np.ndarray, "N K 2"]:
    return (points + np.float32(0.5)) * factor - np.float32(0.5)
