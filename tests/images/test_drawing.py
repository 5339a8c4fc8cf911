import dataclasses

import numpy as np
import pytest

from bottomup import COCO, Poses
from bottomup.images.drawing import draw, person_color

GRAY = np.full((120, 160, 3), 128, np.uint8)


def standing(num_people: int = 2) -> Poses:
    rng = np.random.default_rng(0)
    keypoints = rng.uniform((10, 10), (150, 110), (num_people, 17, 2)).astype(np.float32)
    return Poses(
        keypoints,
        np.full((num_people, 17), 0.5, np.float32),
        np.linspace(0.3, 0.9, num_people, dtype=np.float32),
    )


def test_draws_on_a_copy():
    image = GRAY.copy()
    drawn = draw(image, standing())
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(image, GRAY)
    assert (drawn != GRAY).any(axis=2).mean() > 0.05


def test_nobody_leaves_the_image_as_it_is():
    np.testing.assert_array_equal(draw(GRAY, Poses.empty()), GRAY)
    np.testing.assert_array_equal(draw(GRAY, standing(), score_threshold=0.95), GRAY)
    np.testing.assert_array_equal(draw(GRAY, standing(), keypoint_threshold=0.6), GRAY)
    absent = dataclasses.replace(standing(), keypoint_scores=np.zeros((2, 17), np.float32))
    np.testing.assert_array_equal(draw(GRAY, absent, keypoint_threshold=0.0), GRAY)


def test_one_colour_per_person_that_does_not_depend_on_the_thresholds():
    poses = standing(3)
    assert len({person_color(i) for i in range(50)}) == 50
    drawn = draw(GRAY, poses)
    for i in range(3):
        assert (drawn == person_color(i)).all(axis=2).any()


def test_a_joint_is_drawn_where_it_is():
    keypoints = np.zeros((1, 17, 2), np.float32)
    keypoints[0, 0] = (40.5, 30.25)
    scores = np.zeros((1, 17), np.float32)
    scores[0, 0] = 1
    drawn = draw(GRAY, Poses(keypoints, scores, np.ones(1, np.float32)))
    ys, xs = np.nonzero((drawn != GRAY).any(axis=2))
    weights = np.abs(drawn.astype(int) - GRAY)[ys, xs].sum(axis=1)
    assert abs(np.average(xs, weights=weights) - 40.5) < 0.3
    assert abs(np.average(ys, weights=weights) - 30.25) < 0.3


def test_only_limbs_with_both_ends_are_drawn():
    keypoints = np.zeros((1, 17, 2), np.float32)
    keypoints[0, [5, 7]] = ((20, 20), (140, 100))
    scores = np.zeros((1, 17), np.float32)
    scores[0, [5, 7]] = (1, 0.05)
    one_end = draw(GRAY, Poses(keypoints, scores, np.ones(1, np.float32)))
    both_ends = draw(
        GRAY, Poses(keypoints, scores, np.ones(1, np.float32)), keypoint_threshold=0.01
    )
    np.testing.assert_array_equal(one_end[60, 80], GRAY[60, 80])
    np.testing.assert_array_equal(both_ends[60, 80], person_color(0))


@pytest.mark.parametrize("shape", [(1, 1, 3), (40, 20000, 3), (3, 500, 3)])
def test_any_shape_and_any_coordinates(shape):
    image = np.zeros(shape, np.uint8)
    keypoints = np.zeros((1, 17, 2), np.float32)
    keypoints[0] = np.linspace(-1e12, 1e12, 17)[:, None]
    assert (
        draw(
            image, Poses(keypoints, np.ones((1, 17), np.float32), np.ones(1, np.float32), COCO)
        ).shape
        == shape
    )


def test_a_view_of_an_image_may_be_drawn_on():
    assert draw(GRAY[::-1, ::2], standing()).shape == (120, 80, 3)
