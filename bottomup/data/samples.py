"""Labelled images, training samples made from them, batches, and images to evaluate on.

A training set combines a source of labelled images with an augmentation. A sample depends only on
(seed, epoch, position), so neither the number of workers nor a restart changes it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bottomup.skeleton import Skeleton


class LabelledImage(NamedTuple):
    """An image with its N people, as a source gives it, or augmented as a sample to train on.

    All samples of a training set have the same size.

    Attributes:
        image: (H, W, 3) RGB.
        keypoints: (N, K, 3) x, y in pixels of the image, and visibility: 0 unlabelled, 1 hidden,
            2 visible.
        mask: (H, W), False in ignored regions: crowds, people without keypoints.
        boxes: (N, 4) x0, y0, x1, y1 of these people, in pixels; without area where none is known.
    """

    image: UInt8[np.ndarray, "H W 3"]
    keypoints: Float[np.ndarray, "N K 3"]
    mask: Bool[np.ndarray, "H W"]
    boxes: Float[np.ndarray, "N 4"]


class Batch(NamedTuple):
    """Stacked samples; N is the most people of an image, and rows of zeros are padding."""

    image: UInt8[Tensor, "B 3 H W"]
    keypoints: Float[Tensor, "B N K 3"]
    mask: Bool[Tensor, "B H W"]
    boxes: Float[Tensor, "B N 4"]


def collate(samples: list[LabelledImage]) -> Batch:
    """Stack samples of equal size."""
    return Batch(
        torch.from_numpy(np.stack([sample.image.transpose(2, 0, 1) for sample in samples])),
        pad_sequence([torch.from_numpy(sample.keypoints) for sample in samples], batch_first=True),
        torch.from_numpy(np.stack([sample.mask for sample in samples])),
        pad_sequence([torch.from_numpy(sample.boxes).float() for sample in samples], True),
    )


class Draw(NamedTuple):
    """Which sample to make: a position in the training set, augmented anew in every epoch."""

    epoch: int
    position: int


@runtime_checkable
class Source(Protocol):
    """Labelled images by position."""

    @property
    def skeleton(self) -> Skeleton:
        """The joints of all images."""
        ...

    def __len__(self) -> int: ...

    def load(self, position: int, rng: np.random.Generator, /) -> LabelledImage:
        """Read or draw an image; `rng` is the only source of randomness."""
        ...

    def name(self, position: int, seed: int, /) -> str:
        """The name of an image in messages, for a training set with this seed."""
        ...


Augmentation = Callable[[LabelledImage, Sequence[int], np.random.Generator], LabelledImage]
"""Makes a sample from a labelled image, K `Skeleton.flip_indices` and a random generator."""


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """A training set: a source with an augmentation.

    Attributes:
        source: where the labelled images come from.
        augmentation: turns them into samples; None: images of equal size are used unchanged.
        seed: seeds all random numbers, together with the `Draw` and a stream.
        stream: a number that makes random numbers differ from those of other sets with the same
            seed; the sets of this package use 0 to 6.
        augmentation_stream: the same for the augmentation; None: it shares the generator of the
            source.
        repeat: for so many epochs, the source gives the same images before they change.
    """

    source: Source
    augmentation: Augmentation | None
    seed: int = 0
    stream: int = 0
    augmentation_stream: int | None = None
    repeat: int = 1

    @property
    def skeleton(self) -> Skeleton:
        """The joints of all samples."""
        return self.source.skeleton

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, draw: Draw) -> LabelledImage:
        epoch, position = draw
        rng = np.random.default_rng((self.seed, epoch // self.repeat, position, self.stream))
        image = self.source.load(position, rng)
        if self.augmentation is None:
            return image
        if self.augmentation_stream is not None:
            rng = np.random.default_rng((self.seed, epoch, position, self.augmentation_stream))
        return self.augmentation(image, self.skeleton.flip_indices, rng)

    def name(self, position: int) -> str:
        """The name of a sample in messages."""
        return self.source.name(position, self.seed)


@dataclasses.dataclass(frozen=True, eq=False)
class Together:
    """Several training sets as one.

    Attributes:
        parts: the sets, all of the same skeleton.
        shares: how many times an epoch goes through each of them.

    Raises:
        ValueError: the skeletons differ.
    """

    parts: Sequence[Samples]
    shares: Sequence[int]

    def __post_init__(self) -> None:
        if any(part.skeleton != self.skeleton for part in self.parts):
            raise ValueError(
                "training sets of different joints: "
                f"{[part.skeleton.keypoints for part in self.parts]}"
            )

    @property
    def skeleton(self) -> Skeleton:
        """The joints of all samples."""
        return self.parts[0].skeleton

    def __len__(self) -> int:
        return sum(share * len(part) for part, share in zip(self.parts, self.shares, strict=True))

    def __getitem__(self, draw: Draw) -> LabelledImage:
        part, share, turn, position = self._find(draw.position)
        # every turn through a part is a new epoch of that part
        return part[Draw(draw.epoch * share + turn, position)]

    def name(self, position: int) -> str:
        """The name of a sample in messages."""
        part, _, _, position = self._find(position)
        return part.name(position)

    def _find(self, position: int) -> tuple[Samples, int, int, int]:
        """The part, its share, the turn through it in this epoch, and the position within it."""
        for part, share in zip(self.parts, self.shares, strict=True):
            if position < share * len(part):
                return part, share, *divmod(position, len(part))
            position -= share * len(part)
        raise IndexError(f"there are {len(self)} samples")


class EvaluationImage(NamedTuple):
    """An image to evaluate on: its id in the annotation file, and RGB pixels."""

    image_id: int
    image: UInt8[np.ndarray, "H W 3"]
