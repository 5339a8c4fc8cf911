"""From an image to a network's input, and points back: the part of an image that the network sees.

Pixels are squares here: the middle of the top-left pixel is (0.5, 0.5), as in the normalised
coordinates of networks. `to_image` alone gives COCO's.
"""

import dataclasses

import cv2
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
    """What a network sees.

    Attributes:
        pixels: (h, w, 3) uint8, its input.
        scale: pixels of the input per pixel of the image, in x and in y.
        origin: where the image's corner is in the input, x and y.
    """

    pixels: np.ndarray
    scale: tuple[float, float]
    origin: tuple[float, float]

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) x, y of the input as points of the image, whose top-left pixel has its middle at (0, 0)."""
        return (np.asarray(points, float) - self.origin) / self.scale - 0.5


def fit(
    image: np.ndarray,
    wh: tuple[int, int],
    *,
    fill: int = 0,
    centred: bool = True,
    enlarge: bool = True,
) -> Window:
    """The whole image, as large as it fits into a frame without being distorted.

    Args:
        image: (H, W, 3) uint8.
        wh: of the frame.
        fill: value of the pixels around the image.
        centred: the image lies in the middle, else at the top left.
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
    """The whole image with its longer side at `side`, in the smallest frame whose sides are multiples plus `extra`."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    steps = (max(-(-(round(length * scale) - extra) // multiple), 1) for length in (width, height))
    across, down = (step * multiple + extra for step in steps)
    return fit(image, (across, down))


def square(
    image: np.ndarray, box: np.ndarray, side: int, *, padding: float = 1.25
) -> Window | None:
    """The square around a box, black where it leaves the image; None where the box does not touch the image.

    Args:
        image: (H, W, 3) uint8.
        box: (4,) left, top, right, bottom in pixels of the image, pixels being squares.
        side: of the input.
        padding: how much longer than the box's longer side the square's is.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = np.clip(np.asarray(box, float), 0, (width, height, width, height))
    if not (right > left and bottom > top):  # also where a number is none
        return None
    length = max(round(max(right - left, bottom - top) * padding), 2)
    x, y = round((left + right - length) / 2), round((top + bottom - length) / 2)
    inside = image[max(y, 0) : y + length, max(x, 0) : x + length]
    before = max(-y, 0), max(-x, 0)
    after = length - inside.shape[0] - before[0], length - inside.shape[1] - before[1]
    whole = cv2.copyMakeBorder(
        inside, before[0], after[0], before[1], after[1], cv2.BORDER_CONSTANT
    )
    scale = side / length
    return Window(resize(whole, (side, side)), (scale, scale), (-x * scale, -y * scale))


def resize(image: np.ndarray, wh: tuple[int, int]) -> np.ndarray:
    """Averages when it shrinks, so that nothing is left out, and interpolates when it grows."""
    shrinks = wh[0] * wh[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
