import dataclasses
import json

import pytest

from bottomup import COCO, CROWDPOSE, Skeleton
from bottomup.skeleton import DEFAULT_SIGMA, match_joints


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
    assert skeleton.sigmas == (0.079, DEFAULT_SIGMA, DEFAULT_SIGMA)  # CrowdPose has a head
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
        ({"sigmas": (0.1, float("nan"))}, "positive sigmas"),
        ({"flip_pairs": ((0, 0),)}, "two different joints"),
        ({"flip_pairs": ((0, 1), (1, 0))}, "two different joints"),
        ({"flip_pairs": ((0, 2),)}, "within 0..1"),
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


@pytest.mark.parametrize(
    "pair",
    [
        "x_left/x_right", "Left x/Right x", "leftX/rightX", "LEFT_X/RIGHT_X", "L_X/R_X", "x.L/x.R",
        "lX/rX", "LEye/REye", "EyeL/EyeR", "left ear/right ear", "r ankle/l ankle", "L/R", "l/r",
        "ear-left/ear-right", "paw_front_left/paw_front_right", "Left/Right", "left1/right1",
        "ear_l_2/ear_r_2", "ear (left)/ear (right)", "l_left_ear/r_right_ear", "Left_Ear/right_ear",
        "left_hand_right_edge/right_hand_left_edge", "LEFT EYE/Right Eye", "l_eye/rightEye",
        "left_ear/ear_right",
    ],
)  # fmt: skip
def test_left_and_right_are_known_in_every_spelling(pair):
    skeleton = Skeleton.from_category({"keypoints": ["middle", *pair.split("/"), "other"]})
    assert skeleton.flip_indices == (0, 2, 1, 3)
    assert skeleton.one_sided == ()
    assert f"pairs: {pair}; alone: middle, other;" in skeleton.describe()


@pytest.mark.parametrize(
    "names",
    ["lower/rower", "larm/rarm", "light/right_x", "L1/R1", "cleft/cright", "Cleft/Cright"],
)
def test_letters_inside_a_word_are_no_side(names):
    skeleton = Skeleton.from_category({"keypoints": names.split("/")})
    assert skeleton.flip_indices == (0, 1)


def test_a_pair_needs_both_names():
    skeleton = Skeleton.from_category({"keypoints": ["left_a", "right_b", "c"]})
    assert skeleton.flip_indices == (0, 1, 2)
    assert skeleton.one_sided == ("left_a", "right_b")


def test_one_spelling_goes_before_another_and_what_two_names_may_mean_stays_alone():
    both = Skeleton.from_category({"keypoints": ["L_ear", "left_ear", "right_ear"]})
    assert both.flip_indices == (0, 2, 1)
    assert both.one_sided == ("L_ear",)
    case = Skeleton.from_category({"keypoints": ["l_a", "r_a", "l_A", "r_A"]})
    assert case.flip_indices == (1, 0, 3, 2)
    unclear = Skeleton.from_category(
        {"keypoints": ["leftEar", "Ear L", "right_ear", "left_right_x"]}
    )
    assert unclear.flip_indices == (0, 1, 2, 3)
    assert unclear.one_sided == unclear.keypoints


def test_given_pairs_are_all_pairs():
    category = {"keypoints": ["left_a", "right_a", "b", "c"], "flip_pairs": [[3, 4]]}
    skeleton = Skeleton.from_category(category)
    assert skeleton.flip_indices == (0, 1, 3, 2)
    assert skeleton.one_sided == ()
    assert Skeleton.from_category(category, flip_pairs=[[1, 4]]).flip_indices == (3, 1, 2, 0)
    assert Skeleton.from_category(category, flip_pairs=[]).flip_indices == (0, 1, 2, 3)
    assert Skeleton.from_dict(json.loads(json.dumps(skeleton.to_dict()))) == skeleton
    coco = Skeleton.from_category({"keypoints": list(COCO.keypoints)}, flip_pairs=[])
    assert coco == dataclasses.replace(COCO, flip_pairs=())
    assert "flip_pairs" not in COCO.to_dict()  # as in weights of before, which still load
    assert Skeleton.from_dict(COCO.to_dict()) == COCO


@pytest.mark.parametrize(
    "pairs",
    [
        [[1, 1]], [[1, 2], [2, 3]], [[0, 1]], [[1, 4]], [1, 2], [[1, 2, 3]], "ab", 5, ["12"],
        [[1, 2.5]], [["a", "b"]], {"a": 1}, [[float("nan"), 1]], [[float("inf"), 1]],
    ],
)  # fmt: skip
def test_bad_pairs_are_refused(pairs):
    with pytest.raises(ValueError, match="flip_pairs must be pairs"):
        Skeleton.from_category({"keypoints": ["a", "b", "c"], "flip_pairs": pairs})


@pytest.mark.parametrize("sigmas", [5, "abc", [0.1, "x", 1], [0.1, float("nan"), 0.1], [0.1]])
def test_bad_tolerances_are_refused(sigmas):
    with pytest.raises(ValueError, match="sigmas"):
        Skeleton.from_category({"keypoints": ["a", "b", "c"], "sigmas": sigmas})


def test_joints_named_as_those_of_coco_or_crowdpose_take_their_tolerances():
    category = {"keypoints": ["Nose", "L_Shoulder", "rightShoulder", "neck", "tail", "tail left"]}
    skeleton = Skeleton.from_category(category)
    assert skeleton.sigmas == (0.026, 0.079, 0.079, 0.079, DEFAULT_SIGMA, DEFAULT_SIGMA)
    assert skeleton.describe().endswith(
        "; sigmas: as in COCO and CrowdPose, 0.05 for tail, tail left"
    )
    given = Skeleton.from_category(category, (0.1,) * 6)
    assert given.describe().endswith("; sigmas: as given")


def test_joints_are_matched_however_they_are_spelled():
    names = ["L_Shoulder", "nose", "rightHip", "tail", "knee left", "leftKnee"]
    assert match_joints(names, COCO.keypoints) == {0: 5, 1: 0, 2: 12}
