"""Annotated images: a keypoint file in COCO's format, and the folder of its images."""

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from bottomup.data.checks import listed
from bottomup.data.keypoint_files import read_keypoints
from bottomup.data.outlines import decode_outline
from bottomup.data.people import corners_of, num_labelled_joints
from bottomup.skeleton import Skeleton

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """One image of an annotation file.

    Attributes:
        image_id: its id in the file.
        path: the image file.
        width: pixels.
        height: pixels.
        keypoints: (N, K, 3) x, y and visibility of the people with at least one labelled joint.
        boxes: (N, 4) x0, y0, x1, y1 of these people.
        outlines: the segmentation of each of them (polygons or RLE), None if the file has none.
        ignored: segmentations, or boxes x, y, w, h, of crowds and of people without keypoints.
    """

    image_id: int
    path: Path
    width: int
    height: int
    keypoints: Float[np.ndarray, "N K 3"]
    boxes: Float[np.ndarray, "N 4"]
    outlines: tuple[Any, ...]
    ignored: tuple[Any, ...]

    def mask(self) -> Bool[np.ndarray, "H W"]:
        """False in ignored regions."""
        mask = np.ones((self.height, self.width), bool)
        for outline in self.ignored:
            mask &= ~decode_outline(outline, self.width, self.height)
        return mask


@dataclasses.dataclass(frozen=True, eq=False)
class Annotations:
    """A checked annotation file, and where its images are.

    Attributes:
        path: the file.
        category_id: the category of its people.
        skeleton: their joints.
        records: the images whose files exist, by ascending id.
        raw: the content of `KeypointFile`, in COCO's format.
    """

    path: Path
    category_id: int
    skeleton: Skeleton
    records: tuple[Record, ...]
    raw: dict[str, Any]

    @property
    def has_people(self) -> bool:
        """Whether an image has people with labelled joints."""
        return any(len(record.keypoints) for record in self.records)


def read_annotations(
    path: str | Path,
    images: str | Path,
    *,
    missing: str = "error",
    sigmas: tuple[float, ...] | None = None,
    flip_pairs: Sequence[Sequence[int]] | None = None,
) -> Annotations:
    """Read and check an annotation file.

    Args:
        path: a JSON file with images, annotations and a category that names keypoints.
        images: the folder that the file names are relative to.
        missing: what to do about images that do not exist: "error" or "skip". Both list them.
        sigmas: OKS tolerances of the joints; None: see `Skeleton.from_category`.
        flip_pairs: pairs that change places in a mirror; None: see `Skeleton.from_category`.

    Raises:
        ValueError: the file is not a keypoint file (the message names the entry), or `missing` is
            neither "error" nor "skip".
        FileNotFoundError: with `missing="error"`, an image does not exist.
    """
    if missing not in ("error", "skip"):
        raise ValueError(f"missing must be 'error' or 'skip', not {missing!r}")
    file = read_keypoints(path, sigmas, flip_pairs)

    # the people of each image, in the order of the file
    people: dict[int, list[dict[str, Any]]] = {}
    for person in file.people:
        people.setdefault(person["image_id"], []).append(person)
    records = [
        _record(info, people.get(image_id, []), Path(images), file.skeleton.num_keypoints)
        for image_id, info in sorted(file.images.items())
    ]

    absent = {record.image_id: record.path for record in records if not os.path.isfile(record.path)}
    if absent:
        _report_absent([*absent.values()], len(records), missing)
    present = tuple(record for record in records if record.image_id not in absent)
    return Annotations(Path(path), file.category["id"], file.skeleton, present, file.raw)


def _record(
    info: dict[str, Any], people: list[dict[str, Any]], images: Path, num_keypoints: int
) -> Record:
    """An image with its people; crowds and people without keypoints become ignored regions."""
    labelled, ignored = [], []
    for person in people:
        is_usable = not person["iscrowd"] and num_labelled_joints(person) > 0
        (labelled if is_usable else ignored).append(person)
    return Record(
        info["id"],
        images / info["file_name"],
        info["width"],
        info["height"],
        np.array([p["keypoints"] for p in labelled], np.float32).reshape(-1, num_keypoints, 3),
        np.array([corners_of(p) for p in labelled]).reshape(-1, 4),
        tuple(p.get("segmentation") or None for p in labelled),
        tuple(p.get("segmentation") or p["bbox"] for p in ignored),
    )


def _report_absent(absent: list[Path], total: int, missing: str) -> None:
    text = listed(f"{len(absent)} of {total} images are missing:", [*map(str, absent)])
    if missing == "error":
        raise FileNotFoundError(
            f"{text}\nadd them, or pass --data.missing skip to go on without them"
        )
    log.warning("%s", text)
