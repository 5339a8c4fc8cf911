"""Augmentation: one affine map for image, mask, keypoints and boxes, and changes of colour.

All randomness comes from the generator that is passed in, in a fixed order. Pixels and points go
through the same matrix; the centre of the top-left pixel is (0, 0).
"""

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from bottomup.data.samples import LabelledImage
from bottomup.skeleton import can_mirror


@dataclasses.dataclass(frozen=True)
class Augment:
    """Makes a square sample of a labelled image.

    The defaults are those of the published networks (HigherHRNet), which leave the colours alone.

    Attributes:
        size: side of the sample in pixels.
        scale: range of the part of the image that fills the sample, in short sides of the image;
            above 1 shows more than the short side.
        rotation: largest rotation to either side, degrees.
        translation: largest shift along either axis, in short sides of the image.
        flip: probability that the image is mirrored; never without left-right pairs of joints.
        colour: strength of the changes of brightness, contrast, saturation and hue, 0 (none) to 1.
        blur: probability that the image is blurred a little.
        grey: probability that the image loses its colours.
    """

    size: int = 512
    scale: tuple[float, float] = (0.75, 1.5)
    rotation: float = 30.0
    translation: float = 0.2
    flip: float = 0.5
    colour: float = 0.0
    blur: float = 0.0
    grey: float = 0.0

    def __post_init__(self) -> None:
        limits = {
            "size": (1, math.inf), "rotation": (0, math.inf), "translation": (0, math.inf),
            "flip": (0, 1), "colour": (0, 1), "blur": (0, 1), "grey": (0, 1),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be from {low} to {high}, not {getattr(self, name)}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(
                f"scale must be two positive numbers in ascending order, not {self.scale}"
            )

    def __call__(
        self, image: LabelledImage, flip_indices: Sequence[int], rng: np.random.Generator
    ) -> LabelledImage:
        """Augment one image; see `Augmentation`."""
        height, width = image.mask.shape
        mirrored = bool(rng.random() < self.flip) and can_mirror(flip_indices)
        matrix = self.draw_matrix(width, height, mirrored, rng)
        sample = warp(image, matrix, (self.size, self.size), flip_indices if mirrored else None)
        return sample._replace(image=self.recolour(sample.image, rng))

    def draw_matrix(
        self, width: int, height: int, mirrored: bool, rng: np.random.Generator
    ) -> Float[np.ndarray, "2 3"]:
        """Draw the affine map from pixels of the image to pixels of the sample."""
        short = min(width, height)
        factor = self.size / (short * rng.uniform(*self.scale))
        linear = similarity(factor, rng.uniform(-self.rotation, self.rotation), mirrored)
        shift = rng.uniform(-self.translation, self.translation, 2) * short
        centre = np.array([width - 1, height - 1]) / 2 + shift
        return np.column_stack([linear, (self.size - 1) / 2 - linear @ centre])

    def recolour(
        self, image: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Change the colours and blur; the geometry stays."""
        if self.colour > 0:
            image = _jitter(image, self.colour, rng)
        if rng.random() < self.grey:
            image = cv2.merge([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)] * 3)
        if rng.random() < self.blur:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 2.0))
        return image


def similarity(factor: float, degrees: float, mirrored: bool) -> Float[np.ndarray, "2 2"]:
    """The matrix that scales and rotates, then mirrors left and right if asked to."""
    angle = np.radians(degrees)
    cos, sin = factor * np.cos(angle), factor * np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]]) * ([[-1], [1]] if mirrored else 1)


def warp(
    image: LabelledImage,
    matrix: Float[np.ndarray, "2 3"],
    wh: tuple[int, int],
    flip_indices: Sequence[int] | None = None,
) -> LabelledImage:
    """Map image, mask, keypoints and boxes.

    Image and mask are warped together, as four channels. Pixels beyond the image are black and not
    ignored. Joints that leave the sample lose their label. An image that shrinks to less than half
    is averaged down to twice its final size first. Boxes stay upright: a box becomes the one around
    its four corners, cut at the border.

    Args:
        image: the labelled image.
        matrix: from pixels of the image to pixels of the sample.
        wh: width and height of the sample.
        flip_indices: K, if the matrix mirrors: left and right joints change places.
    """
    linear, shift = matrix[:, :2].T.astype(np.float32), matrix[:, 2].astype(np.float32)
    points, visibility = image.keypoints[..., :2] @ linear + shift, image.keypoints[..., 2:]
    keypoints = keep_inside(points, visibility, wh)
    if flip_indices is not None:
        keypoints = keypoints[:, list(flip_indices)]

    corners = image.boxes[:, [[0, 1], [2, 1], [0, 3], [2, 3]]] @ matrix[:, :2].T + matrix[:, 2]
    corners = np.clip(corners, -0.5, np.array(wh) - 0.5)  # N 4 2
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)

    ignored = np.where(image.mask, 0, 255).astype(np.uint8)
    planes, matrix = average_down(cv2.merge([*cv2.split(image.image), ignored]), matrix)
    planes = cv2.warpAffine(planes, matrix, wh, flags=cv2.INTER_LINEAR)  # H W 4
    pixels, mask = np.ascontiguousarray(planes[..., :3]), planes[..., 3] < 128
    return LabelledImage(pixels, keypoints, mask, boxes)


def keep_inside(
    points: Float[np.ndarray, "*N K 2"],
    visibility: Float[np.ndarray, "*N K 1"],
    wh: tuple[int, int],
) -> Float[np.ndarray, "*N K 3"]:
    """Joints from points of an image of this size; zeros for those outside or without a label."""
    inside = ((points >= -0.5) & (points < np.array(wh) - 0.5)).all(-1, keepdims=True)
    return np.concatenate([points, visibility], -1) * (inside & (visibility > 0))


def average_down(
    planes: UInt8[np.ndarray, "H W C"], matrix: Float[np.ndarray, "2 3"]
) -> tuple[UInt8[np.ndarray, "h w C"], Float[np.ndarray, "2 3"]]:
    """Shrink an image that a map shrinks to less than half, so that fine texture gives no noise.

    Args:
        planes: the image.
        matrix: from its pixels to those of the result.

    Returns:
        the image at twice its final size, if it was larger, and the map from there.
    """
    shrink = int(0.5 / max(np.linalg.norm(matrix[:, 0]), 1e-6))
    if shrink < 2:
        return planes, matrix
    height, width = planes.shape[:2]
    small = (max(width // shrink, 1), max(height // shrink, 1))
    step = np.array([width, height]) / small
    matrix = np.column_stack(
        [matrix[:, :2] * step, matrix[:, :2] @ (step / 2 - 0.5) + matrix[:, 2]]
    )
    return cv2.resize(planes, small, interpolation=cv2.INTER_AREA), matrix


def _jitter(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    # brightness, contrast and colour balance, by a table for each channel
    contrast = 1 + strength * rng.uniform(-0.4, 0.4)
    balance = 1 + strength * rng.uniform(-0.12, 0.12, 3)
    lift = strength * rng.uniform(-40, 40) + 128
    values = (np.arange(256)[:, None] - 128) * contrast * balance + lift  # 256 3
    image = cv2.LUT(image, np.clip(values, 0, 255).astype(np.uint8)[None])

    # hue and saturation, likewise
    hue = (np.arange(256) + round(strength * rng.uniform(-12, 12))) % 180
    saturation = np.clip(np.arange(256) * (1 + strength * rng.uniform(-0.5, 0.5)), 0, 255)
    table = np.stack([hue, saturation, np.arange(256)], 1).astype(np.uint8)
    colours = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table[None])
    return cv2.cvtColor(colours, cv2.COLOR_HSV2RGB)
