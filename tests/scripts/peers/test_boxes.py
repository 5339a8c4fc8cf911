import json

import boxes
import numpy as np
import pytest


def test_truth_leaves_out_crowds_and_people_without_joints():
    person = {"image_id": 3, "bbox": [1, 2, 10, 20], "category_id": 1, "num_keypoints": 5}
    given = boxes.truth(
        {"annotations": [person, {**person, "iscrowd": 1}, {**person, "num_keypoints": 0}]}
    )
    np.testing.assert_array_equal(given[3], [[1, 2, 11, 22, 1]])
    assert boxes.truth({}) == {}


def test_results_of_a_detector(tmp_path):
    result = {"image_id": 3, "bbox": [1, 2, 10, 20], "category_id": 1, "score": 0.5}
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps([result, {**result, "category_id": 44}, {**result, "image_id": 4}]))
    given = boxes.from_results(path)
    np.testing.assert_array_equal(given[3], [[1, 2, 11, 22, 0.5]])
    assert given.keys() == {3, 4}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{}", "not a list"),
        ("[7]", "cannot be read"),
        ('[{"image_id": 1, "bbox": [1, 2, 3], "score": 1}]', "cannot be read"),
        ('[{"image_id": 1, "bbox": [1, 2, 3, 1e999], "score": 1}]', "not finite"),
        ('[{"image_id": 1, "bbox": [1, 2, 3, 4]}]', "score"),
    ],
)
def test_a_file_that_holds_no_boxes(tmp_path, content, reason):
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(ValueError, match=reason):
        boxes.from_results(tmp_path / "boxes.json")


def test_of_boxes_that_overlap_the_best_stays():
    rows = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 4.0]])
    assert boxes.suppress(rows, np.array([0.5, 0.9, 0.1, 0.2]), overlap=0.6).tolist() == [1, 3, 2]
    assert boxes.suppress(rows, np.array([0.5, 0.9, 0.1, 0.2]), overlap=0.9).tolist() == [
        1,
        0,
        3,
        2,
    ]
    assert boxes.suppress(np.empty((0, 4)), np.empty(0), overlap=0.6).size == 0
