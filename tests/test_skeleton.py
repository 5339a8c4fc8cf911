import dataclasses
import json

import pytest

from bottomup import COCO, CROWDPOSE, Skeleton
from bottomup.skeleton import DEFAULT_SIGMA


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE])
def test_mirroring_swaps_left_and_right_and_twice_is_nothing(skeleton):
    for k, mirrored in enumerate(skeleton.flip_indices):
        assert skeleton.flip_indices[mirrored] == k
        swapped = (
            skeleton.keypoints[k]
            .replace("left", "RIGHT")
            .replace("right", "left")
            .replace("RIGHT", "right")
        )
        assert skeleton.keypoints[mirrored] == swapped


def test_orders_are_those_of_the_reference():
    assert COCO.grouping_order == (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)
    assert CROWDPOSE.grouping_order == COCO.grouping_order[:14]


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE])
def test_json_round_trip(skeleton):
    assert Skeleton.from_dict(json.loads(json.dumps(skeleton.to_dict()))) == skeleton


def test_a_category_makes_a_skeleton():
    category = {
        "name": "cat",
        "keypoints": ["head", "left_paw", "right_paw"],
        "skeleton": [[1, 2], [1, 3]],
    }
    skeleton = Skeleton.from_category(category)
    assert skeleton.edges == ((0, 1), (0, 2))
    assert skeleton.flip_indices == (0, 2, 1)
    assert skeleton.sigmas == (DEFAULT_SIGMA,) * 3
    assert Skeleton.from_category(category, (0.1, 0.2, 0.2)).sigmas == (0.1, 0.2, 0.2)
    assert Skeleton.from_category({"keypoints": list(COCO.keypoints)}) is COCO
    own_sigmas = Skeleton.from_category({"keypoints": list(COCO.keypoints)}, (0.1,) * 17)
    assert own_sigmas == dataclasses.replace(COCO, sigmas=(0.1,) * 17, edges=())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": ("a", "a")}, "unique"),
        ({"sigmas": (0.1,)}, "positive sigmas"),
        ({"sigmas": (0.1, 0.0)}, "positive sigmas"),
        ({"grouping_order": (0, 0)}, "each of 0..1 once"),
        ({"edges": ((0, 2),)}, "within 0..1"),
    ],
)
def test_what_is_wrong_is_said(changes, message):
    good = Skeleton(("a", "b"), ((0, 1),), (0.1, 0.1), (0, 1))
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(good, **changes)


def test_tolerances_may_stand_in_the_category():
    category = {"name": "cat", "keypoints": ["a", "b"], "sigmas": [0.1, 0.2]}
    assert Skeleton.from_category(category).sigmas == (0.1, 0.2)
    assert Skeleton.from_category(category, (0.3, 0.4)).sigmas == (0.3, 0.4)


@pytest.mark.parametrize("edges", [["ab"], [[1, 2, 3]], [1]])
def test_limbs_that_are_no_pairs_are_refused(edges):
    with pytest.raises(
        ValueError, match="skeleton must be pairs of numbers of joints, counted from 1"
    ):
        Skeleton.from_category({"name": "cat", "keypoints": ["a", "b"], "skeleton": edges})


def test_a_category_without_keypoints_is_refused():
    with pytest.raises(ValueError, match="names no keypoints"):
        Skeleton.from_category({"name": "person"})
