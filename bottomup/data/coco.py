"""Reading keypoint annotations in COCO's format: COCO, CrowdPose and files with joints of their own."""

import contextlib
import dataclasses
import io
import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float
from pycocotools import mask as masks
from pycocotools.coco import COCO

from bottomup.data import checks as faults
from bottomup.skeleton import Skeleton

log = logging.getLogger(__name__)


class AnnotationError(ValueError):
    """An annotation file does not say what it should; the message names the entry."""


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """One image of an annotation file.

    Attributes:
        image_id: its id in the file.
        path: where the image lies.
        width: pixels.
        height: pixels.
        keypoints: (N, K, 3) of the people with at least one labelled joint.
        boxes: (N, 4) x0, y0, x1, y1 of these people; around the labelled joints where the file has
            none.
        outlines: for each of them its polygons or run lengths, None where the file has none.
        unknown: outlines, or boxes x, y, w, h, of crowds and of people without keypoints.
    """

    image_id: int
    path: Path
    width: int
    height: int
    keypoints: Float[np.ndarray, "N K 3"]
    boxes: Float[np.ndarray, "N 4"]
    outlines: tuple[Any, ...]
    unknown: tuple[Any, ...]

    def mask(self) -> Bool[np.ndarray, "H W"]:
        """False in the unknown regions."""
        known = np.ones((self.height, self.width), bool)
        for outline in self.unknown:
            known &= ~decode_outline(outline, self.width, self.height)
        return known


@dataclasses.dataclass(frozen=True, eq=False)
class Annotations:
    """A checked annotation file.

    Attributes:
        path: the file.
        category_id: of its people.
        skeleton: what they are made of.
        records: its images that exist, in the order of their ids.
        raw: the file's content, as evaluation needs it.
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
) -> Annotations:
    """Read and check an annotation file.

    Args:
        path: a JSON file with images, annotations and a category that names keypoints.
        images: the folder that the file names are relative to.
        missing: what to do about images that are not there: "error" or "skip". Both list them
            first.
        sigmas: OKS tolerances of the joints; None: see `Skeleton.from_category`.

    Raises:
        AnnotationError: the file is not such a file; the message names the entry.
        FileNotFoundError: the file, or with `missing="error"` an image, is not there.
    """
    if missing not in ("error", "skip"):
        raise ValueError(f"missing must be 'error' or 'skip', not {missing!r}")
    path, images = Path(path), Path(images)
    raw = _load(path)
    category = _keypoint_category(path, raw)
    skeleton = _skeleton(path, category, sigmas)
    _check(path, raw, category["id"], skeleton.num_keypoints)
    with contextlib.redirect_stdout(io.StringIO()):
        index = COCO()
        index.dataset = cast(Any, raw)
        index.createIndex()
    people: dict[int, list[Any]] = cast(Any, index.imgToAnns)
    records = [
        _record(info, people.get(info["id"], []), images, category["id"], skeleton.num_keypoints)
        for info in sorted(raw["images"], key=lambda info: info["id"])
    ]
    absent = [record.path for record in records if not record.path.is_file()]
    _report(absent, len(records), missing)
    lost = set(absent)
    present = tuple(record for record in records if record.path not in lost)
    return Annotations(path, category["id"], skeleton, present, raw)


def read_skeleton(path: str | Path, sigmas: tuple[float, ...] | None = None) -> Skeleton:
    """The joints that an annotation file is about.

    Raises:
        AnnotationError: the file names none.
        FileNotFoundError: the file is not there.
    """
    return _skeleton(Path(path), _keypoint_category(Path(path), _load(Path(path))), sigmas)


def decode_outline(outline: Any, width: int, height: int) -> Bool[np.ndarray, "H W"]:
    """Pixels inside an outline: polygons, run lengths (either kind) or a box x, y, w, h."""
    if isinstance(outline, dict) or isinstance(outline[0], list):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools' own, about numpy
            return _decode_runs(cast(Any, outline), width, height)
    inside = np.zeros((height, width), bool)
    x, y, wide, high = outline
    inside[
        max(int(y), 0) : max(int(np.ceil(y + high)), 0),
        max(int(x), 0) : max(int(np.ceil(x + wide)), 0),
    ] = True
    return inside


def _decode_runs(outline: Any, width: int, height: int) -> Bool[np.ndarray, "H W"]:
    if isinstance(outline, list):
        areas = [polygon for polygon in outline if len(polygon) >= 6]  # two points hold no area
        if not areas:
            return np.zeros((height, width), bool)
        return masks.decode(masks.merge(masks.frPyObjects(areas, height, width))).astype(bool)
    compressed = not isinstance(outline["counts"], list)
    return masks.decode(
        outline if compressed else masks.frPyObjects(outline, height, width)
    ).astype(bool)


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no annotation file {path}")
    try:
        raw = json.loads(path.read_bytes())
    except ValueError as error:
        raise AnnotationError(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise AnnotationError(
            f"{path} holds a {type(raw).__name__}, not annotations: is it a results file?"
        )
    for key in ("images", "annotations", "categories"):
        if not isinstance(raw.get(key), list):
            raise AnnotationError(
                f"{path} has no list {key!r}: is it a COCO keypoint annotation file?"
            )
    return raw


def _keypoint_category(path: Path, raw: dict[str, Any]) -> dict[str, Any]:
    categories = _unique(path, "categories", raw["categories"], faults.category_fault).values()
    with_joints = [category for category in categories if category.get("keypoints")]
    if len(with_joints) != 1:
        names = [category.get("name") for category in categories]
        raise AnnotationError(
            f"{path} needs one category that names keypoints, and has {len(with_joints)} among {names}: "
            "leave one in a copy of the file"
        )
    return with_joints[0]


def _skeleton(path: Path, category: dict[str, Any], sigmas: tuple[float, ...] | None) -> Skeleton:
    try:
        return Skeleton.from_category(category, sigmas)
    except ValueError as error:
        raise AnnotationError(f"{path}: category {category.get('name')!r}: {error}") from error


def _check(path: Path, raw: dict[str, Any], category_id: int, num_keypoints: int) -> None:
    """Raise at the first entry that is wrong, naming it."""
    images = _unique(path, "images", raw["images"], faults.image_fault)
    categories = {category["id"] for category in raw["categories"]}

    def person_fault(person: Any) -> str | None:
        return faults.person_fault(person, images, categories, category_id, num_keypoints)

    people = _unique(path, "annotations", raw["annotations"], person_fault).values()
    odd = [p["id"] for p in people if p["category_id"] == category_id and faults.disagreement(p)]
    if odd:
        log.warning(
            "%s: num_keypoints contradicts the labelled joints of %d annotations (the first ones have the ids %s): "
            "training goes by the joints, average precision by num_keypoints",
            *(path, len(odd), ", ".join(map(str, odd[:5]))),
        )


def _unique(
    path: Path, key: str, entries: list[Any], fault_of: Callable[[Any], str | None]
) -> dict[int, dict[str, Any]]:
    """The entries of a list by their ids, each one checked."""
    known: dict[int, dict[str, Any]] = {}
    for position, entry in enumerate(entries):
        fault = fault_of(entry)
        if not fault and entry["id"] in known:
            first = next(i for i, other in enumerate(entries) if other["id"] == entry["id"])
            fault = f"{key}[{first}] has the same id"
        if fault:
            name = f" (id {entry.get('id')})" if isinstance(entry, dict) else ""
            raise AnnotationError(f"{path}: {key}[{position}]{name}: {fault}")
        known[entry["id"]] = entry
    return known


def _record(
    info: dict[str, Any], people: list[dict[str, Any]], images: Path, category_id: int, joints: int
) -> Record:
    people = [person for person in people if person["category_id"] == category_id]
    labelled, unknown = [], []
    for person in people:
        usable = not person.get("iscrowd") and any(
            v > 0 for v in (person.get("keypoints") or ())[2::3]
        )
        (labelled if usable else unknown).append(person)
    keypoints = np.array([person["keypoints"] for person in labelled], np.float32).reshape(
        -1, joints, 3
    )
    regions = (person.get("segmentation") or person.get("bbox") for person in unknown)
    return Record(
        info["id"],
        images / info["file_name"],
        info["width"],
        info["height"],
        keypoints,
        np.array(
            [_box(person, points) for person, points in zip(labelled, keypoints, strict=True)]
        ).reshape(-1, 4),
        tuple(person.get("segmentation") or None for person in labelled),
        tuple(region for region in regions if region),
    )


def _box(person: dict[str, Any], keypoints: np.ndarray) -> np.ndarray:
    """x0, y0, x1, y1 of a person."""
    if person.get("bbox"):
        x, y, width, height = person["bbox"]
        return np.array([x, y, x + width, y + height], np.float64)
    points = keypoints[keypoints[:, 2] > 0, :2].astype(np.float64)
    return np.concatenate([points.min(0), points.max(0)])


def _report(absent: list[Path], total: int, missing: str) -> None:
    if not absent:
        return
    listed = "\n  ".join(str(path) for path in absent[:20])
    more = f"\n  and {len(absent) - 20} more" if len(absent) > 20 else ""
    text = f"{len(absent)} of {total} images are missing:\n  {listed}{more}"
    if missing == "error":
        raise FileNotFoundError(
            f"{text}\nput them there, or pass --data.missing skip to go on without them"
        )
    log.warning("%s", text)
