"""Faults of the entries of annotation and results files, as messages; nothing for a sound entry.

Whatever would stop a training after hours, or silently lose people, is found before it starts. Only
the first fault of an entry is of use: later checks rely on what earlier ones have found. What is
unknown is no fault: `bottomup.data.people` says what serves in its place.
"""

import itertools
import operator
import reprlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

MAX_LISTED = 20  # lines of a message
MAX_COORDINATE = 1e6  # beyond any image; also refuses infinity and NaN
MIN_SIGMA = 1e-6  # its square is still a number
MAX_SCORE = 1e300
ID_LIMIT = 1 << 63  # ids have 64 bits
NUMBERS = frozenset((int, float, np.int32, np.int64, np.float32, np.float64))  # and not bool

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
_short.maxlist = 20


def show(value: Any) -> str:
    """A value of a file in one line, shortened."""
    return _short.repr(value)


def listed(title: str, lines: Sequence[str]) -> str:
    """A title and the first lines below it."""
    rest = len(lines) - MAX_LISTED
    more = [f"and {rest} more"] if rest > 0 else []
    return "\n  ".join([title, *lines[:MAX_LISTED], *more])


def known(entry: dict[str, Any], key: str) -> Any:
    """A value of an entry; None if it is missing, null or empty."""
    value = entry.get(key)
    return None if isinstance(value, (str, list, dict)) and not value else value


def are_numbers(values: Collection[Any], most: float = MAX_COORDINATE) -> bool:
    """Whether all values are numbers from -most to most; NaN and bool are not."""
    return set(map(type, values)) <= NUMBERS and all(
        map(operator.ge, itertools.repeat(most), map(abs, values))
    )


def category_faults(category: Any) -> Iterator[str]:
    """What is wrong with a category."""
    yield from _id_faults(category)
    names, sigmas, limbs = (known(category, key) for key in ("keypoints", "sigmas", "skeleton"))
    if names is None:
        return
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        yield f"'keypoints' must be a list of names, not {show(names)}"
    is_sound = isinstance(sigmas, list) and len(sigmas) == len(names) and are_numbers(sigmas)
    if sigmas is not None and not (is_sound and min(sigmas) >= MIN_SIGMA):
        yield f"'sigmas' must be {len(names)} positive numbers, one a joint, not {show(sigmas)}"
    if limbs is not None and not (
        isinstance(limbs, list)
        and all(isinstance(limb, list) and len(limb) == 2 for limb in limbs)
        and all(_is_whole(joint, 1, len(names)) for limb in limbs for joint in limb)
    ):
        yield (
            f"'skeleton' must be pairs of joints, counted from 1 to {len(names)}, not {show(limbs)}"
        )


def image_faults(info: Any, *, sized: bool = True) -> Iterator[str]:
    """What is wrong with an image.

    Args:
        info: the image.
        sized: whether its size must be there.
    """
    yield from _id_faults(info)
    if not isinstance(info.get("file_name"), str) or not info["file_name"]:
        yield f"'file_name' is {show(info.get('file_name'))}, not the name of a file"
    for key in ("width", "height") if sized else ():
        if not _is_whole(info.get(key), 1, int(MAX_COORDINATE)):
            yield (
                f"{key!r} is {show(info.get(key))}, "
                f"not a whole number from 1 to {int(MAX_COORDINATE)}"
            )
    index = info.get("crowdIndex")
    if index is not None and not are_numbers([index]):
        yield f"'crowdIndex' is {show(index)}, not a number"


def person_faults(
    person: Any,
    images: Mapping[int, dict[str, Any]],
    categories: Collection[int],
    category_id: int,
    num_keypoints: int,
) -> Iterator[str]:
    """What is wrong with an annotation.

    Args:
        person: the annotation.
        images: the images by id.
        categories: ids of all categories.
        category_id: of people; other annotations are not checked further.
        num_keypoints: K, the joints of the category.
    """
    yield from _id_faults(person)
    lists = {"image_id": ("images", images), "category_id": ("categories", categories)}
    for key, (name, ids) in lists.items():
        if not _is_whole(person.get(key)) or person[key] not in ids:
            yield f"{key} {show(person.get(key))} is not among the {name}"
    if person["category_id"] == category_id:
        info = images[person["image_id"]]
        yield from _keypoints_faults(known(person, "keypoints"), num_keypoints)
        yield from _numbers_faults(person)
        yield from _outline_faults(known(person, "segmentation"), info["width"], info["height"])


def result_faults(
    result: Any, images: Collection[int], category_id: int, num_keypoints: int
) -> Iterator[str]:
    """What is wrong with a keypoint result.

    Args:
        result: the result.
        images: ids of the images of the annotations.
        category_id: the category of their people.
        num_keypoints: K, the joints of this category.
    """
    if not isinstance(result, dict):
        yield f"is {show(result)}, not an object"
    needed = {"image_id", "category_id", "keypoints", "score"}
    if lacking := sorted(needed - result.keys()):
        yield f"lacks {', '.join(lacking)}: pass a COCO keypoint results file"
    known = {
        "image_id": ("an image", images),
        "category_id": ("the keypoint category", {category_id}),
    }
    for key, (name, ids) in known.items():
        if not _is_whole(result[key]) or result[key] not in ids:
            yield (
                f"{key} {show(result[key])} is not {name} of the annotations: let "
                "`bottomup predict --annotations FILE` take the ids from the same annotations"
            )
    numbers = result["keypoints"]
    if not isinstance(numbers, list) or len(numbers) != 3 * num_keypoints:
        count = len(numbers) if isinstance(numbers, list) else show(numbers)
        yield (
            f"keypoints has {count} numbers, and the annotations' {num_keypoints} joints need "
            f"{3 * num_keypoints}: they must be of one skeleton"
        )
    if not are_numbers(numbers):
        yield "keypoints has entries that are not finite numbers of a sensible size"
    if not are_numbers([result["score"]], MAX_SCORE):
        yield f"score is {show(result['score'])}, not a finite number"


def _id_faults(entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f"is {show(entry)}, not an object"
    if not _is_whole(entry.get("id")):
        yield f"'id' is {show(entry.get('id'))}, not a whole number"


def _keypoints_faults(numbers: Any, num_keypoints: int) -> Iterator[str]:
    if numbers is None:
        return
    if not isinstance(numbers, list) or len(numbers) != 3 * num_keypoints:
        count = len(numbers) if isinstance(numbers, list) else show(numbers)
        yield (
            f"keypoints has {count} numbers, not {3 * num_keypoints} = "
            f"3 x {num_keypoints} joints of the category"
        )
    if are_numbers(numbers) and set(numbers[2::3]) <= {0, 1, 2}:
        return
    for joint in range(num_keypoints):
        *point, visibility = numbers[3 * joint : 3 * joint + 3]
        if [*point, visibility] == [None] * 3:
            continue
        if not are_numbers([visibility]) or visibility not in (0, 1, 2):
            yield f"joint {joint + 1}: visibilities must be 0, 1 or 2, not {show(visibility)}"
        # where a joint without a label is does not matter
        if not (are_numbers(point) if visibility else _are_numbers_or_unknown(point)):
            yield f"joint {joint + 1}: {show(point)} are not finite numbers of a sensible size"


def _numbers_faults(person: dict[str, Any]) -> Iterator[str]:
    box, area, count, crowd = (
        known(person, key) for key in ("bbox", "area", "num_keypoints", "iscrowd")
    )
    is_box = isinstance(box, list) and len(box) == 4 and _are_numbers_or_unknown(box)
    if box is not None and not (is_box and not any(abs(v or 0) > MAX_COORDINATE for v in box)):
        yield f"bbox must be four numbers x, y, width, height, not {show(box)}"
    if area is not None and (type(area) not in NUMBERS or area > MAX_COORDINATE**2):
        yield f"area must be a number of pixels, not {show(area)}"
    if crowd not in (None, 0, 1):
        yield f"iscrowd must be 0 or 1, not {show(crowd)}"
    if count is not None and not _is_whole(count, 0):
        yield f"num_keypoints must be a whole number, not {show(count)}"


def _outline_faults(outline: Any, width: int, height: int) -> Iterator[str]:
    """Run lengths must be of the image's size: of others, pycocotools decodes random pixels."""
    if outline is None:
        return
    if isinstance(outline, list):
        if not all(
            isinstance(part, list) and len(part) % 2 == 0 and are_numbers(part) for part in outline
        ):
            yield (
                "segmentation must be a list of polygons, each a list x, y, x, y, ..., "
                "or run lengths"
            )
        return
    counts = outline.get("counts") if isinstance(outline, dict) else None
    if not isinstance(counts, (list, str)):
        yield (
            f"segmentation must be polygons, or an object with size and counts, not {show(outline)}"
        )
        return
    if outline.get("size") != [height, width]:
        yield (
            f"segmentation has run lengths for {show(outline.get('size'))}, "
            f"not for [height, width] = {[height, width]}"
        )
    runs = _decompress(counts) if isinstance(counts, str) else counts
    if not all(_is_whole(run, 0) for run in runs) or sum(runs) != width * height:
        yield (
            f"segmentation has counts that do not sum up to the {width * height} pixels "
            "of the image"
        )


def _decompress(counts: str) -> list[int]:
    """Run lengths from COCO's string.

    A character holds six bits. From the fourth run on, the string holds the difference from the
    run two before.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if shift > 60:  # longer than any run
            return []
        if not bits & 32:  # the last character of a run
            value -= (bits & 16) << (shift - 4)  # the sign
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _is_whole(value: Any, least: int = -ID_LIMIT, most: int = ID_LIMIT - 1) -> bool:
    return type(value) in NUMBERS and least <= value <= most and int(value) == value


def _are_numbers_or_unknown(values: Collection[Any]) -> bool:
    """Whether all values are null or numbers, of any size or none."""
    return set(map(type, values)) <= NUMBERS | {type(None)}
