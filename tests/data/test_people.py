import pytest

from bottomup.data.people import area_of, box_of, complete, corners_of, num_labelled_joints

JOINTS = [1, 2, 2, 9, 9, 0, 4, 8, 1]
UNKNOWN_BOXES = [None, [], "", [5, 6, 0, 4], [5, 6, 3, -1], [float("nan"), 6, 3, 4], [None] * 4]


def test_the_box_and_area_of_a_person():
    person = {"keypoints": JOINTS}
    assert num_labelled_joints(person) == 2
    assert box_of(person) == [1, 2, 3, 6]
    assert corners_of(person).tolist() == [1, 2, 4, 8]
    assert area_of(person) == pytest.approx(0.53 * 18)
    annotated = person | {"bbox": [10, 20, 30, 40], "area": 7}
    assert box_of(annotated) == [10, 20, 30, 40]
    assert corners_of(annotated).tolist() == [10, 20, 40, 60]
    assert area_of(annotated) == 7


@pytest.mark.parametrize("area", [None, 0, -3, float("nan"), [], ""])
@pytest.mark.parametrize("box", UNKNOWN_BOXES)
def test_the_box_serves_for_an_unknown_area_and_the_joints_for_an_unknown_box(area, box):
    assert area_of({"area": area, "bbox": [1, 1, 10, 10]}) == pytest.approx(53)
    person = {"area": area, "bbox": box, "keypoints": JOINTS}
    assert box_of(person) == [1, 2, 3, 6]
    assert area_of(person) == pytest.approx(0.53 * 18)


@pytest.mark.parametrize("box", UNKNOWN_BOXES)
@pytest.mark.parametrize("keypoints", [None, [], [5, 5, 0], [None] * 3])
def test_of_nobody_nothing_is_known(box, keypoints):
    nobody = {"bbox": box, "keypoints": keypoints}
    assert num_labelled_joints(nobody) == 0
    assert area_of(nobody) == 0
    assert len(box_of(nobody)) == 4


def test_a_person_of_coco_stays_as_it_is():
    person = {
        "id": 1, "image_id": 2, "category_id": 3, "iscrowd": 0, "num_keypoints": 2,
        "keypoints": JOINTS, "bbox": [0, 0, 10.5, 20], "area": 77.5, "segmentation": [[1, 2] * 3],
    }  # fmt: skip
    assert complete(person, 3) == person


def test_what_is_unknown_is_filled_in():
    person = {"id": 1.0, "image_id": 2.0, "category_id": 3.0, "keypoints": [*JOINTS, None, None, 0]}
    given = dict(person)
    expected = {
        "id": 1, "image_id": 2, "category_id": 3, "iscrowd": 0, "num_keypoints": 2,
        "keypoints": [*JOINTS, 0, 0, 0], "bbox": [1, 2, 3, 6], "area": pytest.approx(0.53 * 18),
    }  # fmt: skip
    assert complete(person, 4) == expected
    assert person == given
    assert complete(person | {"keypoints": None}, 4)["keypoints"] == [0] * 12
