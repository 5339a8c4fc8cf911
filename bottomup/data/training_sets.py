"""Training samples by (epoch, position): annotated photos, drawn crowds, or several sets together.

A sample is a function of (seed, epoch, position) alone, so neither the number of workers nor a
restart changes it.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8

from bottomup.data.augment import Augment
from bottomup.data.coco import Annotations, Record, decode_outline
from bottomup.data.copy_paste import paste_people
from bottomup.data.samples import Sample
from bottomup.data.scenes.crowd import Crowd, Scene, draw_scene
from bottomup.images.decoding import DecodingError, decode
from bottomup.skeleton import COCO, Skeleton


class Draw(NamedTuple):
    """Which sample to make: the same index looks different in every epoch."""

    epoch: int
    position: int


@runtime_checkable
class TrainingSet(Protocol):
    """What the loader needs."""

    @property
    def skeleton(self) -> Skeleton:
        """The joints of all images."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, draw: Draw, /) -> Sample: ...

    def name(self, index: int) -> str:
        """What to call image `index` in a message."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoTraining:
    """Annotated photos, augmented.

    Attributes:
        annotations: the photos and their people.
        augment: how a photo becomes a sample.
        seed: with epoch and index, what all randomness comes from.
        copy_paste: how likely people of another photo are pasted in.
        empty_images: also learn from photos without labelled people.
    """

    annotations: Annotations
    augment: Augment
    seed: int = 0
    copy_paste: float = 0.0
    empty_images: bool = False

    @property
    def skeleton(self) -> Skeleton:
        """The joints of all images."""
        return self.annotations.skeleton

    @functools.cached_property
    def _records(self) -> tuple[Record, ...]:
        return tuple(r for r in self.annotations.records if self.empty_images or len(r.keypoints))

    @functools.cached_property
    def _donors(self) -> tuple[Record, ...]:
        return tuple(r for r in self.annotations.records if len(r.keypoints))

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, draw: Draw) -> Sample:
        rng = np.random.default_rng((self.seed, draw.epoch, draw.position))
        sample = load_sample(self._records[draw.position])
        if self._donors and rng.random() < self.copy_paste:
            donor = self._donors[rng.integers(len(self._donors))]
            outlines = [
                None if outline is None else decode_outline(outline, donor.width, donor.height)
                for outline in donor.outlines
            ]
            sample = paste_people(sample, load_sample(donor), outlines, self.skeleton.edges, rng)
        return self.augment(sample, self.skeleton.flip_indices, rng)

    def name(self, index: int) -> str:
        """What to call image `index` in a message."""
        return str(self._records[index].path)


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnTraining:
    """Drawn crowds, new ones in every epoch.

    Attributes:
        crowd: how hard the images are.
        length: images in an epoch.
        augment: further augmentation; None takes the images as they are drawn.
        seed: with epoch and index, what all randomness comes from.
        repeat: epochs in which the same drawings come again (augmented anew, if at all).
    """

    crowd: Crowd
    length: int
    augment: Augment | None = None
    seed: int = 0
    repeat: int = 1
    skeleton: Skeleton = COCO

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, draw: Draw) -> Sample:
        # Evaluation draws from (a, b), and numpy takes (a, b, 0) for the same seed: hence a fourth
        # number.
        seed = (self.seed, draw.epoch // self.repeat, draw.position, 2)
        scene = draw_scene(self.crowd, np.random.default_rng(seed))
        sample = Sample(scene.image, scene.keypoints, known_pixels(scene))
        if self.augment is None:
            return sample
        return self.augment(
            sample,
            self.skeleton.flip_indices,
            np.random.default_rng((self.seed, draw.epoch, draw.position, 1)),
        )

    def name(self, index: int) -> str:
        """What to call image `index` in a message."""
        return f"drawn image {index} of seed {self.seed}"


@dataclasses.dataclass(frozen=True, eq=False)
class Together:
    """Several training sets as one, each repeated as often as wanted.

    Attributes:
        parts: the sets; all of one skeleton.
        shares: how often each is seen in an epoch, whole numbers.
    """

    parts: Sequence[TrainingSet]
    shares: Sequence[int]

    def __post_init__(self) -> None:
        if any(part.skeleton != self.skeleton for part in self.parts):
            raise ValueError(
                f"training sets of different joints: {[part.skeleton.keypoints for part in self.parts]}"
            )

    @property
    def skeleton(self) -> Skeleton:
        """The joints of all images."""
        return self.parts[0].skeleton

    def __len__(self) -> int:
        return sum(share * len(part) for part, share in zip(self.parts, self.shares, strict=True))

    def __getitem__(self, draw: Draw) -> Sample:
        part, turn, index = self._find(draw.position)
        share = self.shares[self.parts.index(part)]
        return part[Draw(draw.epoch * share + turn, index)]

    def name(self, index: int) -> str:
        """As its own set calls it."""
        part, _, index = self._find(index)
        return part.name(index)

    def _find(self, index: int) -> tuple[TrainingSet, int, int]:
        """The set that an index falls into, how often it has been through, and the index within."""
        for part, share in zip(self.parts, self.shares, strict=True):
            if index < share * len(part):
                return part, index // len(part), index % len(part)
            index -= share * len(part)
        raise IndexError(f"there are {len(self)} samples")


def read_image(record: Record) -> UInt8[np.ndarray, "H W 3"]:
    """Read a photo as it is stored: annotations refer to the stored pixels, unless only the turned ones fit.

    Raises:
        ValueError: it cannot be read, or is of another size than the annotations say.
    """
    data, size = record.path.read_bytes(), (record.height, record.width)
    try:
        image = decode(data, exif=False)
        if image.shape[:2] == size[::-1] != size:
            image = decode(data)  # annotated as its EXIF orientation shows it
    except DecodingError as error:
        raise ValueError(f"{record.path}: {error}") from error
    if image.shape[:2] != size:
        raise ValueError(
            f"{record.path} has {image.shape[1]} x {image.shape[0]} pixels, "
            f"but image {record.image_id} is annotated as {record.width} x {record.height}"
        )
    return image


def load_sample(record: Record) -> Sample:
    """A photo with its people."""
    return Sample(read_image(record), record.keypoints, record.mask())


def known_pixels(scene: Scene) -> Bool[np.ndarray, "H W"]:
    """False on people who show too little to be labelled."""
    unlabelled = np.flatnonzero((scene.keypoints[..., 2] == 0).all(1)) + 1
    return ~np.isin(scene.owner, unlabelled)
