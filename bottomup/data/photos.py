"""Annotated photos: sources of training samples, and an evaluation set."""

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import UInt8

from bottomup.data.coco import Annotations, Record
from bottomup.data.copy_paste import paste_people
from bottomup.data.outlines import decode_outline
from bottomup.data.samples import EvaluationImage, LabelledImage
from bottomup.images.decoding import DecodingError, decode
from bottomup.skeleton import Skeleton


@dataclasses.dataclass(frozen=True, eq=False)
class Photos:
    """Photos with all their people, or with one person at a time; a `Source`.

    Attributes:
        annotations: the photos and their people.
        empty_images: whether to include photos without labelled people.
        one_person: whether each position is one person of a photo, not all of them. People whose
            box has no area are left out.
    """

    annotations: Annotations
    empty_images: bool = False
    one_person: bool = False

    @property
    def skeleton(self) -> Skeleton:
        """The joints of all people."""
        return self.annotations.skeleton

    @functools.cached_property
    def _entries(self) -> tuple[tuple[str, Record, slice], ...]:
        """The name, the photo and the slice of its people at each position."""
        records = self.annotations.records
        if not self.one_person:
            return tuple(
                (str(record.path), record, slice(None))
                for record in records
                if self.empty_images or len(record.keypoints)
            )
        return tuple(
            (f"{record.path}, person {i + 1}", record, slice(i, i + 1))
            for record in records
            for i, box in enumerate(record.boxes)
            if (box[2:] > box[:2]).all()
        )

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, position: int, rng: np.random.Generator) -> LabelledImage:
        """Read a photo; `rng` is not used.

        Raises:
            ValueError: as in `read_image`.
        """
        _, record, people = self._entries[position]
        photo = read_labelled(record)
        return photo._replace(keypoints=photo.keypoints[people], boxes=photo.boxes[people])

    def name(self, position: int, seed: int) -> str:
        """The path of a photo and, with `one_person`, the number of the person."""
        return self._entries[position][0]


@dataclasses.dataclass(frozen=True, eq=False)
class PastedPhotos(Photos):
    """Photos into which people of other photos are pasted; a `Source`.

    Attributes:
        probability: the share of photos into which people are pasted.
    """

    probability: float = 0.0

    # the photos whose people can be pasted
    @functools.cached_property
    def _donors(self) -> tuple[Record, ...]:
        return tuple(record for record in self.annotations.records if len(record.keypoints))

    def load(self, position: int, rng: np.random.Generator) -> LabelledImage:
        """Read a photo, and paste people of another photo into it with `probability`.

        Raises:
            ValueError: as in `read_image`.
        """
        photo = super().load(position, rng)
        if not self._donors or rng.random() >= self.probability:
            return photo
        donor = self._donors[rng.integers(len(self._donors))]
        outlines = [
            None if outline is None else decode_outline(outline, donor.width, donor.height)
            for outline in donor.outlines
        ]
        return paste_people(photo, read_labelled(donor), outlines, self.skeleton.edges, rng)


class PhotoEvaluation:
    """Photos to evaluate on, without augmentation.

    Args:
        annotations: the photos and their people.
    """

    def __init__(self, annotations: Annotations):
        self.annotations = annotations
        self.skeleton, self.category_id = annotations.skeleton, annotations.category_id

    def __len__(self) -> int:
        return len(self.annotations.records)

    def __getitem__(self, index: int) -> EvaluationImage:
        record = self.annotations.records[index]
        return EvaluationImage(record.image_id, read_image(record))

    def ground_truth(self, image_ids: set[int]) -> dict[str, Any]:
        """The content of the annotation file for some of the images."""
        raw = self.annotations.raw
        return {
            "images": [info for info in raw["images"] if info["id"] in image_ids],
            "annotations": [
                person for person in raw["annotations"] if person["image_id"] in image_ids
            ],
            "categories": raw["categories"],
        }


def read_image(record: Record) -> UInt8[np.ndarray, "H W 3"]:
    """Read a photo in the orientation of its annotations.

    This is the orientation of the stored pixels. Only if their height and width are swapped against
    the annotated size, the EXIF orientation is applied.

    Raises:
        ValueError: the file is not a usable image, or its size differs from the annotated one.
        OSError: the file cannot be read.
    """
    data, size = record.path.read_bytes(), (record.height, record.width)
    try:
        image = decode(data, exif=False)
        if image.shape[:2] == size[::-1] != size:
            image = decode(data)
    except DecodingError as error:
        raise ValueError(f"{record.path}: {error}") from error
    if image.shape[:2] != size:
        raise ValueError(
            f"{record.path} has {image.shape[1]} x {image.shape[0]} pixels, "
            f"but image {record.image_id} is annotated as {record.width} x {record.height}"
        )
    return image


def read_labelled(record: Record) -> LabelledImage:
    """Read a photo with its people; errors as in `read_image`."""
    return LabelledImage(read_image(record), record.keypoints, record.mask(), record.boxes)
