"""Augmentation: one affine map for image, mask and keypoints, and a few changes of colour.

Everything random is drawn from the generator that is passed in, in a fixed order, so that a sample
is a function of its generator's seed. Points and pixels go through the same matrix, in which pixel
centres are whole numbers.
"""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from bottomup.data.samples import Sample


@dataclasses.dataclass(frozen=True)
class Augment:
    """Turns a labelled image of any size into a training sample of a fixed one.

    The defaults are those of the published networks (HigherHRNet), which leave the colours alone.

    Attributes:
        size: side of the square sample in pixels.
        scale: range of the factor on the image's short side that fills the sample; above 1 shows
            more than that.
        rotation: largest turn to either side, degrees.
        translation: largest shift along either axis, as a share of the short side.
        flip: how likely the image is mirrored.
        colour: strength of the changes of brightness, contrast, saturation and hue, 0 (none) to 1.
        blur: how likely the image is blurred a little.
        grey: how likely the image loses its colours.
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
        if self.size < 1:
            raise ValueError(f"size must be 1 or more, not {self.size}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(
                f"scale must be two positive numbers in ascending order, not {self.scale}"
            )
        for name in ("rotation", "translation"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        for name in ("flip", "colour", "blur", "grey"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, not {getattr(self, name)}")

    def __call__(
        self, sample: Sample, flip_indices: Sequence[int], rng: np.random.Generator
    ) -> Sample:
        """Augment one sample.

        Args:
            sample: the labelled image.
            flip_indices: K, see `Skeleton.flip_indices`.
            rng: the source of randomness.
        """
        height, width = sample.image.shape[:2]
        mirrored = bool(rng.random() < self.flip)
        matrix = self.draw_matrix(width, height, mirrored, rng)
        sample = warp(sample, matrix, self.size)
        if mirrored:
            sample = sample._replace(keypoints=sample.keypoints[:, list(flip_indices)])
        return sample._replace(image=self.recolour(sample.image, rng))

    def draw_matrix(
        self, width: int, height: int, mirrored: bool, rng: np.random.Generator
    ) -> Float[np.ndarray, "2 3"]:
        """Draw the affine map from the image's pixels to the sample's."""
        short = min(width, height)
        factor = self.size / (short * rng.uniform(*self.scale))
        angle = np.radians(rng.uniform(-self.rotation, self.rotation))
        shift = rng.uniform(-self.translation, self.translation, 2) * short
        cos, sin = factor * np.cos(angle), factor * np.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]]) * ([[-1], [1]] if mirrored else 1)
        centre = np.array([width - 1, height - 1]) / 2 + shift
        return np.column_stack([linear, (self.size - 1) / 2 - linear @ centre])

    def recolour(
        self, image: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Change colours, and blur, as the attributes say; the geometry stays."""
        if self.colour > 0:
            image = _jitter(image, self.colour, rng)
        if rng.random() < self.grey:
            image = cv2.merge([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)] * 3)
        if rng.random() < self.blur:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 2.0))
        return image


def warp(sample: Sample, matrix: Float[np.ndarray, "2 3"], size: int | tuple[int, int]) -> Sample:
    """Carry image, mask and keypoints through one affine map.

    Image and mask travel together, as one picture of four channels. What lies beyond the image is
    black and counts as known to be empty. Joints that leave the sample lose their label. An image
    that shrinks to less than half is averaged down to twice its final size first.

    Args:
        sample: the labelled image.
        matrix: from pixels of the image to pixels of the sample.
        size: width and height of the sample, or the side of a square one.
    """
    wh = (size, size) if isinstance(size, int) else size
    keypoints = sample.keypoints.copy()
    keypoints[..., :2] = keypoints[..., :2] @ matrix[:, :2].T.astype(np.float32) + matrix[
        :, 2
    ].astype(np.float32)
    points = keypoints[..., :2]
    inside = ((points >= -0.5) & (points < np.array(wh) - 0.5)).all(-1, keepdims=True)
    keypoints *= inside & (keypoints[..., 2:] > 0)

    hidden = np.where(sample.mask, 0, 255).astype(np.uint8)
    planes, matrix = average_down(cv2.merge([*cv2.split(sample.image), hidden]), matrix)
    planes = cv2.warpAffine(planes, matrix, wh, flags=cv2.INTER_LINEAR)
    return Sample(np.ascontiguousarray(planes[..., :3]), keypoints, planes[..., 3] < 128)


def average_down(
    planes: UInt8[np.ndarray, "H W C"], matrix: Float[np.ndarray, "2 3"]
) -> tuple[UInt8[np.ndarray, "h w C"], Float[np.ndarray, "2 3"]]:
    """Shrink a picture that a map will shrink to less than half, so that fine texture does not turn to noise.

    Args:
        planes: the picture.
        matrix: from its pixels to those of the result.

    Returns:
        the picture at twice its final size, if it was larger, and the map from there.
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
    """Change brightness, contrast, colour balance, saturation and hue."""
    contrast = 1 + strength * rng.uniform(-0.4, 0.4)
    balance = 1 + strength * rng.uniform(-0.12, 0.12, 3)
    lift = strength * rng.uniform(-40, 40) + 128
    table = np.clip((np.arange(256)[:, None] - 128) * contrast * balance + lift, 0, 255).astype(
        np.uint8
    )
    image = cv2.LUT(image, table[None])
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hue = (np.arange(256) + round(strength * rng.uniform(-12, 12))) % 180
    saturation = np.clip(np.arange(256) * (1 + strength * rng.uniform(-0.5, 0.5)), 0, 255)
    table = np.stack([hue, saturation, np.arange(256)], 1).astype(np.uint8)
    return cv2.cvtColor(cv2.LUT(colours, table[None]), cv2.COLOR_HSV2RGB)
