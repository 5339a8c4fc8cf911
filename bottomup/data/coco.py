"""Reading keypoint annotations in COCO's format: COCO, CrowdPose and files with joints of their own."""

import contextlib
import dataclasses
import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float
from pycocotools import mask as masks
from pycocotools.coco import COCO

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
        outlines: for each of them its polygons or run lengths, None where the file has none.
        unknown: outlines, or boxes x, y, w, h, of crowds and of people without keypoints.
    """

    image_id: int
    path: Path
    width: int
    height: int
    keypoints: Float[np.ndarray, "N K 3"]
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
        skeleton: what its people are made of.
        records: its images that exist, in the order of their ids.
        raw: the file's content, as evaluation needs it.
    """

    path: Path
    skeleton: Skeleton
    records: tuple[Record, ...]
    raw: dict[str, Any]


def read_annotations(
    path: str | Path, images: str | Path, *, missing: str = "error", sigmas: tuple[float, ...] | None = None
) -> Annotations:
    """Read and check an annotation file.

    Args:
        path: a JSON file with images, annotations and a category that names keypoints.
        images: the folder that the file names are relative to.
        missing: what to do about images that are not there: "error" or "skip". Both list them first.
        sigmas: OKS tolerances of the joints, where the names are not COCO's or CrowdPose's.

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
    return Annotations(path, skeleton, tuple(record for record in records if record.path not in lost), raw)


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
    inside[max(int(y), 0) : max(int(np.ceil(y + high)), 0), max(int(x), 0) : max(int(np.ceil(x + wide)), 0)] = True
    return inside


def _decode_runs(outline: Any, width: int, height: int) -> Bool[np.ndarray, "H W"]:
    if isinstance(outline, list):
        return masks.decode(masks.merge(masks.frPyObjects(outline, height, width))).astype(bool)
    compressed = not isinstance(outline["counts"], list)
    return masks.decode(outline if compressed else masks.frPyObjects(outline, height, width)).astype(bool)


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no annotation file {path}")
    try:
        raw = json.loads(path.read_bytes())
    except ValueError as error:
        raise AnnotationError(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise AnnotationError(f"{path} holds a {type(raw).__name__}, not annotations: is it a results file?")
    for key in ("images", "annotations", "categories"):
        if not isinstance(raw.get(key), list):
            raise AnnotationError(f"{path} has no list {key!r}: is it a COCO keypoint annotation file?")
    return raw


def _keypoint_category(path: Path, raw: dict[str, Any]) -> dict[str, Any]:
    with_joints = [category for category in raw["categories"] if category.get("keypoints")]
    if len(with_joints) != 1:
        names = [category.get("name") for category in raw["categories"]]
        raise AnnotationError(
            f"{path} needs one category that names keypoints, and has {len(with_joints)} among {names}"
        )
    if "id" not in with_joints[0]:
        raise AnnotationError(f"{path}: category {with_joints[0].get('name')!r} has no id")
    return with_joints[0]


def _skeleton(path: Path, category: dict[str, Any], sigmas: tuple[float, ...] | None) -> Skeleton:
    try:
        return Skeleton.from_category(category, sigmas)
    except ValueError as error:
        raise AnnotationError(f"{path}: category {category.get('name')!r}: {error}") from error


def _check(path: Path, raw: dict[str, Any], category_id: int, num_keypoints: int) -> None:
    """Raise at the first entry that is wrong, naming it."""
    for position, info in enumerate(raw["images"]):
        for key, kind in (("id", int), ("file_name", str), ("width", int), ("height", int)):
            if not isinstance(info.get(key), kind):
                entry = f"images[{position}] (id {info.get('id')})"
                raise AnnotationError(f"{path}: {entry}: {key!r} is {info.get(key)!r}, not {kind.__name__}")
    known = {info["id"] for info in raw["images"]}
    if len(known) != len(raw["images"]):
        raise AnnotationError(f"{path}: image ids are not unique")
    for position, person in enumerate(raw["annotations"]):
        fault = _fault(person, known, category_id, num_keypoints)
        if fault:
            raise AnnotationError(f"{path}: annotations[{position}] (id {person.get('id')}): {fault}")


def _fault(person: dict[str, Any], images: set[int], category_id: int, num_keypoints: int) -> str | None:
    """What is wrong with an annotation, if anything."""
    if person.get("image_id") not in images:
        return f"image_id {person.get('image_id')!r} is not among the images"
    if person.get("category_id", category_id) != category_id or "keypoints" not in person:
        return None
    numbers = person["keypoints"]
    if not isinstance(numbers, list) or len(numbers) != 3 * num_keypoints:
        count = len(numbers) if isinstance(numbers, list) else repr(numbers)
        return f"keypoints has {count} numbers, not {3 * num_keypoints} = 3 x {num_keypoints} joints of the category"
    if not all(isinstance(number, int | float) and np.isfinite(number) for number in numbers):
        return "keypoints has entries that are not finite numbers"
    if any(visibility not in (0, 1, 2) for visibility in numbers[2::3]):
        return f"visibilities must be 0, 1 or 2, not {sorted(set(numbers[2::3]))}"
    box = person.get("bbox")
    if box is not None and (len(box) != 4 or min(box[2:]) < 0):
        return f"bbox must be x, y, width, height, not {box}"
    return None


def _record(info: dict[str, Any], people: list[dict[str, Any]], images: Path, category_id: int, joints: int) -> Record:
    people = [person for person in people if person.get("category_id", category_id) == category_id]
    labelled, unknown = [], []
    for person in people:
        usable = not person.get("iscrowd") and any(v > 0 for v in person.get("keypoints", ())[2::3])
        (labelled if usable else unknown).append(person)
    keypoints = np.array([person["keypoints"] for person in labelled], np.float32).reshape(-1, joints, 3)
    regions = (person.get("segmentation") or person.get("bbox") for person in unknown)
    return Record(
        info["id"],
        images / info["file_name"],
        info["width"],
        info["height"],
        keypoints,
        tuple(person.get("segmentation") or None for person in labelled),
        tuple(region for region in regions if region),
    )


def _report(absent: list[Path], total: int, missing: str) -> None:
    if not absent:
        return
    listed = "\n  ".join(str(path) for path in absent[:20])
    more = f"\n  and {len(absent) - 20} more" if len(absent) > 20 else ""
    text = f"{len(absent)} of {total} images are missing:\n  {listed}{more}"
    if missing == "error":
        raise FileNotFoundError(f"{text}\nput them there, or pass --data.missing skip to go on without them")
    log.warning("%s", text)
