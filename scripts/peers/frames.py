"""From an image to the input of a network, and from points of the input back to the image.

Pixels are squares here: the centre of the top-left pixel is (0.5, 0.5), as in the normalised
coordinates of networks. Only `to_image` returns COCO's coordinates, where it is (0, 0).
"""

import dataclasses

import cv2
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
    """The input of a network, and its place in the image.

    Attributes:
        pixels: (h, w, 3) uint8.
        scale: pixels of the input per pixel of the image, in x and in y.
        origin: x and y of the corner of the image in the input.
    """

    pixels: np.ndarray
    scale: tuple[float, float]
    origin: tuple[float, float]

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Carry points (..., 2) x, y of the input to the image; its top-left pixel is (0, 0)."""
        return (np.asarray(points, float) - self.origin) / self.scale - 0.5


def fit(
    image: np.ndarray,
    wh: tuple[int, int],
    *,
    fill: int = 0,
    centred: bool = True,
    enlarge: bool = True,
) -> Window:
    """The whole image, as large as it fits into a frame without distortion.

    Args:
        image: (H, W, 3) uint8.
        wh: width and height of the frame.
        fill: value of the pixels around the image.
        centred: whether the image lies in the centre, or else at the top left.
        enlarge: whether a small image is enlarged.
    """
    height, width = image.shape[:2]
    scale = min(wh[0] / width, wh[1] / height)
    scale = scale if enlarge else min(scale, 1.0)
    inner = min(max(round(width * scale), 1), wh[0]), min(max(round(height * scale), 1), wh[1])
    left, top = ((wh[0] - inner[0]) // 2, (wh[1] - inner[1]) // 2) if centred else (0, 0)
    pixels = np.full((wh[1], wh[0], 3), fill, np.uint8)
    pixels[top : top + inner[1], left : left + inner[0]] = resize(image, inner)
    return Window(pixels, (inner[0] / width, inner[1] / height), (left, top))


def long_side(image: np.ndarray, side: int, *, multiple: int = 32, extra: int = 0) -> Window:
    """The whole image with a longer side of `side` pixels.

    The sides of the frame are the smallest multiples of `multiple`, plus `extra`, that hold it.
    """
    height, width = image.shape[:2]
    scale = side / max(height, width)
    steps = (max(-(-(round(length * scale) - extra) // multiple), 1) for length in (width, height))
    across, down = (step * multiple + extra for step in steps)
    return fit(image, (across, down))


def square(
    image: np.ndarray, box: np.ndarray, side: int, *, padding: float = 1.25
) -> Window | None:
    """The square around a box, black outside of the image; None if the box is outside of it.

    Args:
        image: (H, W, 3) uint8.
        box: (4,) left, top, right, bottom in pixels of the image; pixels are squares.
        side: of the input.
        padding: the side of the square divided by the longer side of the box.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = np.clip(np.asarray(box, float), 0, (width, height, width, height))
    if not (right > left and bottom > top):  # or a number is NaN
        return None
    length = max(round(max(right - left, bottom - top) * padding), 2)
    x, y = round((left + right - length) / 2), round((top + bottom - length) / 2)
    inside = image[max(y, 0) : y + length, max(x, 0) : x + length]
    before = max(-y, 0), max(-x, 0)
    after = length - inside.shape[0] - before[0], length - inside.shape[1] - before[1]
    sides = before[0], after[0], before[1], after[1]
    whole = cv2.copyMakeBorder(inside, *sides, cv2.BORDER_CONSTANT)
    scale = side / length
    return Window(resize(whole, (side, side)), (scale, scale), (-x * scale, -y * scale))


def resize(image: np.ndarray, wh: tuple[int, int]) -> np.ndarray:
    """Resize an image: average if it gets smaller, interpolate if it gets larger."""
    shrinks = wh[0] * wh[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
