import numpy as np
import pytest
from comparison.datasets import LabelledImage, keypoints_of, num_labelled
from comparison.pasting import growing_crowds, hide_joints, move_people, paste_person

from tests.scripts.comparison.people import placed, standing


def test_people_who_count_have_labelled_joints():
    assert num_labelled(standing(60, 80)) == 17
    assert num_labelled(standing(60, 80, iscrowd=1)) == 0
    assert num_labelled(standing(60, 80, visibility=0)) == 0
    assert num_labelled({"bbox": [0, 0, 1, 1]}) == 0


def test_a_similarity_moves_joints_box_and_area():
    entry = standing(60, 80, id=9)
    (moved,) = move_people([entry], np.array([[0.5, 0, 10], [0, 0.5, -10]]), (200, 160))
    np.testing.assert_allclose(
        keypoints_of(moved)[:, :2], placed(60, 80) * 0.5 + (10, -10), atol=1e-3
    )
    x, y, wide, high = entry["bbox"]
    np.testing.assert_allclose(
        moved["bbox"], [0.5 * x + 10, 0.5 * y - 10, 0.5 * wide, 0.5 * high], atol=1e-3
    )
    assert moved["area"] == pytest.approx(entry["area"] / 4)
    assert moved["id"] == 9


def test_joints_beyond_the_border_lose_their_label():
    (moved,) = move_people([standing(60, 80)], np.array([[1.0, 0, 0], [0, 1, -80]]), (200, 160))
    keypoints = keypoints_of(moved)
    outside = placed(60, 0)[:, 1] < -0.5
    assert (keypoints[outside] == 0).all()
    assert (keypoints[~outside, 2] == 2).all()
    assert moved["num_keypoints"] == (~outside).sum()
    assert moved["bbox"][1] == 0


def test_a_turned_box_holds_all_joints_and_is_no_larger_than_it_must():
    (moved,) = move_people([standing(60, 80)], np.array([[0, 1.0, 0], [-1.0, 0, 150]]), (200, 160))
    x, y, wide, high = moved["bbox"]
    keypoints = keypoints_of(moved)
    assert ((keypoints[:, :2] >= (x, y)) & (keypoints[:, :2] <= (x + wide, y + high))).all()
    assert wide > 2 * high


def test_crowds_stay_crowds():
    (moved,) = move_people([standing(60, 80, iscrowd=1)], np.eye(3)[:2], (200, 160))
    assert moved["iscrowd"] == 1


def test_covered_joints_become_hidden_ones():
    cover = np.zeros((160, 200), bool)
    cover[:80] = True
    keypoints = keypoints_of(hide_joints(standing(60, 80), cover))
    upper = np.round(placed(60, 80)[:, 1]) < 80
    assert (keypoints[upper, 2] == 1).all()
    assert (keypoints[~upper, 2] == 2).all()


def test_a_pasted_person_shows_the_pixels_at_its_joints():
    rng = np.random.default_rng(0)
    source = np.full((160, 200, 3), rng.integers(50, 200, 3), np.uint8)
    image = np.zeros((300, 400, 3), np.uint8)
    entry, cover = paste_person(image, source, standing(60, 80), np.array([250.0, 200.0]), 51.0)
    assert entry["bbox"][3] == pytest.approx(51, abs=0.1)
    assert entry["num_keypoints"] == 17
    x, y = np.round(keypoints_of(entry)[:, :2]).astype(int).T
    assert cover[y, x].all()
    np.testing.assert_allclose(image[y, x], np.broadcast_to(source[0, 0], (17, 3)), atol=1)
    middle = np.array(entry["bbox"][:2]) + np.array(entry["bbox"][2:]) / 2
    np.testing.assert_allclose(middle, (250, 200), atol=0.1)
    assert not image[:100].any()
    assert not image[:, :150].any()


def test_a_person_pasted_beyond_the_border_is_cut_off():
    image = np.zeros((100, 100, 3), np.uint8)
    source = np.full((160, 200, 3), 99, np.uint8)
    entry, cover = paste_person(image, source, standing(60, 80), np.array([50.0, 100.0]), 80.0)
    assert 0 < entry["num_keypoints"] < 17
    assert cover.any()
    entry, cover = paste_person(image, source, standing(60, 80), np.array([500.0, 500.0]), 80.0)
    assert entry["num_keypoints"] == 0
    assert not cover.any()


def test_crowds_grow_over_one_background():
    donor = LabelledImage(np.full((160, 200, 3), 255, np.uint8), (standing(60, 80),))
    few, many, others = list(growing_crowds([donor], (2, 30), 2, seed=1))[:3]
    assert (few.level, many.level, others.level) == (0, 1, 0)
    assert [len(image.people) for image in (few, many)] == [2, 30]
    boxes = {tuple(entry["bbox"]) for entry in many.people}
    assert {tuple(entry["bbox"]) for entry in few.people} <= boxes
    assert all(80 <= entry["bbox"][3] <= 141 for entry in few.people)
    changed = np.abs(few.pixels.astype(int) - many.pixels).max(axis=2) > 0
    assert 0.01 < changed.mean() < 0.5
    same = (few.pixels == others.pixels).all(axis=2)
    assert same.mean() > 0.9
    # people behind others have hidden joints
    assert sum((keypoints_of(entry)[:, 2] == 1).sum() for entry in many.people) > 0


def test_more_people_than_places():
    donor = LabelledImage(np.zeros((160, 200, 3), np.uint8), (standing(60, 80),))
    (image,) = growing_crowds([donor], (120,), 1)
    assert len(image.people) == 120
