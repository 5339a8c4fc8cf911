"""Annotation and results files in COCO's format: read and checked, without any image.

All verbs read annotations by `read_keypoints`, so they take and refuse the same files.
"""

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bottomup.data import checks
from bottomup.data.people import complete, num_labelled_joints
from bottomup.files import read_json
from bottomup.skeleton import Skeleton

Source = str | Path | dict[str, Any]
Pairs = Sequence[Sequence[int]] | None

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class KeypointFile:
    """The checked content of an annotation file.

    Attributes:
        category: the one that names keypoints.
        skeleton: its joints.
        images: the images by id, in the order of the file.
        people: the annotations of the category, each as `complete` returns it.
        categories: all of them.
    """

    category: dict[str, Any]
    skeleton: Skeleton
    images: dict[int, dict[str, Any]]
    people: list[dict[str, Any]]
    categories: list[dict[str, Any]]

    @property
    def raw(self) -> dict[str, Any]:
        """The content in COCO's format."""
        images = [*self.images.values()]
        return {"images": images, "annotations": self.people, "categories": self.categories}


def read_keypoints(
    source: Source, sigmas: tuple[float, ...] | None = None, flip_pairs: Pairs = None
) -> KeypointFile:
    """Read and check an annotation file without its images: the one reader of all verbs.

    Args:
        source: a JSON file with images, annotations and a category that names keypoints, or its
            content, which stays as it is.
        sigmas: OKS tolerances of the joints; None: see `Skeleton.from_category`.
        flip_pairs: pairs that change places in a mirror; None: see `Skeleton.from_category`.

    Raises:
        ValueError: the file is not a keypoint file; the message names the entry.
    """
    return _check(_read_raw(source), source, sigmas, flip_pairs)


def read_images(source: Source) -> tuple[dict[int, str], int]:
    """The images of a file, and the category of results about them.

    A file that names no keypoints (COCO's image_info_*.json and instances_*.json) may lack sizes
    and annotations, and its category is 1. Any other is read by `read_keypoints`.

    Returns:
        file names by id, and the id of the category.

    Raises:
        ValueError: the file is of another kind; the message names the entry.
    """
    raw = _read_raw(source)
    categories, category_id = raw.get("categories", []), 1
    if not isinstance(categories, list) or any(
        isinstance(category, dict) and category.get("keypoints") for category in categories
    ):
        file = _check(raw, source)
        images, category_id = file.images, file.category["id"]
    else:
        _require(raw, source, "images")
        faults = functools.partial(checks.image_faults, sized=False)
        images = _by_id(source, "images", raw["images"], faults)
    return {key: info["file_name"] for key, info in images.items()}, category_id


def read_skeleton(path: str | Path, sigmas: tuple[float, ...] | None = None) -> Skeleton:
    """The joints that an annotation file names.

    Raises:
        ValueError: the file is not a keypoint file.
    """
    return _read_category(_read_raw(path), path, sigmas)[2]


def read_results(source: str | Path | list[Any], what: str = "results") -> list[Any]:
    """The content of a results file, whose entries are not checked.

    Args:
        source: the file, or its content.
        what: what the file should hold, for messages.

    Raises:
        ValueError: the file cannot be read, or is not a list.
    """
    content = read_json(source, what) if isinstance(source, str | Path) else source
    if not isinstance(content, list):
        raise ValueError(
            f"{_name(source, what)} holds a {type(content).__name__}, not a list of results: "
            "is it an annotation file?"
        )
    return content


def _name(source: Any, what: str) -> str:
    return f"{what} {str(source)!r}" if isinstance(source, str | Path) else what


def _read_raw(source: Source) -> dict[str, Any]:
    """The content of an annotation file, unchecked."""
    raw = read_json(source, "annotations") if isinstance(source, str | Path) else source
    if not isinstance(raw, dict):
        raise ValueError(
            f"{_name(source, 'annotations')} holds a {type(raw).__name__}, not annotations: "
            "is it a results file?"
        )
    return raw


def _require(raw: dict[str, Any], source: Source, *lists: str) -> None:
    for key in lists:
        if not isinstance(raw.get(key), list):
            raise ValueError(
                f"{_name(source, 'annotations')} has no list {key!r}: is it a COCO keypoint file?"
            )


def _read_category(
    raw: dict[str, Any],
    source: Source,
    sigmas: tuple[float, ...] | None = None,
    flip_pairs: Pairs = None,
) -> tuple[dict[int, dict[str, Any]], dict[str, Any], Skeleton]:
    """The categories by id, the one that names keypoints, and its joints."""
    _require(raw, source, "images", "annotations", "categories")
    categories = _by_id(source, "categories", raw["categories"], checks.category_faults)
    found = [category for category in categories.values() if category.get("keypoints")]
    if len(found) != 1:
        raise ValueError(
            f"{_name(source, 'annotations')} needs one category that names keypoints, and has "
            f"{len(found)} among {checks.show([c.get('name') for c in categories.values()])}: "
            "keep one in a copy of the file"
        )
    try:
        return categories, found[0], Skeleton.from_category(found[0], sigmas, flip_pairs)
    except ValueError as error:
        name = checks.show(found[0].get("name"))
        raise ValueError(f"{_name(source, 'annotations')}: category {name}: {error}") from error


def _check(
    raw: dict[str, Any],
    source: Source,
    sigmas: tuple[float, ...] | None = None,
    flip_pairs: Pairs = None,
) -> KeypointFile:
    """Check every entry, see `read_keypoints`."""
    categories, category, skeleton = _read_category(raw, source, sigmas, flip_pairs)
    images = {
        key: info | {side: int(info[side]) for side in ("width", "height")}
        for key, info in _by_id(source, "images", raw["images"], checks.image_faults).items()
    }
    faults = functools.partial(
        checks.person_faults,
        images=images,
        categories=categories,
        category_id=category["id"],
        num_keypoints=skeleton.num_keypoints,
    )
    entries = _by_id(source, "annotations", raw["annotations"], faults).values()
    people = [
        complete(person, skeleton.num_keypoints)
        for person in entries
        if person["category_id"] == category["id"]
    ]
    if isinstance(source, str | Path):
        _warn(source, people)
    return KeypointFile(category, skeleton, images, people, [*categories.values()])


def _warn(path: str | Path, people: list[dict[str, Any]]) -> None:
    """Warn about people whom training and average precision treat differently."""
    odd = [p["id"] for p in people if (p["num_keypoints"] > 0) != (num_labelled_joints(p) > 0)]
    if odd:
        log.warning(
            "%s: num_keypoints contradicts the labelled joints of %d annotations (the first ones "
            "have the ids %s): training goes by the joints, average precision by num_keypoints",
            *(path, len(odd), ", ".join(map(str, odd[:5]))),
        )
    sizeless = [p["id"] for p in people if p["area"] <= 0 and p["num_keypoints"] > 0]
    if sizeless:
        log.warning(
            "%s: area, bbox and joints do not tell how large %d annotated people are (the first "
            "ones have the ids %s): average precision leaves them out; give each a bbox",
            *(path, len(sizeless), ", ".join(map(str, sizeless[:5]))),
        )


def _by_id(
    source: Source, key: str, entries: list[Any], faults_of: Callable[[Any], Iterator[str]]
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
            name = f" (id {checks.show(entry.get('id'))})" if isinstance(entry, dict) else ""
            place = source if isinstance(source, str | Path) else "annotations"
            raise ValueError(f"{place}: {key}[{position}]{name}: {fault}")
        number = int(entry["id"])
        by_id[number] = entry if type(entry["id"]) is int else entry | {"id": number}
    return by_id
