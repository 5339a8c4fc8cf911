"""People drawn over their picture."""

import colorsys

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from bottomup.images.thresholds import KEYPOINT_THRESHOLD, SCORE_THRESHOLD
from bottomup.poses import Poses

SUBPIXEL_BITS = 4  # OpenCV draws at sixteenths of a pixel
SMALL = 90.0  # pixels; of a smaller person rims and white joints would hide more than they show
DARK, LIGHT = (0, 0, 0), (255, 255, 255)
FAR = 1 << 24  # of a joint's position in sixteenths, beyond which OpenCV's arithmetic overflows


def draw(
    image: UInt8[np.ndarray, "H W 3"],
    poses: Poses,
    *,
    score_threshold: float = SCORE_THRESHOLD,
    keypoint_threshold: float = KEYPOINT_THRESHOLD,
) -> UInt8[np.ndarray, "H W 3"]:
    """A copy of the picture with everybody's limbs and joints, one colour per person.

    Lines are as wide as suits the size of the person; better people are drawn later, over the
    others.

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
    """RGB of the person with this index: neighbours in the list are far apart on the colour wheel."""
    hue = (0.09 + index * 0.61803) % 1  # the golden ratio never comes back to a hue
    red, green, blue = colorsys.hls_to_rgb(hue, 0.58 if index % 2 else 0.68, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _draw_person(
    canvas: UInt8[np.ndarray, "H W 3"],
    points: Float[np.ndarray, "K 2"],
    shown: np.ndarray,
    edges: tuple[tuple[int, int], ...],
    color: tuple[int, int, int],
) -> None:
    extent = float(np.hypot(*(points[shown].max(axis=0) - points[shown].min(axis=0))))
    width = int(np.clip(round(extent / 70), 1, max(min(canvas.shape[:2]) // 60, 2)))
    rim = 1 if extent > SMALL else 0
    fixed = np.clip(np.round(points * (1 << SUBPIXEL_BITS)), -FAR, FAR).astype(int).tolist()
    limbs = [(fixed[a], fixed[b]) for a, b in edges if shown[a] and shown[b]]
    if rim:  # a dark rim sets a person apart from any background and from the people behind
        for a, b in limbs:
            cv2.line(canvas, a, b, DARK, width + 2, cv2.LINE_AA, SUBPIXEL_BITS)
    for a, b in limbs:
        cv2.line(canvas, a, b, color, width, cv2.LINE_AA, SUBPIXEL_BITS)
    radius = (width + rim) << (SUBPIXEL_BITS - 1)
    for joint in np.flatnonzero(shown):
        if rim:
            cv2.circle(
                canvas,
                fixed[joint],
                radius + (1 << SUBPIXEL_BITS),
                DARK,
                -1,
                cv2.LINE_AA,
                SUBPIXEL_BITS,
            )
        cv2.circle(
            canvas, fixed[joint], radius, LIGHT if rim else color, -1, cv2.LINE_AA, SUBPIXEL_BITS
        )
