"""From an image to the network's input, and from the network's maps back to the image.

Points are (x, y), and the centre of the top-left pixel (or map cell) is (0, 0). The transforms of
the reference implementation ignore half pixels; they are kept because its checkpoints need them to
give its coordinates.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from bottomup.coordinates import map_points
from bottomup.poses import Poses
from bottomup.shapes import Float, UInt8

MAX_INPUT_PIXELS = 1 << 26  # of one network input, as many as an image of 8000 x 8000 has


@dataclasses.dataclass(frozen=True, eq=False)
class Transform:
    """How one image becomes the network's input at one scale.

    Attributes:
        matrix: (2, 3) float64, from a point of the image to a point of the input.
        input_wh: width and height of the input.
        half_pixels: whether pixel areas are what is mapped; False follows the reference
            implementation.
    """

    matrix: Float[np.ndarray, "2 3"]
    input_wh: tuple[int, int]
    half_pixels: bool = True

    @classmethod
    def fit(
        cls,
        image_wh: tuple[int, int],
        size: int,
        *,
        side: Literal["long", "short"] = "long",
        multiple: int = 32,
    ) -> "Transform":
        """Scale the whole image uniformly and place it at the top left, black beyond it.

        Args:
            image_wh: width and height of the image.
            size: pixels of the input for the given side.
            side: "long" or "short". With "short", the long side gets at most four times the size,
                so the short side of a very long image gets less than the size.
            multiple: the sides of the input are multiples of it.
        """
        long, short = max(image_wh), min(image_wh)
        scale = size / long if side == "long" else min(size / short, 4 * size / long)
        content_wh = tuple(max(round(pixels * scale), 1) for pixels in image_wh)
        wide, high = (math.ceil(pixels / multiple) * multiple for pixels in content_wh)
        return cls(_resize_matrix(image_wh, content_wh), (wide, high))

    @classmethod
    def crop(
        cls,
        box: Float[np.ndarray, " 4"] | Sequence[float],
        input_wh: tuple[int, int] = (192, 256),
        *,
        padding: float = 1.25,
    ) -> "Transform":
        """Scale one person's box uniformly to the middle of the input, black beyond the image.

        One axis of the box is extended to the proportions of the input, then both by `padding`, as
        in top-down methods since Xiao et al., Simple Baselines for Human Pose Estimation, ECCV
        2018.

        Args:
            box: x0, y0, x1, y1 in pixels of the image; it may lie partly or wholly outside.
            input_wh: width and height of the input.
            padding: the part of the image that is shown, in widths and heights of the box.

        Raises:
            ValueError: a number is not finite, or the box has no area.
        """
        x0, y0, x1, y1 = (float(side) for side in box)
        if not np.isfinite([x0, y0, x1, y1]).all() or x1 <= x0 or y1 <= y0:
            raise ValueError(
                f"box {(x0, y0, x1, y1)} is invalid: x0, y0, x1, y1 must be finite and ascending"
            )
        factor = min(input_wh[0] / max(x1 - x0, 1.0), input_wh[1] / max(y1 - y0, 1.0)) / padding
        shift = (np.array(input_wh) - 1) / 2 - factor * np.array([x0 + x1, y0 + y1]) / 2
        return cls(_scale_and_shift(factor, shift), input_wh)

    @classmethod
    def official(
        cls, image_wh: tuple[int, int], size: int, scales: Sequence[float] = (1.0,)
    ) -> list["Transform"]:
        """The transforms of the reference implementation of HigherHRNet, the largest scale first.

        The short side gets `size` pixels and the long side a multiple of 64, both computed at the
        smallest scale. The image is scaled uniformly about its centre, with equal black borders on
        both sides. The last transform takes points of the maps back to the image.
        """
        width, height = image_wh
        smallest = min(scales)
        center = np.array([int(width / 2 + 0.5), int(height / 2 + 0.5)], np.float64)
        short = _up_to_64(size * smallest)
        transforms = []
        for scale in sorted(scales, reverse=True):
            long = _up_to_64(short / min(width, height) * max(width, height))
            input_long, input_short = int(long * scale / smallest), int(short * scale / smallest)
            input_wh = (input_short, input_long) if width < height else (input_long, input_short)
            # the width of the input in pixels of the image
            covered = width if width < height else input_wh[0] / input_wh[1] * height
            factor = input_wh[0] / covered
            matrix = _scale_and_shift(factor, np.array(input_wh) * 0.5 - factor * center)
            transforms.append(cls(matrix, input_wh, half_pixels=False))
        return transforms

    def scaled(self, scale: float, multiple: int) -> "Transform":
        """The same area of the image at another resolution.

        The sides are rounded up to multiples of `multiple`, so each is stretched by its own factor.
        Maps of both inputs cover the same area.
        """
        wide, high = (math.ceil(side * scale / multiple) * multiple for side in self.input_wh)
        resize = _resize_matrix(self.input_wh, (wide, high))
        return Transform(_compose(resize, self.matrix), (wide, high))

    def of_reduced(self, reduction: int) -> "Transform":
        """The same input, from an image of which each pixel is a square of `reduction` pixels."""
        if reduction == 1:
            return self
        enlarge = _scale_and_shift(float(reduction), np.full(2, (reduction - 1) / 2))
        return dataclasses.replace(self, matrix=_compose(self.matrix, enlarge))

    def warp(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
        """The network's input: the image under this transform, black beyond its borders.

        An image that shrinks is averaged over areas, against aliasing; the reference does not.

        Raises:
            ValueError: the input would be too large for any network, as for a very long and thin
                image.
        """
        wide, high = self.input_wh
        if wide * high > MAX_INPUT_PIXELS:
            raise ValueError(
                f"the network's input would have {wide} x {high} pixels; "
                "choose a smaller size or scale"
            )
        matrix = self.matrix
        if self.half_pixels:
            image, matrix = self._cut_out(image)
            # reduce by averaging first, then warp what is left of the transform
            height, width = image.shape[:2]
            shrunk_wh = (max(round(width * matrix[0, 0]), 1), max(round(height * matrix[1, 1]), 1))
            if shrunk_wh[0] * shrunk_wh[1] < width * height:
                image = cv2.resize(image, shrunk_wh, interpolation=cv2.INTER_AREA)
                matrix = _compose(matrix, _resize_matrix(shrunk_wh, (width, height)))
        if np.abs(matrix - np.eye(2, 3)).max() < 1e-9:  # each pixel is where it belongs
            canvas, part = np.zeros((high, wide, 3), np.uint8), image[:high, :wide]
            canvas[: part.shape[0], : part.shape[1]] = part
            return canvas
        return cv2.warpAffine(image, matrix, self.input_wh, flags=cv2.INTER_LINEAR)

    def _cut_out(
        self, image: UInt8[np.ndarray, "h w 3"]
    ) -> tuple[np.ndarray, Float[np.ndarray, "2 3"]]:
        """The part of the image that the input shows with a margin, and the matrix from there."""
        corners = self.to_image(np.array([[0, 0], self.input_wh]) - 0.5, self.input_wh)
        margin = 2 + 2 / np.diag(self.matrix)  # the reach of interpolation, in pixels of the image
        size = np.array(image.shape[1::-1])
        x0, y0 = np.clip(np.floor(corners[0] - margin), 0, size - 1).astype(int)
        x1, y1 = np.clip(np.ceil(corners[1] + margin), (x0 + 1, y0 + 1), size).astype(int)
        return image[y0:y1, x0:x1], _compose(
            self.matrix, _scale_and_shift(1.0, np.array([x0, y0], float))
        )

    def to_image(
        self, points: Float[np.ndarray, "*N 2"], map_wh: tuple[int, int], offset: float = 0.0
    ) -> Float[np.ndarray, "*N 2"]:
        """Points of a map to points of the image: the exact inverse of the transform.

        Args:
            points: (..., 2) in cells of the map.
            map_wh: width and height of the map, which covers the whole input.
            offset: input pixels to add, see `PoseNet.keypoint_offset`.
        """
        points = np.asarray(points, np.float64)
        if self.half_pixels:
            at_input = map_points(points, map_wh, self.input_wh)
        else:  # the factor of the width for both axes, about the centre
            centered = points - np.divide(map_wh, 2)
            at_input = centered * (self.input_wh[0] / map_wh[0]) + np.divide(self.input_wh, 2)
        return (at_input + offset - self.matrix[:, 2]) @ np.linalg.inv(self.matrix[:, :2]).T

    def poses_to_image(self, poses: Poses, map_wh: tuple[int, int], offset: float = 0.0) -> Poses:
        """`to_image` for whole people; joints that are absent stay at (0, 0)."""
        found = poses.keypoint_scores[..., None] > 0
        keypoints = np.where(found, self.to_image(poses.keypoints, map_wh, offset), 0)
        return dataclasses.replace(poses, keypoints=keypoints.astype(np.float32))


def _up_to_64(pixels: float) -> int:
    """The next multiple of 64 as the reference rounds: a fraction above a multiple goes down."""
    return int((pixels + 63) // 64 * 64)


def _resize_matrix(from_wh: tuple[int, ...], to_wh: tuple[int, ...]) -> Float[np.ndarray, "2 3"]:
    """Stretch one grid of pixels to cover the area of another."""
    return _scale_and_shift(np.divide(to_wh, from_wh), map_points(np.zeros(2), from_wh, to_wh))


def _scale_and_shift(
    factors: float | Float[np.ndarray, " 2"], shift: Float[np.ndarray, " 2"]
) -> Float[np.ndarray, "2 3"]:
    """The affine map that multiplies by one factor, or one for each axis, then adds a shift."""
    return np.column_stack([np.eye(2) * factors, shift])


def _compose(
    after: Float[np.ndarray, "2 3"], before: Float[np.ndarray, "2 3"]
) -> Float[np.ndarray, "2 3"]:
    """The affine map that does `before`, then `after`."""
    return after @ np.vstack([before, [0, 0, 1]])
