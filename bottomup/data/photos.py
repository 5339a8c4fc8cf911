"""Annotated photos: sources of training samples, and an evaluation set."""

import dataclasses
import functools
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8

from bottomup.data.checks import MAX_LISTED
from bottomup.data.coco import Annotations, Record
from bottomup.data.copy_paste import paste_people
from bottomup.data.headers import REMEDY, Missing, PhotoError, check_size
from bottomup.data.outlines import decode_outline
from bottomup.data.samples import EvaluationImage, LabelledImage
from bottomup.images.decoding import DecodingError, decode
from bottomup.skeleton import Skeleton

T = TypeVar("T")

log = logging.getLogger(__name__)


class PhotoFiles:
    """The files of photos, and which of them turn out to be broken when they are decoded.

    Processes that load samples share this knowledge with the one that has started them.

    Args:
        records: the photos.
        missing: what to do about broken ones: "error", or "skip" to go on without them.
    """

    def __init__(self, records: Sequence[Record], missing: Missing = "error"):
        self.records, self.missing = records, missing
        self._broken = torch.zeros(len(records), dtype=torch.bool).share_memory_()
        self._told = torch.zeros(len(records), dtype=torch.bool)

    def read(self, index: int) -> UInt8[np.ndarray, "H W 3"] | None:
        """A photo as `read_image` gives it; None if it is broken, and `missing` is "skip".

        Raises:
            PhotoError: it is broken, and `missing` is "error".
        """
        if self.is_broken(index):
            return None
        try:
            return read_image(self.records[index])
        except PhotoError:
            self._broken[index] = True
            if self.missing == "error":
                raise
        return None

    def read_labelled(self, index: int) -> LabelledImage | None:
        """The same with the people of the photo."""
        image, record = self.read(index), self.records[index]
        if image is None:
            return None
        return LabelledImage(image, record.keypoints, record.mask(), record.boxes)

    def is_broken(self, index: int) -> bool:
        """Whether any process has found it to be broken."""
        return bool(self._broken[index])

    @property
    def num_broken(self) -> int:
        """How many photos have turned out to be broken."""
        return int(self._broken.sum())

    def watch(self, batches: Iterable[T]) -> Iterator[T]:
        """Batches made of these photos; each photo that is left out is told once.

        Raises:
            ValueError: there are broken photos, and `missing` is "error", or nothing else is left.
        """
        try:
            for batch in batches:
                self._tell()
                yield batch
            self._tell()
        except PhotoError as error:  # of a worker, with all its calls
            error.__traceback__ = None  # else a cycle of references holds the loader's workers
            complaints = "\n".join(self._complaints(self._broken))
            raise ValueError(f"{complaints}\n{REMEDY}") from None

    def _tell(self) -> None:
        new = self._broken & ~self._told
        if self.missing == "skip" and new.any():
            self._told |= new
            for complaint in self._complaints(new):
                log.warning("left out: %s", complaint)

    def _complaints(self, chosen: torch.Tensor) -> Iterator[str]:
        for index in chosen.nonzero()[:, 0].tolist()[:MAX_LISTED]:
            try:
                read_image(self.records[index])
            except PhotoError as error:
                yield str(error)


@dataclasses.dataclass(frozen=True, eq=False)
class Photos:
    """Photos with all their people, or with one person at a time; a `Source`.

    Attributes:
        annotations: the photos and their people.
        empty_images: whether to include photos without labelled people.
        one_person: whether each position is one person of a photo, not all of them. People whose
            box has no area are left out.
        missing: what to do about broken photos: "error", or "skip" to take the next one instead.
    """

    annotations: Annotations
    empty_images: bool = False
    one_person: bool = False
    missing: Missing = "error"

    @functools.cached_property
    def files(self) -> PhotoFiles:
        """The files of the photos."""
        return PhotoFiles(self.annotations.records, self.missing)

    @property
    def skeleton(self) -> Skeleton:
        """The joints of all people."""
        return self.annotations.skeleton

    @functools.cached_property
    def _entries(self) -> tuple[tuple[str, int, slice], ...]:
        """The name, the index of the photo and the slice of its people at each position."""
        records = tuple(enumerate(self.annotations.records))
        if not self.one_person:
            return tuple(
                (str(record.path), index, slice(None))
                for index, record in records
                if self.empty_images or len(record.keypoints)
            )
        return tuple(
            (f"{record.path}, person {i + 1}", index, slice(i, i + 1))
            for index, record in records
            for i, box in enumerate(record.boxes)
            if (box[2:] > box[:2]).all()
        )

    def _from(self, position: int) -> Iterator[tuple[str, int, slice]]:
        """All entries, from a position on and then from the start."""
        for turn in range(len(self)):
            yield self._entries[(position + turn) % len(self)]

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, position: int, rng: np.random.Generator) -> LabelledImage:
        """Read a photo; `rng` is not used.

        Raises:
            PhotoError: it is broken and not to be skipped, or all photos are broken.
        """
        for _, index, people in self._from(position):
            photo = self.files.read_labelled(index)
            if photo is not None:
                return photo._replace(keypoints=photo.keypoints[people], boxes=photo.boxes[people])
        raise PhotoError("all photos are broken")

    def name(self, position: int, seed: int) -> str:
        """The path of a photo and, with `one_person`, the number of the person."""
        names = (name for name, index, _ in self._from(position) if not self.files.is_broken(index))
        return next(names, self._entries[position][0])


@dataclasses.dataclass(frozen=True, eq=False)
class PastedPhotos(Photos):
    """Photos into which people of other photos are pasted; a `Source`.

    Attributes:
        probability: the share of photos into which people are pasted.
    """

    probability: float = 0.0

    # the photos whose people can be pasted
    @functools.cached_property
    def _donors(self) -> tuple[int, ...]:
        records = enumerate(self.annotations.records)
        return tuple(index for index, record in records if len(record.keypoints))

    def load(self, position: int, rng: np.random.Generator) -> LabelledImage:
        """Read a photo, and paste people of another photo into it with `probability`.

        Raises:
            PhotoError: as in `Photos`.
        """
        photo = super().load(position, rng)
        if not self._donors or rng.random() >= self.probability:
            return photo
        index = self._donors[rng.integers(len(self._donors))]
        record, donor = self.annotations.records[index], self.files.read_labelled(index)
        if donor is None:
            return photo
        outlines = [
            None if outline is None else decode_outline(outline, record.width, record.height)
            for outline in record.outlines
        ]
        return paste_people(photo, donor, outlines, self.skeleton.edges, rng)


class PhotoEvaluation:
    """Photos to evaluate on, without augmentation.

    Args:
        annotations: the photos and their people.
        missing: what to do about broken photos: "error", or "skip" to leave them out.
    """

    def __init__(self, annotations: Annotations, missing: Missing = "error"):
        self.annotations, self.files = annotations, PhotoFiles(annotations.records, missing)
        self.skeleton, self.category_id = annotations.skeleton, annotations.category_id

    def __len__(self) -> int:
        return len(self.annotations.records)

    def __getitem__(self, index: int) -> EvaluationImage | None:
        """A photo; None if it is left out."""
        image = self.files.read(index)
        if image is None:
            return None
        return EvaluationImage(self.annotations.records[index].image_id, image)

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
        PhotoError: the file is not a usable image, or its size differs from the annotated one.
    """
    try:
        data, size = record.path.read_bytes(), (record.height, record.width)
        suffix = record.path.suffix
        image = decode(data, exif=False, suffix=suffix)
        if image.shape[:2] == size[::-1] != size:
            image = decode(data, suffix=suffix)
    except (OSError, DecodingError) as error:
        raise PhotoError(f"{record.path}: {getattr(error, 'strerror', None) or error}") from error
    check_size(record, image.shape[1::-1])
    return image
