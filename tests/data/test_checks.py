import copy
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as masks

from bottomup.data.checks import category_faults, image_faults, person_faults

RUNS = masks.encode(np.asfortranarray(np.eye(4, 6, dtype=np.uint8)))["counts"].decode()
IMAGES = {7: {"id": 7, "file_name": "a.png", "width": 6, "height": 4}}
PERSON = {
    "id": 1, "image_id": 7, "category_id": 5, "iscrowd": 0, "num_keypoints": 1,
    "keypoints": [1, 1, 2, 3.5, 1, 0], "bbox": [0, 0, 3, 2.5], "area": 4.5,
    "segmentation": [[0, 0, 3, 0, 3, 3]],
}  # fmt: skip


def fault(entry: Any) -> str | None:
    return next(person_faults(entry, IMAGES, {5, 6}, 5, 2), None)


def image_fault(entry: Any) -> str | None:
    return next(image_faults(entry), None)


def category_fault(entry: Any) -> str | None:
    return next(category_faults(entry), None)


def test_nothing_is_wrong_with_what_is_right():
    assert fault(PERSON) is None
    assert fault({"id": 1, "image_id": 7, "category_id": 5}) is None, (
        "a person of whom nothing is known"
    )
    assert fault({"id": 1, "image_id": 7, "category_id": 6, "bbox": "of another category"}) is None
    for outline in (
        [],
        [[]],
        [[1, 1, 2, 2]],
        {"size": [4, 6], "counts": [20, 4]},
        {"size": [4, 6], "counts": RUNS},
    ):
        assert fault(PERSON | {"segmentation": outline}) is None
    assert image_fault(IMAGES[7]) is None
    assert category_fault({"id": 0, "name": "car"}) is None


def test_run_lengths_of_large_and_small_masks_are_taken():
    rng = np.random.default_rng(0)
    for height, width, share in ((1, 1, 0.5), (50, 70, 0.5), (300, 900, 0.001), (200, 10, 1.0)):
        mask = np.asfortranarray(rng.random((height, width)) < share).astype(np.uint8)
        outline = {"size": [height, width], "counts": masks.encode(mask)["counts"].decode()}
        images = {7: {"id": 7, "file_name": "a.png", "width": width, "height": height}}
        assert not list(person_faults(PERSON | {"segmentation": outline}, images, {5}, 5, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, "'id' is None"),
        ({"image_id": [7]}, "image_id [7] is not among the images"),
        ({"category_id": None}, "category_id None is not among the categories"),
        ({"category_id": 9}, "category_id 9 is not among the categories"),
        ({"keypoints": [1, 1, 2]}, "keypoints has 3 numbers, not 6 = 3 x 2 joints"),
        ({"keypoints": [1, 1, 2, "1", 1, 2]}, "not finite numbers"),
        ({"keypoints": [1, 1, 2, float("nan"), 1, 2]}, "not finite numbers"),
        ({"keypoints": [1, 1, 2, 10**400, 1, 2]}, "not finite numbers"),
        ({"keypoints": [1, 1, 2, 1e30, 1, 2]}, "of a sensible size"),
        ({"keypoints": [1, 1, 2, [1], 1, 2]}, "not finite numbers"),
        ({"keypoints": [1, 1, 0.5, 1, 1, 2]}, "visibilities must be 0, 1 or 2, not [0.5, 2]"),
        ({"bbox": 5}, "bbox must be four numbers"),
        ({"bbox": ["a", "b", "c", "d"]}, "bbox must be four numbers"),
        ({"bbox": [float("nan"), 0, 1, 1]}, "bbox must be four numbers"),
        ({"bbox": [0, 0, -1, 1]}, "bbox must be x, y, width, height"),
        ({"area": "big"}, "area must be a number of pixels, not 'big'"),
        ({"area": float("nan")}, "area must be"),
        ({"iscrowd": "no"}, "iscrowd must be 0 or 1, not 'no'"),
        ({"num_keypoints": "2"}, "num_keypoints must be a whole number"),
        ({"segmentation": "x"}, "segmentation must be polygons"),
        ({"segmentation": [1, 2, 3, 4, 5, 6]}, "segmentation must be a list of polygons"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "segmentation must be a list of polygons"),
        ({"segmentation": {"size": [4, 6]}}, "with size and counts"),
        ({"segmentation": {"size": [6, 4], "counts": [24]}},
         "for [6, 4], not for [height, width] = [4, 6]"),
        ({"segmentation": {"size": [4, 6], "counts": [20, 3]}}, "do not sum up to the 24 pixels"),
        ({"segmentation": {"size": [4, 6], "counts": [25, -1]}}, "do not sum up to the 24 pixels"),
        ({"segmentation": {"size": [4, 6], "counts": RUNS[:-1]}}, "do not sum up to the 24 pixels"),
        ({"segmentation": {"size": [4, 6], "counts": ""}}, "do not sum up to the 24 pixels"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_person_is_said(change, message):
    assert message in (fault(copy.deepcopy(PERSON) | change) or "nothing")


def test_entries_that_are_no_objects_are_no_crash():
    assert fault(5) == image_fault(5) == category_fault(5) == "is 5, not an object"


@pytest.mark.parametrize(
    "change",
    [
        {"id": "7"},
        {"file_name": ""},
        {"file_name": 3},
        {"width": 0},
        {"width": 6.0},
        {"height": True},
    ],
)
def test_what_is_wrong_with_an_image_is_said(change):
    (key,) = change
    assert f"{key!r} is {change[key]!r}" in (image_fault(IMAGES[7] | change) or "nothing")


@pytest.mark.parametrize("change", [{"id": "5"}, {"keypoints": "nose"}, {"keypoints": [1, 2]}])
def test_what_is_wrong_with_a_category_is_said(change):
    (key,) = change
    assert repr(key) in (category_fault({"id": 5, "keypoints": ["a"]} | change) or "nothing")
