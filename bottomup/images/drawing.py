"""People drawn on their image."""

import colorsys

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from bottomup.images import KEYPOINT_THRESHOLD, SCORE_THRESHOLD
from bottomup.poses import Poses

SUBPIXEL_BITS = 4  # OpenCV draws at sixteenths of a pixel
SMALL = 90.0  # pixels; rims and white joints would hide a smaller person
DARK, LIGHT = (0, 0, 0), (255, 255, 255)
FAR = 1 << 24  # sixteenths of a pixel; OpenCV's arithmetic overflows beyond


def draw(
    image: UInt8[np.ndarray, "H W 3"],
    poses: Poses,
    *,
    score_threshold: float = SCORE_THRESHOLD,
    keypoint_threshold: float = KEYPOINT_THRESHOLD,
) -> UInt8[np.ndarray, "H W 3"]:
    """A copy of the image with everybody's limbs and joints, one colour per person.

    The width of the lines depends on the size of the person. People of higher scores are drawn over
    the others.

    Args:
        image: RGB.
        poses: people in pixels of the image.
        score_threshold: people below it are left out.
        keypoint_threshold: joints below it are left out, and the limbs that end there.
    """
    canvas = np.ascontiguousarray(image).copy()
    people = poses.filter(score_threshold)
    for i in np.argsort(people.scores, kind="stable"):
        shown = people.keypoint_scores[i] >= max(keypoint_threshold, np.finfo(np.float32).tiny)
        if shown.any():
            _draw_person(
                canvas, people.keypoints[i], shown, people.skeleton.edges, person_color(int(i))
            )
    return canvas


def person_color(index: int) -> tuple[int, int, int]:
    """RGB of the person with this index; indices close to each other have different hues."""
    hue = (0.09 + index * 0.61803) % 1  # steps of the golden ratio repeat no hue
    red, green, blue = colorsys.hls_to_rgb(hue, 0.58 if index % 2 else 0.68, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _draw_person(
    canvas: UInt8[np.ndarray, "H W 3"],
    points: Float[np.ndarray, "K 2"],
    shown: np.ndarray,
    edges: tuple[tuple[int, int], ...],
    color: tuple[int, int, int],
) -> None:
    # pixels of a line's width, and points in fixed point
    extent = float(np.hypot(*(points[shown].max(axis=0) - points[shown].min(axis=0))))
    width = int(np.clip(round(extent / 70), 1, max(min(canvas.shape[:2]) // 60, 2)))
    fixed = np.clip(np.round(points * (1 << SUBPIXEL_BITS)), -FAR, FAR).astype(int).tolist()

    # a dark rim sets a person apart from the background and from others; widths and diameters
    strokes, discs = [(width + 2, DARK), (width, color)], [(width + 3, DARK), (width + 1, LIGHT)]
    if extent <= SMALL:
        strokes = discs = [(width, color)]

    limbs = [(fixed[a], fixed[b]) for a, b in edges if shown[a] and shown[b]]
    for thickness, ink in strokes:
        for a, b in limbs:
            cv2.line(canvas, a, b, ink, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    for joint in np.flatnonzero(shown):
        for diameter, ink in discs:
            radius = diameter << (SUBPIXEL_BITS - 1)
            cv2.circle(canvas, fixed[joint], radius, ink, -1, cv2.LINE_AA, SUBPIXEL_BITS)
