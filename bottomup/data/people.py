"""What an annotation says about a person, and what serves where it says nothing.

An area or a box that is null, missing, empty, 0, negative or NaN is unknown. The box serves for the
area, and the labelled joints serve for the box.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from bottomup.data.checks import NUMBERS, are_numbers, known

BOX_TO_AREA = 0.53  # mean share of its box that a person fills; used if the area is unknown


def num_labelled_joints(person: dict[str, Any]) -> int:
    """How many joints of an annotated person are labelled."""
    return sum((visibility or 0) > 0 for visibility in (person.get("keypoints") or ())[2::3])


def box_around(keypoints: Float[np.ndarray, "K 3"]) -> Float[np.ndarray, " 4"]:
    """The box x0, y0, x1, y1 around the labelled joints; zeros without any."""
    points = keypoints[keypoints[:, 2] > 0, :2]
    return np.concatenate([points.min(0), points.max(0)]) if len(points) else np.zeros(4)


def box_of(person: dict[str, Any]) -> list[float]:
    """The box x, y, width, height of a person: annotated, or around its labelled joints."""
    box: list[float] = known(person, "bbox") or [0, 0, 0, 0]
    if are_numbers(box) and box[2] > 0 and box[3] > 0:
        return box
    if num_labelled_joints(person):
        keypoints = np.reshape(np.array(person["keypoints"], float), (-1, 3))
        around = box_around(keypoints)
        return [*around[:2].tolist(), *(around[2:] - around[:2]).tolist()]
    return box if are_numbers(box) else [0, 0, 0, 0]


def corners_of(person: dict[str, Any]) -> Float[np.ndarray, " 4"]:
    """The box of `box_of` as x0, y0, x1, y1."""
    x, y, width, height = box_of(person)
    return np.array([x, y, x + width, y + height], np.float64)


def area_of(person: dict[str, Any]) -> float:
    """The area of a person in square pixels: annotated, or `BOX_TO_AREA` of its box.

    It is 0 if neither the box nor the joints tell how large the person is.
    """
    area = known(person, "area")
    if type(area) in NUMBERS and area > 0:
        return area
    _, _, width, height = box_of(person)
    return BOX_TO_AREA * max(width, 0) * max(height, 0)


def complete(person: dict[str, Any], num_keypoints: int) -> dict[str, Any]:
    """A copy of a checked annotation, with all that COCO's format asks for.

    Whole numbers are ints, `keypoints` has 3 K finite numbers, and `bbox` and `area` are those of
    `box_of` and `area_of`. The people of COCO's own files stay as they are.

    Args:
        person: an annotation without faults.
        num_keypoints: K, the joints of its category.
    """
    keypoints, count = known(person, "keypoints"), known(person, "num_keypoints")
    if keypoints is None:
        keypoints = [0] * (3 * num_keypoints)
    elif not are_numbers(keypoints):  # of joints without a label
        keypoints = [value if are_numbers([value]) else 0 for value in keypoints]
    person = person | {key: int(person[key]) for key in ("id", "image_id", "category_id")}
    person["keypoints"] = keypoints
    person["num_keypoints"] = num_labelled_joints(person) if count is None else int(count)
    person["iscrowd"] = int(known(person, "iscrowd") or 0)
    person["bbox"] = box_of(person)
    person["area"] = area_of(person)
    return person
