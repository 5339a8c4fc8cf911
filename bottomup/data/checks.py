"""Faults of the entries of an annotation file, as messages; None for an entry without faults.

Whatever would stop a training after hours, or silently lose people, is found before it starts.
"""

from typing import Any

MAX_COORDINATE = 1e6  # beyond any image; also refuses infinity and NaN


def category_fault(category: Any) -> str | None:
    """What is wrong with a category."""
    if fault := _id_fault(category):
        return fault
    names = category.get("keypoints")
    if names is not None and not (
        isinstance(names, list) and all(isinstance(name, str) for name in names)
    ):
        return f"'keypoints' must be a list of names, not {names!r}"
    return None


def image_fault(info: Any) -> str | None:
    """What is wrong with an image."""
    if fault := _id_fault(info):
        return fault
    if not isinstance(info.get("file_name"), str) or not info["file_name"]:
        return f"'file_name' is {info.get('file_name')!r}, not the name of a file"
    for key in ("width", "height"):
        if not _is_whole(info.get(key)) or info[key] < 1:
            return f"{key!r} is {info.get(key)!r}, not a whole number from 1"
    return None


def person_fault(
    person: Any,
    images: dict[int, dict[str, Any]],
    categories: set[int],
    category_id: int,
    num_keypoints: int,
) -> str | None:
    """What is wrong with an annotation.

    Args:
        person: the annotation.
        images: the images by id.
        categories: ids of all categories.
        category_id: of people; other annotations are not checked further.
        num_keypoints: K, the joints of the category.
    """
    if fault := _id_fault(person):
        return fault
    if not _is_whole(person.get("image_id")) or person["image_id"] not in images:
        return f"image_id {person.get('image_id')!r} is not among the images"
    if not _is_whole(person.get("category_id")) or person["category_id"] not in categories:
        return f"category_id {person.get('category_id')!r} is not among the categories"
    if person["category_id"] != category_id:
        return None
    info = images[person["image_id"]]
    return (
        _keypoints_fault(person.get("keypoints"), num_keypoints)
        or _numbers_fault(person)
        or _outline_fault(person.get("segmentation"), info["width"], info["height"])
    )


def _id_fault(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return f"is {entry!r}, not an object"
    if not _is_whole(entry.get("id")):
        return f"'id' is {entry.get('id')!r}, not a whole number"
    return None


def _keypoints_fault(numbers: Any, num_keypoints: int) -> str | None:
    if numbers is None:
        return None
    if not isinstance(numbers, list) or len(numbers) != 3 * num_keypoints:
        count = len(numbers) if isinstance(numbers, list) else repr(numbers)
        return (
            f"keypoints has {count} numbers, not {3 * num_keypoints} = "
            f"3 x {num_keypoints} joints of the category"
        )
    if not _are_coordinates(numbers):
        return "keypoints has entries that are not finite numbers of a sensible size"
    if any(visibility not in (0, 1, 2) for visibility in numbers[2::3]):
        return f"visibilities must be 0, 1 or 2, not {sorted(set(numbers[2::3]))}"
    return None


def _numbers_fault(person: dict[str, Any]) -> str | None:
    box, area = person.get("bbox"), person.get("area")
    if box is not None and not (isinstance(box, list) and len(box) == 4 and _are_coordinates(box)):
        return f"bbox must be four numbers x, y, width, height, not {box!r}"
    if box is not None and min(box[2:]) < 0:
        return f"bbox must be x, y, width, height, not {box}"
    if area is not None and not (isinstance(area, int | float) and 0 <= area <= MAX_COORDINATE**2):
        return f"area must be a number of pixels, not {area!r}"
    if person.get("iscrowd") not in (0, 1, None):
        return f"iscrowd must be 0 or 1, not {person['iscrowd']!r}"
    count = person.get("num_keypoints")
    if count is not None and (not _is_whole(count) or count < 0):
        return f"num_keypoints must be a whole number, not {count!r}"
    return None


def _outline_fault(outline: Any, width: int, height: int) -> str | None:
    """Run lengths must be of the image's size: of others, pycocotools decodes random pixels."""
    if outline is None or outline == []:
        return None
    if isinstance(outline, list):
        if all(
            isinstance(part, list) and len(part) % 2 == 0 and _are_coordinates(part)
            for part in outline
        ):
            return None
        return (
            "segmentation must be a list of polygons, each a list x, y, x, y, ..., or run lengths"
        )
    counts = outline.get("counts") if isinstance(outline, dict) else None
    if not isinstance(counts, list | str):
        return (
            "segmentation must be polygons, or an object with size and counts, "
            f"not {str(outline)[:60]}"
        )
    if outline.get("size") != [height, width]:
        return (
            f"segmentation has run lengths for {outline.get('size')}, "
            f"not for [height, width] = {[height, width]}"
        )
    runs = _decompress(counts) if isinstance(counts, str) else counts
    if not all(_is_whole(run) and run >= 0 for run in runs) or sum(runs) != width * height:
        return (
            f"segmentation has counts that do not sum up to the {width * height} pixels "
            "of the image"
        )
    return None


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


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_coordinates(numbers: list[Any]) -> bool:
    return all(
        isinstance(number, int | float) and abs(number) <= MAX_COORDINATE for number in numbers
    )
