"""Faults of the entries of an annotation file, as messages; nothing for an entry without faults.

Whatever would stop a training after hours, or silently lose people, is found before it starts. Only
the first fault of an entry is of use: later checks rely on what earlier ones have found.
"""

import math
from collections.abc import Iterator
from typing import Any

MAX_COORDINATE = 1e6  # beyond any image; also refuses infinity and NaN


def category_faults(category: Any) -> Iterator[str]:
    """What is wrong with a category."""
    yield from _id_faults(category)
    names = category.get("keypoints")
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if names is not None and not is_list:
        yield f"'keypoints' must be a list of names, not {names!r}"


def image_faults(info: Any) -> Iterator[str]:
    """What is wrong with an image."""
    yield from _id_faults(info)
    if not isinstance(info.get("file_name"), str) or not info["file_name"]:
        yield f"'file_name' is {info.get('file_name')!r}, not the name of a file"
    for key in ("width", "height"):
        if not _is_whole(info.get(key), 1):
            yield f"{key!r} is {info.get(key)!r}, not a whole number from 1"


def person_faults(
    person: Any,
    images: dict[int, dict[str, Any]],
    categories: set[int],
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
    lists = {"image_id": ("images", images.keys()), "category_id": ("categories", categories)}
    for key, (name, ids) in lists.items():
        if not _is_whole(person.get(key)) or person[key] not in ids:
            yield f"{key} {person.get(key)!r} is not among the {name}"
    if person["category_id"] == category_id:
        info = images[person["image_id"]]
        yield from _keypoints_faults(person.get("keypoints"), num_keypoints)
        yield from _numbers_faults(person)
        yield from _outline_faults(person.get("segmentation"), info["width"], info["height"])


def _id_faults(entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f"is {entry!r}, not an object"
    if not _is_whole(entry.get("id")):
        yield f"'id' is {entry.get('id')!r}, not a whole number"


def _keypoints_faults(numbers: Any, num_keypoints: int) -> Iterator[str]:
    if numbers is None:
        return
    if not isinstance(numbers, list) or len(numbers) != 3 * num_keypoints:
        count = len(numbers) if isinstance(numbers, list) else repr(numbers)
        yield (
            f"keypoints has {count} numbers, not {3 * num_keypoints} = "
            f"3 x {num_keypoints} joints of the category"
        )
    if not _are_coordinates(numbers):
        yield "keypoints has entries that are not finite numbers of a sensible size"
    if any(visibility not in (0, 1, 2) for visibility in numbers[2::3]):
        yield f"visibilities must be 0, 1 or 2, not {sorted(set(numbers[2::3]))}"


def _numbers_faults(person: dict[str, Any]) -> Iterator[str]:
    box, area, count = person.get("bbox"), person.get("area"), person.get("num_keypoints")
    if box is not None and not (isinstance(box, list) and len(box) == 4 and _are_coordinates(box)):
        yield f"bbox must be four numbers x, y, width, height, not {box!r}"
    if box is not None and min(box[2:]) < 0:
        yield f"bbox must be x, y, width, height, not {box}"
    if area is not None and not (isinstance(area, int | float) and 0 <= area <= MAX_COORDINATE**2):
        yield f"area must be a number of pixels, not {area!r}"
    if person.get("iscrowd") not in (0, 1, None):
        yield f"iscrowd must be 0 or 1, not {person['iscrowd']!r}"
    if count is not None and not _is_whole(count, 0):
        yield f"num_keypoints must be a whole number, not {count!r}"


def _outline_faults(outline: Any, width: int, height: int) -> Iterator[str]:
    """Run lengths must be of the image's size: of others, pycocotools decodes random pixels."""
    if isinstance(outline, list | None):
        if not all(
            isinstance(part, list) and len(part) % 2 == 0 and _are_coordinates(part)
            for part in outline or ()
        ):
            yield (
                "segmentation must be a list of polygons, each a list x, y, x, y, ..., "
                "or run lengths"
            )
        return
    counts = outline.get("counts") if isinstance(outline, dict) else None
    if not isinstance(counts, list | str):
        yield (
            "segmentation must be polygons, or an object with size and counts, "
            f"not {str(outline)[:60]}"
        )
        return
    if outline.get("size") != [height, width]:
        yield (
            f"segmentation has run lengths for {outline.get('size')}, "
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
        if not bits & 32:  # the last character of a run
            value -= (bits & 16) << (shift - 4)  # the sign
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _is_whole(value: Any, least: float = -math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _are_coordinates(numbers: list[Any]) -> bool:
    return all(
        isinstance(number, int | float) and abs(number) <= MAX_COORDINATE for number in numbers
    )
