import numpy as np
import pytest
from comparison import errors
from comparison.errors import (
    KINDS,
    UNLABELLED,
    best_threshold,
    count_errors,
    joint_kinds,
    pair,
    scenes,
)

from bottomup import COCO
from tests.scripts.comparison.people import STANDING, placed, result, standing, truth

FLIP = list(COCO.flip_indices)
WRIST, OTHER_WRIST = 9, 10


def scene_of(people, results):
    (_, scene), *_ = scenes(results, truth(people))
    return scene


def kinds_of(points, people):
    scene = scene_of(people, [result(people[0], points=points)])
    return [
        KINDS[k] if k != UNLABELLED else None
        for k in joint_kinds(scene.results[0, :, :2], 0, scene)
    ]


def at_similarity(similarity, entry, joint):
    """How far from a joint a place has this similarity."""
    return np.sqrt(-2 * np.log(similarity) * entry["area"]) * 2 * COCO.sigmas[joint]


def test_true_places_are_good():
    me = standing(60, 80)
    assert kinds_of(None, [me, standing(140, 80)]) == ["good"] * 17


@pytest.mark.parametrize(
    ("similarity", "kind"), [(0.86, "good"), (0.84, "jitter"), (0.51, "jitter"), (0.49, "miss")]
)
def test_jitter_lies_between_its_two_thresholds(similarity, kind):
    me = standing(60, 80)
    points = placed(60, 80)
    points[WRIST] += (at_similarity(similarity, me, WRIST), 0)
    assert kinds_of(points, [me])[WRIST] == kind


def test_an_inversion_lies_at_the_other_side():
    me = standing(60, 80)
    points = placed(60, 80)
    points[[WRIST, OTHER_WRIST]] = points[[OTHER_WRIST, WRIST]]
    found = kinds_of(points, [me])
    assert [k for k, kind in enumerate(found) if kind == "inversion"] == [WRIST, OTHER_WRIST]
    assert found.count("good") == 15


def test_a_swap_lies_at_another_persons_joint_of_either_side():
    me, other = standing(60, 80), standing(140, 80)
    points = placed(60, 80)
    points[WRIST] = placed(140, 80)[WRIST]
    points[0] = placed(140, 80)[0]
    found = kinds_of(points, [me, other])
    assert [k for k, kind in enumerate(found) if kind == "swap"] == [0, WRIST]
    points[WRIST] = placed(140, 80)[OTHER_WRIST]
    assert kinds_of(points, [me, other])[WRIST] == "swap"


def test_another_kind_of_joint_is_a_miss():
    points = placed(60, 80)
    points[0] = points[15]  # the nose at an ankle
    assert kinds_of(points, [standing(60, 80)])[0] == "miss"


def test_joints_without_a_label_are_of_no_kind():
    me = standing(60, 80)
    me["keypoints"][2::3] = [2] * 5 + [0] * 12
    assert kinds_of(None, [me]) == ["good"] * 5 + [None] * 12


def test_the_nearer_of_other_side_and_other_person_counts():
    me, other = standing(60, 80), standing(60 - 2 * STANDING[WRIST, 0] + 8, 80)
    points = placed(60, 80)
    points[WRIST] = points[OTHER_WRIST] + (1, 0)  # the other person's wrist is 8 beside
    assert kinds_of(points, [me, other])[WRIST] == "inversion"
    points[WRIST] = points[OTHER_WRIST] + (7, 0)
    assert kinds_of(points, [me, other])[WRIST] == "swap"


def test_the_best_result_gets_the_person_and_nobody_is_paired_twice():
    me, other = standing(60, 80), standing(140, 80)
    results = [result(me, score=0.5), result(me, score=0.9), result(other, score=0.7)]
    scene = scene_of([me, other], results)
    assert scene.scores.tolist() == [0.9, 0.7, 0.5]
    assert pair(scene).tolist() == [0, 1, -1]


def test_counts_add_up_over_images():
    me, far = standing(60, 80), placed(5000, 80)
    content = truth([me, standing(140, 80)], [me], [])
    results = [
        result(me, score=0.9),
        result(me, image_id=2, score=0.9),
        result(me, image_id=3, score=0.9, points=far),
        result(me, image_id=2, score=0.01, points=far),
    ]
    counts = count_errors(results, content)
    assert (counts.people, counts.found, counts.missed, counts.background) == (3, 2, 1, 1)
    assert counts.threshold == 0.9  # the result below is wrong
    assert counts.joints == {"good": 34, "jitter": 0, "inversion": 0, "swap": 0, "miss": 0}


def test_results_on_crowds_are_no_false_positives():
    me, crowd = standing(60, 80), standing(140, 80, iscrowd=1)
    content = truth([me, crowd])
    results = [result(me, score=0.9), result(crowd, score=0.95)]
    assert count_errors(results, content).background == 0
    assert count_errors(results, truth([me])).background == 1


def test_no_results_and_nobody():
    counts = count_errors([], truth([standing(60, 80)], []))
    assert (counts.found, counts.missed, counts.background) == (0, 1, 0)
    assert count_errors([], truth([])).people == 0


def test_the_threshold_keeps_what_raises_the_f1():
    me = standing(60, 80)
    content = truth([me], [me], [me])
    right = [result(me, image_id=i, score=s) for i, s in ((1, 0.9), (2, 0.6), (3, 0.3))]
    wrong = [
        result(me, image_id=1, score=s, points=STANDING) for s in (0.4, 0.39, 0.38, 0.37, 0.36)
    ]
    assert best_threshold(right + wrong, content) == 0.6
    assert best_threshold(right, content) == 0.3
    assert best_threshold([], content) == 0.0


def test_similarities_are_those_of_oks():
    me = standing(60, 80)
    points = placed(63, 84)[None]
    people = np.array(me["keypoints"], float).reshape(1, 17, 3)
    found = errors.similarities(points, people, np.array([me["area"]]))
    expected = np.exp(-25 / (2 * me["area"] * (2 * np.array(COCO.sigmas)) ** 2))
    np.testing.assert_allclose(found[0], expected)
    people[:, 5:, 2] = 0
    labelled = errors.oks(points, people, np.array([me["area"]]))
    np.testing.assert_allclose(labelled, [expected[:5].mean()])
