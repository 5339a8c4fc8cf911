"""Training samples for top-down methods: one person in the middle of a crop, or an image with everybody's box.

A sample is a function of (seed, epoch, position) alone, as in `training_sets`, and has the form
that all samples have. A box goes as two points, its top left and its bottom right corner.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from bottomup.data.augment import Augment, warp
from bottomup.data.coco import Annotations, Record
from bottomup.data.samples import Sample
from bottomup.data.scenes.crowd import Crowd, draw_scene
from bottomup.data.training_sets import Draw, known_pixels, load_sample
from bottomup.geometry import Transform
from bottomup.skeleton import COCO, Skeleton

MIN_SHARE = 0.2  # of a box that a sample must show for the person to count


@dataclasses.dataclass(frozen=True)
class CropAugment:
    """Turns a person of an image into a training crop.

    Attributes:
        height: pixels of the crop; its width is three quarters of that.
        scale: range of the factor on the size of what is shown.
        rotation: largest turn to either side, degrees.
        shift: largest shift along either axis, as a share of the crop.
        flip: how likely the crop is mirrored.
        colour: strength of the changes of colour, see `Augment`.
        blur: how likely the crop is blurred a little.
        grey: how likely the crop loses its colours.
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
        self,
        sample: Sample,
        person: int,
        box: Float[np.ndarray, " 4"],
        flip_indices: Sequence[int],
        rng: np.random.Generator,
    ) -> Sample:
        """The crop of one person of a labelled image; its joints only, those outside of the crop without a label."""
        mirrored = bool(rng.random() < self.flip)
        wh = (self.height * 3 // 4, self.height)
        one = sample._replace(keypoints=sample.keypoints[person : person + 1])
        one = warp(one, self._draw_matrix(box, wh, mirrored, rng), wh)
        if mirrored:
            one = one._replace(keypoints=one.keypoints[:, list(flip_indices)])
        return one._replace(
            image=Augment(colour=self.colour, blur=self.blur, grey=self.grey).recolour(
                one.image, rng
            )
        )

    def _draw_matrix(
        self,
        box: Float[np.ndarray, " 4"],
        wh: tuple[int, int],
        mirrored: bool,
        rng: np.random.Generator,
    ) -> Float[np.ndarray, "2 3"]:
        factor = 1 / rng.uniform(*self.scale)
        angle = np.radians(rng.uniform(-self.rotation, self.rotation))
        shift = rng.uniform(-self.shift, self.shift, 2) * wh
        cos, sin = factor * np.cos(angle), factor * np.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]]) * ([[-1], [1]] if mirrored else 1)
        middle = (np.array(wh) - 1) / 2
        still = Transform.crop(box, wh).matrix
        return np.column_stack(
            [linear @ still[:, :2], linear @ (still[:, 2] - middle) + middle + shift]
        )


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoCrops:
    """The labelled people of annotated photos, one a sample.

    Attributes:
        annotations: the photos and their people.
        augment: how a person becomes a crop.
        seed: with epoch and index, what all randomness comes from.
    """

    annotations: Annotations
    augment: CropAugment
    seed: int = 0

    @property
    def skeleton(self) -> Skeleton:
        """The joints of all people."""
        return self.annotations.skeleton

    @functools.cached_property
    def _people(self) -> tuple[tuple[Record, int], ...]:
        return tuple(
            (record, person)
            for record in self.annotations.records
            for person, box in enumerate(record.boxes)
            if (box[2:] > box[:2]).all()
        )

    def __len__(self) -> int:
        return len(self._people)

    def __getitem__(self, draw: Draw) -> Sample:
        record, person = self._people[draw.position]
        rng = np.random.default_rng((self.seed, draw.epoch, draw.position, 3))
        return self.augment(
            load_sample(record), person, record.boxes[person], self.skeleton.flip_indices, rng
        )

    def name(self, index: int) -> str:
        """What to call sample `index` in a message."""
        record, person = self._people[index]
        return f"{record.path}, person {person + 1}"


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnCrops:
    """One person each of drawn crowds, new ones in every epoch; without a label where nobody can be seen.

    Attributes:
        crowd: how hard the images are.
        length: samples in an epoch.
        augment: how a person becomes a crop.
        seed: with epoch and index, what all randomness comes from.
    """

    crowd: Crowd
    length: int
    augment: CropAugment
    seed: int = 0
    skeleton: Skeleton = COCO

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, draw: Draw) -> Sample:
        rng = np.random.default_rng((self.seed, draw.epoch, draw.position, 4))
        scene = draw_scene(self.crowd, rng)
        labelled = np.flatnonzero((scene.keypoints[..., 2] > 0).any(1))
        keypoints, boxes = scene.keypoints, scene.boxes
        if not len(labelled):
            keypoints = np.zeros((1, self.skeleton.num_keypoints, 3), np.float32)
            boxes = np.array([[0.0, 0, self.crowd.width, self.crowd.height]])
            labelled = np.zeros(1, int)
        person = int(rng.choice(labelled))
        sample = Sample(scene.image, keypoints, known_pixels(scene))
        return self.augment(sample, person, boxes[person], self.skeleton.flip_indices, rng)

    def name(self, index: int) -> str:
        """What to call sample `index` in a message."""
        return f"drawn crop {index} of seed {self.seed}"


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoBoxes:
    """Annotated photos with the boxes of their people.

    Attributes:
        annotations: the photos and their people.
        augment: how a photo becomes a sample; boxes stay upright, so without rotation.
        seed: with epoch and index, what all randomness comes from.
        empty_images: also learn from photos without labelled people.
    """

    annotations: Annotations
    augment: Augment
    seed: int = 0
    empty_images: bool = True

    @property
    def skeleton(self) -> Skeleton:
        """The joints of all people; the samples hold none of them."""
        return self.annotations.skeleton

    @functools.cached_property
    def _records(self) -> tuple[Record, ...]:
        return tuple(r for r in self.annotations.records if self.empty_images or len(r.keypoints))

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, draw: Draw) -> Sample:
        record = self._records[draw.position]
        rng = np.random.default_rng((self.seed, draw.epoch, draw.position, 5))
        return warp_boxes(load_sample(record), record.boxes, self.augment, rng)

    def name(self, index: int) -> str:
        """What to call image `index` in a message."""
        return str(self._records[index].path)


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnBoxes:
    """Drawn crowds with the boxes of their people, new ones in every epoch.

    Attributes:
        crowd: how hard the images are.
        length: images in an epoch.
        augment: further augmentation, without rotation.
        seed: with epoch and index, what all randomness comes from.
    """

    crowd: Crowd
    length: int
    augment: Augment
    seed: int = 0
    skeleton: Skeleton = COCO

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, draw: Draw) -> Sample:
        rng = np.random.default_rng((self.seed, draw.epoch, draw.position, 6))
        scene = draw_scene(self.crowd, rng)
        boxes = scene.boxes[(scene.keypoints[..., 2] > 0).any(1)]
        return warp_boxes(
            Sample(scene.image, scene.keypoints, known_pixels(scene)), boxes, self.augment, rng
        )

    def name(self, index: int) -> str:
        """What to call image `index` in a message."""
        return f"drawn image {index} of seed {self.seed}"


def warp_boxes(
    sample: Sample, boxes: Float[np.ndarray, "N 4"], augment: Augment, rng: np.random.Generator
) -> Sample:
    """Augment an image and the boxes in it.

    Boxes are cut at the border. Where less than `MIN_SHARE` of one is left, nothing is known: a bit
    of a person is neither a person to find nor background.

    Args:
        sample: the image; its keypoints do not matter.
        boxes: x0, y0, x1, y1 in pixels of the image.
        augment: with a rotation of 0.
        rng: the source of randomness.

    Returns:
        the sample, its keypoints being (N, 2, 3): the corners of each box, visible 2, or 0 where it
        does not count.
    """
    height, width = sample.image.shape[:2]
    mirrored = bool(rng.random() < augment.flip)
    matrix = augment.draw_matrix(width, height, mirrored, rng)
    moved = warp(sample._replace(keypoints=sample.keypoints[:0]), matrix, augment.size)
    corners = boxes.reshape(-1, 2, 2) @ matrix[:, :2].T + matrix[:, 2]  # N 2 2
    low, high = corners.min(1), corners.max(1)
    cut_low, cut_high = (
        np.clip(low, -0.5, augment.size - 0.5),
        np.clip(high, -0.5, augment.size - 0.5),
    )
    area = np.maximum((high - low).prod(1), 1e-6)
    counts = (cut_high - cut_low).prod(1) >= MIN_SHARE * area
    mask = moved.mask.copy()
    for (x0, y0), (x1, y1) in zip(cut_low[~counts], cut_high[~counts], strict=True):
        mask[round(y0) : round(y1) + 1, round(x0) : round(x1) + 1] = False
    points = np.stack([cut_low, cut_high], axis=1)
    keypoints = (
        np.concatenate([points, np.full((len(boxes), 2, 1), 2.0)], axis=2) * counts[:, None, None]
    )
    return Sample(augment.recolour(moved.image, rng), keypoints.astype(np.float32), mask)
