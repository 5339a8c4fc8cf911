"""The one place that converts coordinates: from a picture to the network's input, and from its maps back.

Points are (x, y) with the centre of the top-left pixel (or map cell) at (0, 0). The official rules,
kept to give official checkpoints their official coordinates, ignore half pixels; ours do not.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from bottomup.poses import Poses

MAX_INPUT_PIXELS = 1 << 25  # of one network input; what a 6000 x 5600 picture has


@dataclasses.dataclass(frozen=True, eq=False)
class Transform:
    """How one picture becomes the network's input at one scale.

    Attributes:
        matrix: (2, 3) float64, a point of the picture to a point of the input.
        input_wh: width and height of the input.
        half_pixels: whether cell centres are taken into account; False is the official way.
    """

    matrix: Float[np.ndarray, "2 3"]
    input_wh: tuple[int, int]
    half_pixels: bool = True

    def warp(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
        """The picture as the network sees it, black where there is no picture.

        A picture that shrinks is averaged over areas (except officially), so that fine texture does
        not turn to noise.

        Raises:
            ValueError: the input would be too large for any network, as of a very long and thin
                picture.
        """
        wide, high = self.input_wh
        if wide * high > MAX_INPUT_PIXELS:
            raise ValueError(
                f"the network's input would have {wide} x {high} pixels; choose a smaller size or scale"
            )
        matrix = self.matrix
        if self.half_pixels:
            image, matrix = self._cut_out(image)
        height, width = image.shape[:2]
        shrunk_wh = (max(round(width * matrix[0, 0]), 1), max(round(height * matrix[1, 1]), 1))
        if self.half_pixels and shrunk_wh[0] * shrunk_wh[1] < width * height:
            image = cv2.resize(image, shrunk_wh, interpolation=cv2.INTER_AREA)
            matrix = _compose(matrix, _resize_matrix(shrunk_wh, (width, height)))
        return cv2.warpAffine(image, matrix, self.input_wh, flags=cv2.INTER_LINEAR)

    def _cut_out(
        self, image: UInt8[np.ndarray, "h w 3"]
    ) -> tuple[np.ndarray, Float[np.ndarray, "2 3"]]:
        """The part of the picture that the input shows and a margin, and the matrix from there."""
        corners = self.to_image(np.array([[0, 0], self.input_wh]) - 0.5, self.input_wh)
        margin = 2 + 2 / np.diag(self.matrix)  # what one pixel of the input may be a mixture of
        size = np.array(image.shape[1::-1])
        x0, y0 = np.clip(np.floor(corners[0] - margin), 0, size - 1).astype(int)
        x1, y1 = np.clip(np.ceil(corners[1] + margin), (x0 + 1, y0 + 1), size).astype(int)
        moved = np.array([[1.0, 0, x0], [0, 1, y0]])
        return image[y0:y1, x0:x1], _compose(self.matrix, moved)

    def scaled(self, scale: float, multiple: int) -> "Transform":
        """The same view with more or fewer pixels: maps of both cover the same ground, cell by cell.

        The sides are taken up to multiples of `multiple`, hence stretched by a little, each by its
        own factor.
        """
        wide, high = (math.ceil(side * scale / multiple) * multiple for side in self.input_wh)
        return Transform(
            _compose(_resize_matrix(self.input_wh, (wide, high)), self.matrix), (wide, high)
        )

    def to_image(
        self, points: Float[np.ndarray, "*N 2"], map_wh: tuple[int, int], offset: float = 0.0
    ) -> Float[np.ndarray, "*N 2"]:
        """Points of a map back to the picture.

        Args:
            points: (..., 2) in cells of the map.
            map_wh: width and height of the map, which covers the whole input.
            offset: input pixels to add, see `PoseNet.keypoint_offset`.
        """
        points = np.asarray(points, np.float64)
        if self.half_pixels:
            at_input = (points + 0.5) * np.divide(self.input_wh, map_wh) - 0.5
        else:  # one factor, that of the width, about the middle
            at_input = (points - np.divide(map_wh, 2)) * (self.input_wh[0] / map_wh[0]) + np.divide(
                self.input_wh, 2
            )
        linear, shift = self.matrix[:, :2], self.matrix[:, 2]
        return (at_input + offset - shift) @ np.linalg.inv(linear).T

    def poses_to_image(self, poses: Poses, map_wh: tuple[int, int], offset: float = 0.0) -> Poses:
        """`to_image` for whole people; joints that are absent stay at (0, 0)."""
        found = poses.keypoint_scores[..., None] > 0
        keypoints = np.where(found, self.to_image(poses.keypoints, map_wh, offset), 0).astype(
            np.float32
        )
        return dataclasses.replace(poses, keypoints=keypoints)


def fit(
    image_wh: tuple[int, int],
    size: int,
    *,
    side: Literal["long", "short"] = "long",
    multiple: int = 32,
) -> Transform:
    """Bring one side of a picture to a size, uniformly; the picture stands at the top left, black beyond it.

    Args:
        image_wh: width and height of the picture.
        size: pixels of the input for that side.
        side: "long" or "short". A short side gives way where the long one would exceed four times
            the size.
        multiple: the sides of the input are multiples of it.
    """
    long, short = max(image_wh), min(image_wh)
    scale = size / long if side == "long" else min(size / short, 4 * size / long)
    content_wh = tuple(max(round(pixels * scale), 1) for pixels in image_wh)
    wide, high = (math.ceil(pixels / multiple) * multiple for pixels in content_wh)
    return Transform(_resize_matrix(image_wh, content_wh), (wide, high))


def crop(
    box: Float[np.ndarray, " 4"] | Sequence[float],
    input_wh: tuple[int, int] = (192, 256),
    *,
    padding: float = 1.25,
) -> Transform:
    """Bring one person to the middle of the input, uniformly; black where the picture ends.

    The box is widened or heightened to the input's proportions, then enlarged, as top-down methods
    do since Xiao et al., "Simple Baselines for Human Pose Estimation" (ECCV 2018).

    Args:
        box: x0, y0, x1, y1 in pixels of the picture; it may lie outside of it in part or
            altogether.
        input_wh: width and height of the input.
        padding: how much more than the box is shown along each axis.

    Raises:
        ValueError: a number is not finite, or the box has no area.
    """
    x0, y0, x1, y1 = (float(side) for side in box)
    if not np.isfinite([x0, y0, x1, y1]).all() or x1 <= x0 or y1 <= y0:
        raise ValueError(
            f"box {(x0, y0, x1, y1)} is none: x0, y0, x1, y1 must be finite and ascending"
        )
    factor = min(input_wh[0] / max(x1 - x0, 1.0), input_wh[1] / max(y1 - y0, 1.0)) / padding
    shift = (np.array(input_wh) - 1) / 2 - factor * np.array([x0 + x1, y0 + y1]) / 2
    return Transform(np.array([[factor, 0, shift[0]], [0, factor, shift[1]]]), input_wh)


def official(
    image_wh: tuple[int, int], size: int, scales: Sequence[float] = (1.0,)
) -> list[Transform]:
    """The transforms of the reference implementation, the largest scale first.

    The short side goes to `size`, the long one up to a multiple of 64, both computed at the
    smallest scale; one uniform factor about the picture's centre, the surplus black on both sides.
    Its maps are taken back by the last transform.
    """
    width, height = image_wh
    smallest = min(scales)
    center = np.array([int(width / 2 + 0.5), int(height / 2 + 0.5)], np.float64)
    short = _up_to_64(size * smallest)
    transforms = []
    for scale in sorted(scales, reverse=True):
        long = int(_up_to_64(short / min(width, height) * max(width, height)) * scale / smallest)
        input_short = int(short * scale / smallest)
        input_wh = (input_short, long) if width < height else (long, input_short)
        # the extent of the picture, in its own pixels, that the width of the input covers
        covered = width if width < height else input_wh[0] / input_wh[1] * height
        factor = input_wh[0] / covered
        shift = np.array(input_wh) * 0.5 - factor * center
        matrix = np.array([[factor, 0, shift[0]], [0, factor, shift[1]]])
        transforms.append(Transform(matrix, input_wh, half_pixels=False))
    return transforms


def _up_to_64(pixels: float) -> int:
    """The reference's rounding: 63 is added in floating point, so less than 1 above a multiple of 64 goes down."""
    return int((pixels + 63) // 64 * 64)


def _resize_matrix(from_wh: tuple[int, ...], to_wh: tuple[int, ...]) -> Float[np.ndarray, "2 3"]:
    """Stretch so that pixel areas, not pixel centres, coincide at the borders."""
    factor = np.array(to_wh) / np.array(from_wh)
    return np.array([[factor[0], 0, 0.5 * factor[0] - 0.5], [0, factor[1], 0.5 * factor[1] - 0.5]])


def _compose(
    after: Float[np.ndarray, "2 3"], before: Float[np.ndarray, "2 3"]
) -> Float[np.ndarray, "2 3"]:
    """The affine map that does `before`, then `after`."""
    return after @ np.vstack([before, [0, 0, 1]])
