"""What can be wrong with an entry of an annotation file, in words; None where nothing is.

Whatever would stop a training after hours, or silently lose people, is found here, before it
starts.
"""

from typing import Any

import numpy as np

LARGEST = 1e6  # of a coordinate: beyond any image; also refuses infinity and NaN


def category_fault(category: Any) -> str | None:
    """What is wrong with a category."""
    if not isinstance(category, dict):
        return f"is {category!r}, not an object"
    if not _is_whole(category.get("id")):
        return f"'id' is {category.get('id')!r}, not a whole number"
    names = category.get("keypoints")
    if names is not None and not (
        isinstance(names, list) and all(isinstance(name, str) for name in names)
    ):
        return f"'keypoints' must be a list of names, not {names!r}"
    return None


def image_fault(info: Any) -> str | None:
    """What is wrong with an image."""
    if not isinstance(info, dict):
        return f"is {info!r}, not an object"
    if not _is_whole(info.get("id")):
        return f"'id' is {info.get('id')!r}, not a whole number"
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
        categories: ids of all categories; annotations of others than `category_id` are not looked
            at further.
        category_id: of the people.
        num_keypoints: K, the joints of the category.
    """
    if not isinstance(person, dict):
        return f"is {person!r}, not an object"
    if not _is_whole(person.get("id")):
        return f"'id' is {person.get('id')!r}, not a whole number"
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


def disagreement(person: dict[str, Any]) -> bool:
    """Whether `num_keypoints` calls a person unlabelled that has labelled joints, or the other way round."""
    count = person.get("num_keypoints")
    return count is not None and (count > 0) != any(
        v > 0 for v in (person.get("keypoints") or ())[2::3]
    )


def _keypoints_fault(numbers: Any, num_keypoints: int) -> str | None:
    if numbers is None:
        return None
    if not isinstance(numbers, list) or len(numbers) != 3 * num_keypoints:
        count = len(numbers) if isinstance(numbers, list) else repr(numbers)
        return f"keypoints has {count} numbers, not {3 * num_keypoints} = 3 x {num_keypoints} joints of the category"
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
    if area is not None and not (isinstance(area, int | float) and 0 <= area <= LARGEST**2):
        return f"area must be a number of pixels, not {area!r}"
    if person.get("iscrowd") not in (0, 1, None):
        return f"iscrowd must be 0 or 1, not {person['iscrowd']!r}"
    count = person.get("num_keypoints")
    if count is not None and (not _is_whole(count) or count < 0):
        return f"num_keypoints must be a whole number, not {count!r}"
    return None


def _outline_fault(outline: Any, width: int, height: int) -> str | None:
    """Polygons, or run lengths of the image's size: with others, pycocotools leaves pixels to chance."""
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
        return f"segmentation must be polygons, or an object with size and counts, not {str(outline)[:60]}"
    if outline.get("size") != [height, width]:
        return f"segmentation has run lengths for {outline.get('size')}, not for [height, width] = {[height, width]}"
    runs = _decompress(counts) if isinstance(counts, str) else counts
    if not all(_is_whole(run) and run >= 0 for run in runs) or sum(runs) != width * height:
        return f"segmentation has counts that do not sum up to the {width * height} pixels of the image"
    return None


def _decompress(counts: str) -> list[int]:
    """Run lengths out of COCO's string: six bits a character, and from the fourth run on the change from two before."""
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)  # the sign
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_coordinates(numbers: list[Any]) -> bool:
    values = (
        np.array(numbers)
        if not any(isinstance(number, list) for number in numbers)
        else np.array(None)
    )
    return values.dtype.kind in "if" and bool((np.abs(values) <= LARGEST).all())
