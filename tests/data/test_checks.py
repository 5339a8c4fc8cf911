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
    for unknown in (None, [], "", {}):
        assert (
            fault(PERSON | dict.fromkeys(("keypoints", "bbox", "area", "iscrowd"), unknown)) is None
        )
        assert fault(PERSON | dict.fromkeys(("num_keypoints", "segmentation"), unknown)) is None
    for box in ([0, 0, 0, 0], [1, 2, -3, 4], [1, 2, float("nan"), 4], [None] * 4):
        assert fault(PERSON | {"bbox": box}) is None, "an unknown box"
    for area in (0, -4, float("nan")):
        assert fault(PERSON | {"area": area}) is None, "an unknown area"
    whole = {"id": 1.0, "image_id": 7.0, "category_id": 5.0, "num_keypoints": 1.0, "iscrowd": 0.0}
    assert fault(PERSON | whole) is None
    for joint in ([None, None, 0], [float("nan"), 1e30, 0.0], [None] * 3):
        assert fault(PERSON | {"keypoints": [1, 1, 2.0, *joint]}) is None
    for outline in (
        [],
        [[]],
        [[1, 1, 2, 2]],
        {"size": [4, 6], "counts": [20, 4]},
        {"size": [4, 6], "counts": RUNS},
    ):
        assert fault(PERSON | {"segmentation": outline}) is None
    assert image_fault(IMAGES[7] | {"id": 7.0, "width": 6.0, "crowdIndex": 0.5}) is None
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
        ({"keypoints": [1, 1, 0.5, 1, 1, 2]}, "joint 1: visibilities must be 0, 1 or 2, not 0.5"),
        ({"keypoints": [1, 1, 2, 1, 1, True]}, "joint 2: visibilities must be 0, 1 or 2, not True"),
        ({"keypoints": [1, 1, 2, 1, 1, None]}, "joint 2: visibilities must be 0, 1 or 2, not None"),
        ({"keypoints": [1, 1, 2, None, 1, 2]}, "joint 2: [None, 1] are not finite numbers"),
        ({"keypoints": [1, 1, 2, True, 1, 2]}, "joint 2: [True, 1] are not finite numbers"),
        ({"keypoints": [1, 1, 2, "1", 1, 0]}, "joint 2: ['1', 1] are not finite numbers"),
        ({"keypoints": {"nose": 1}}, "keypoints has {'nose': 1} numbers"),
        ({"bbox": 5}, "bbox must be four numbers"),
        ({"bbox": ["a", "b", "c", "d"]}, "bbox must be four numbers"),
        ({"bbox": [0, 0, True, 1]}, "bbox must be four numbers"),
        ({"bbox": [0, 0, 1e300, 1]}, "bbox must be four numbers"),
        ({"bbox": {"x": 1}}, "bbox must be four numbers"),
        ({"area": "1200"}, "area must be a number of pixels, not '1200'"),
        ({"area": True}, "area must be"),
        ({"area": float("inf")}, "area must be"),
        ({"area": [5]}, "area must be"),
        ({"iscrowd": "no"}, "iscrowd must be 0 or 1, not 'no'"),
        ({"iscrowd": [0]}, "iscrowd must be 0 or 1, not [0]"),
        ({"num_keypoints": "2"}, "num_keypoints must be a whole number"),
        ({"num_keypoints": 1.5}, "num_keypoints must be a whole number"),
        ({"num_keypoints": -1}, "num_keypoints must be a whole number"),
        ({"id": 1e300}, "'id' is 1e+300, not a whole number"),
        ({"id": True}, "'id' is True, not a whole number"),
        ({"image_id": float("nan")}, "image_id nan is not among the images"),
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
        ({"segmentation": {"size": [4, 6], "counts": "o" * 10**6}}, "do not sum up to the 24"),
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
        {"width": 6.5},
        {"width": "6"},
        {"width": 10**9},
        {"width": float("nan")},
        {"crowdIndex": "hard"},
        {"height": True},
    ],
)
def test_what_is_wrong_with_an_image_is_said(change):
    (key,) = change
    assert f"{key!r} is {change[key]!r}" in (image_fault(IMAGES[7] | change) or "nothing")


@pytest.mark.parametrize(
    "change",
    [
        {"id": "5"},
        {"keypoints": "nose"},
        {"keypoints": [1, 2]},
        {"sigmas": [0.1, 0.1]},
        {"sigmas": ["0.1"]},
        {"sigmas": [0]},
        {"sigmas": [1e-200]},
        {"sigmas": 0.1},
        {"skeleton": 5},
        {"skeleton": [1]},
        {"skeleton": [[0, 1]]},
        {"skeleton": [[1, float("inf")]]},
    ],
)
def test_what_is_wrong_with_a_category_is_said(change):
    (key,) = change
    assert repr(key) in (category_fault({"id": 5, "keypoints": ["a"]} | change) or "nothing")
