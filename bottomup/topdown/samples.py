"""Augmentations for top-down methods: a crop of one person, or an image with everybody's box."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from bottomup.data.augment import Augment, similarity, warp
from bottomup.data.samples import LabelledImage
from bottomup.geometry import Transform
from bottomup.skeleton import can_mirror

MIN_SHARE = 0.2  # of a box that a sample must show for the person to count


@dataclasses.dataclass(frozen=True)
class CropAugment:
    """Makes a crop of one person of a labelled image.

    Attributes:
        height: pixels of the crop; its width is three quarters of that.
        scale: range of the factor on the extent that the crop shows.
        rotation: largest rotation to either side, degrees.
        shift: largest shift along either axis, as a share of the crop.
        flip: probability that the crop is mirrored; never without left-right pairs of joints.
        colour: strength of the changes of colour, see `Augment`.
        blur: probability that the crop is blurred a little.
        grey: probability that the crop loses its colours.
    """

    height: int = 256
    scale: tuple[float, float] = (0.75, 1.3)
    rotation: float = 40.0
    shift: float = 0.08
    flip: float = 0.5
    colour: float = 0.6
    blur: float = 0.1
    grey: float = 0.05

    def __call__(
        self, image: LabelledImage, flip_indices: Sequence[int], rng: np.random.Generator
    ) -> LabelledImage:
        """Crop one of the labelled people, or the whole image where nobody is labelled.

        The sample holds the joints of that person only; see `Augmentation`.
        """
        one, box = _choose(image, rng)
        wh = (self.height * 3 // 4, self.height)
        mirrored = bool(rng.random() < self.flip) and can_mirror(flip_indices)
        matrix = self._draw_matrix(box, wh, mirrored, rng)
        sample = warp(one, matrix, wh, flip_indices if mirrored else None)
        augment = Augment(colour=self.colour, blur=self.blur, grey=self.grey)
        return sample._replace(image=augment.recolour(sample.image, rng))

    def _draw_matrix(
        self,
        box: Float[np.ndarray, " 4"],
        wh: tuple[int, int],
        mirrored: bool,
        rng: np.random.Generator,
    ) -> Float[np.ndarray, "2 3"]:
        """From pixels of the image to pixels of the crop."""
        factor = 1 / rng.uniform(*self.scale)
        linear = similarity(factor, rng.uniform(-self.rotation, self.rotation), mirrored)
        shift = rng.uniform(-self.shift, self.shift, 2) * wh
        middle = (np.array(wh) - 1) / 2
        scaled, offset = np.split(Transform.crop(box, wh).matrix, [2], 1)
        return np.column_stack([linear @ scaled, linear @ (offset[:, 0] - middle) + middle + shift])


@dataclasses.dataclass(frozen=True)
class BoxAugment:
    """Makes a sample with boxes of a labelled image.

    The keypoints of the sample are (N, 2, 3): the top left and the bottom right corner of each box,
    with visibility 2, or 0 for a person who does not count. Boxes are cut at the border. A person
    of whose box less than `MIN_SHARE` is left does not count; what is left is an ignored region.

    Attributes:
        augment: what happens to the image. Boxes stay upright, so it must not rotate.
    """

    augment: Augment

    def __post_init__(self) -> None:
        if self.augment.rotation:
            raise ValueError(
                f"boxes stay upright: set data.augment.rotation to 0, not {self.augment.rotation}"
            )

    def __call__(
        self, image: LabelledImage, flip_indices: Sequence[int], rng: np.random.Generator
    ) -> LabelledImage:
        """Augment one image and its boxes; see `Augmentation`."""
        augment, (height, width) = self.augment, image.mask.shape
        matrix = augment.draw_matrix(width, height, bool(rng.random() < augment.flip), rng)
        sample = warp(image, matrix, (augment.size, augment.size))

        # the boxes of labelled people, moved and cut
        boxes = image.boxes[(image.keypoints[..., 2] > 0).any(1)]
        corners = boxes.reshape(-1, 2, 2) @ matrix[:, :2].T + matrix[:, 2]  # N 2 2
        corners = np.stack([corners.min(1), corners.max(1)], 1)  # mirroring exchanges them
        cut = np.clip(corners, -0.5, augment.size - 0.5)
        area = np.maximum((corners[:, 1] - corners[:, 0]).prod(1), 1e-6)
        counts = (cut[:, 1] - cut[:, 0]).prod(1) >= MIN_SHARE * area

        for (x0, y0), (x1, y1) in cut[~counts]:
            sample.mask[round(y0) : round(y1) + 1, round(x0) : round(x1) + 1] = False
        keypoints = np.concatenate([cut, np.full((len(cut), 2, 1), 2.0)], 2)
        keypoints = (keypoints * counts[:, None, None]).astype(np.float32)
        pixels = augment.recolour(sample.image, rng)
        return LabelledImage(pixels, keypoints, sample.mask, cut.reshape(-1, 4))


def _choose(
    image: LabelledImage, rng: np.random.Generator
) -> tuple[LabelledImage, Float[np.ndarray, " 4"]]:
    """The image with one labelled person, and the box of that person."""
    labelled = np.flatnonzero((image.keypoints[..., 2] > 0).any(1))
    if not len(labelled):
        nobody = np.zeros((1, *image.keypoints.shape[1:]), np.float32)
        whole = np.array([0.0, 0.0, *image.mask.shape[::-1]])
        return image._replace(keypoints=nobody, boxes=np.zeros((1, 4))), whole
    person = rng.choice(labelled)
    one = image._replace(keypoints=image.keypoints[[person]], boxes=image.boxes[[person]])
    return one, image.boxes[person]
