"""Files in COCO's format: keypoint annotations of COCO, CrowdPose or other joints, and results."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from bottomup.data import checks
from bottomup.data.outlines import decode_outline
from bottomup.files import read_json
from bottomup.skeleton import Skeleton

BOX_TO_AREA = 0.53  # mean share of its box that a person fills; used if the area is missing

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
    """A checked annotation file.

    Attributes:
        path: the file.
        category_id: the category of its people.
        skeleton: their joints.
        records: the images whose files exist, by ascending id.
        raw: the content of the file.
    """

    path: Path
    category_id: int
    skeleton: Skeleton
    records: tuple[Record, ...]
    raw: dict[str, Any]


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
    raw, category, skeleton = _read_category(path, sigmas, flip_pairs)
    _check(path, raw, category["id"], skeleton.num_keypoints)

    # the people of each image, in the order of the file
    people: dict[int, list[dict[str, Any]]] = {}
    for person in raw["annotations"]:
        if person["category_id"] == category["id"]:
            people.setdefault(person["image_id"], []).append(person)
    records = [
        _record(info, people.get(info["id"], []), Path(images), skeleton.num_keypoints)
        for info in sorted(raw["images"], key=lambda info: info["id"])
    ]

    absent = {record.image_id: record.path for record in records if not record.path.is_file()}
    if absent:
        _report_absent([*absent.values()], len(records), missing)
    present = tuple(record for record in records if record.image_id not in absent)
    return Annotations(Path(path), category["id"], skeleton, present, raw)


def read_skeleton(path: str | Path, sigmas: tuple[float, ...] | None = None) -> Skeleton:
    """The joints that an annotation file names.

    Raises:
        ValueError: the file is not a keypoint file.
    """
    return _read_category(path, sigmas)[2]


def read_raw(source: str | Path | dict[str, Any], *lists: str) -> dict[str, Any]:
    """The content of an annotation file.

    Args:
        source: the file, or its content.
        lists: the lists that it must have, of "images", "annotations" and "categories".

    Raises:
        ValueError: the file cannot be read, or lacks a list.
    """
    raw, name = _read(source, "annotations"), _name(source, "annotations")
    if not isinstance(raw, dict):
        raise ValueError(
            f"{name} holds a {type(raw).__name__}, not annotations: is it a results file?"
        )
    for key in lists:
        if not isinstance(raw.get(key), list):
            raise ValueError(f"{name} has no list {key!r}: is it a COCO keypoint file?")
    return raw


def read_results(source: str | Path | list[Any], what: str = "results") -> list[Any]:
    """The content of a results file.

    Args:
        source: the file, or its content.
        what: what the file should hold, for messages.

    Raises:
        ValueError: the file cannot be read, or is not a list.
    """
    content = _read(source, what)
    if not isinstance(content, list):
        raise ValueError(
            f"{_name(source, what)} holds a {type(content).__name__}, not a list of results: "
            "is it an annotation file?"
        )
    return content


def keypoint_category(
    categories: list[dict[str, Any]], source: str | Path | dict[str, Any]
) -> dict[str, Any]:
    """The one category that names keypoints.

    Args:
        categories: of an annotation file.
        source: the file, or its content.

    Raises:
        ValueError: no category names keypoints, or more than one.
    """
    found = [category for category in categories if category.get("keypoints")]
    if len(found) != 1:
        raise ValueError(
            f"{_name(source, 'annotations')} needs one category that names keypoints, and has "
            f"{len(found)} among {[category.get('name') for category in categories]}: "
            "keep one in a copy of the file"
        )
    return found[0]


def num_labelled_joints(person: dict[str, Any]) -> int:
    """How many joints of an annotated person are labelled."""
    return sum(visibility > 0 for visibility in (person.get("keypoints") or ())[2::3])


def box_around(keypoints: Float[np.ndarray, "K 3"]) -> Float[np.ndarray, " 4"]:
    """The box x0, y0, x1, y1 around the labelled joints; zeros without any."""
    points = keypoints[keypoints[:, 2] > 0, :2]
    return np.concatenate([points.min(0), points.max(0)]) if len(points) else np.zeros(4)


def box_of(person: dict[str, Any]) -> list[float]:
    """The box x, y, width, height of a person: annotated, or around its labelled joints."""
    if person.get("bbox"):
        return person["bbox"]
    keypoints = np.reshape(np.array(person.get("keypoints") or [0, 0, 0], float), (-1, 3))
    box = box_around(keypoints)
    return [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]


def corners_of(person: dict[str, Any]) -> Float[np.ndarray, " 4"]:
    """The box of `box_of` as x0, y0, x1, y1."""
    x, y, width, height = box_of(person)
    return np.array([x, y, x + width, y + height], np.float64)


def area_of(person: dict[str, Any]) -> float:
    """The area of a person in square pixels: annotated, or `BOX_TO_AREA` of its box."""
    if person.get("area") is not None:
        return person["area"]
    _, _, width, height = box_of(person)
    return BOX_TO_AREA * width * height


def _read(source: Any, what: str) -> Any:
    return read_json(source, what) if isinstance(source, str | Path) else source


def _name(source: Any, what: str) -> str:
    return f"{what} {str(source)!r}" if isinstance(source, str | Path) else what


def _read_category(
    path: str | Path,
    sigmas: tuple[float, ...] | None = None,
    flip_pairs: Sequence[Sequence[int]] | None = None,
) -> tuple[dict[str, Any], dict[str, Any], Skeleton]:
    """The content of a file, its keypoint category and the joints of this category."""
    raw = read_raw(path, "images", "annotations", "categories")
    _unique(path, "categories", raw["categories"], checks.category_faults)
    category = keypoint_category(raw["categories"], path)
    try:
        return raw, category, Skeleton.from_category(category, sigmas, flip_pairs)
    except ValueError as error:
        raise ValueError(f"{path}: category {category.get('name')!r}: {error}") from error


# check every entry; warn about people whose num_keypoints is wrong
def _check(path: str | Path, raw: dict[str, Any], category_id: int, num_keypoints: int) -> None:
    person_faults = functools.partial(
        checks.person_faults,
        images=_unique(path, "images", raw["images"], checks.image_faults),
        categories={category["id"] for category in raw["categories"]},
        category_id=category_id,
        num_keypoints=num_keypoints,
    )
    people = _unique(path, "annotations", raw["annotations"], person_faults).values()

    # num_keypoints is 0 although joints are labelled, or above 0 although none is
    odd = [
        person["id"]
        for person in people
        if person["category_id"] == category_id
        and person.get("num_keypoints") is not None
        and (person["num_keypoints"] > 0) != (num_labelled_joints(person) > 0)
    ]
    if odd:
        log.warning(
            "%s: num_keypoints contradicts the labelled joints of %d annotations (the first ones "
            "have the ids %s): training goes by the joints, average precision by num_keypoints",
            *(path, len(odd), ", ".join(map(str, odd[:5]))),
        )


def _unique(
    path: str | Path, key: str, entries: list[Any], faults_of: Callable[[Any], Iterator[str]]
) -> dict[int, dict[str, Any]]:
    """The entries of a list by their ids, after a check of each entry.

    Raises:
        ValueError: an entry has a fault, or the id of an earlier one.
    """
    by_id: dict[int, dict[str, Any]] = {}
    for position, entry in enumerate(entries):
        fault = next(faults_of(entry), None)
        if not fault and entry["id"] in by_id:
            fault = f"{key}[{[*by_id].index(entry['id'])}] has the same id"
        if fault:
            name = f" (id {entry.get('id')})" if isinstance(entry, dict) else ""
            raise ValueError(f"{path}: {key}[{position}]{name}: {fault}")
        by_id[entry["id"]] = entry
    return by_id


def _record(
    info: dict[str, Any], people: list[dict[str, Any]], images: Path, num_keypoints: int
) -> Record:
    """An image with its people; crowds and people without keypoints become ignored regions."""
    labelled, ignored = [], []
    for person in people:
        is_usable = not person.get("iscrowd") and num_labelled_joints(person) > 0
        (labelled if is_usable else ignored).append(person)
    return Record(
        info["id"],
        images / info["file_name"],
        info["width"],
        info["height"],
        np.array([p["keypoints"] for p in labelled], np.float32).reshape(-1, num_keypoints, 3),
        np.array([corners_of(p) for p in labelled]).reshape(-1, 4),
        tuple(p.get("segmentation") or None for p in labelled),
        tuple(filter(None, (p.get("segmentation") or p.get("bbox") for p in ignored))),
    )


def _report_absent(absent: list[Path], total: int, missing: str) -> None:
    listed = "\n  ".join(map(str, absent[:20]))
    more = f"\n  and {len(absent) - 20} more" if len(absent) > 20 else ""
    text = f"{len(absent)} of {total} images are missing:\n  {listed}{more}"
    if missing == "error":
        raise FileNotFoundError(
            f"{text}\nadd them, or pass --data.missing skip to go on without them"
        )
    log.warning("%s", text)
