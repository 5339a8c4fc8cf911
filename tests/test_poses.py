import dataclasses
import json

import numpy as np
import pytest

from bottomup import COCO, CROWDPOSE, Poses


@pytest.fixture
def three():
    rng = np.random.default_rng(0)
    keypoint_scores = rng.uniform(0.1, 1, (3, 17)).astype(np.float32)
    keypoint_scores[1, 5:] = 0
    keypoints = rng.uniform(10, 90, (3, 17, 2)).astype(np.float32) * (
        keypoint_scores[..., None] > 0
    )
    return Poses(keypoints, keypoint_scores, np.array([0.9, 0.2, 0.5], np.float32))


def test_some_of_the_people(three):
    assert len(three) == 3
    np.testing.assert_array_equal(three[1].scores, three.scores[1:2])
    np.testing.assert_array_equal(three[-1].keypoints, three.keypoints[2:])
    np.testing.assert_array_equal(three[::2].scores, three.scores[::2])
    np.testing.assert_array_equal(three[[2, 0]].scores, three.scores[[2, 0]])
    np.testing.assert_array_equal(three[three.scores > 0.3].scores, three.scores[[0, 2]])
    assert len(three[[]]) == 0
    assert [len(person) for person in three] == [1, 1, 1]
    with pytest.raises(IndexError):
        three[3]


def test_filter_keeps_from_the_score_on(three):
    assert len(three.filter(0.5)) == 2
    assert len(three.filter(0.91)) == 0


def test_boxes_are_tight_around_the_joints_that_were_found(three):
    found = three.keypoints[1, :5]
    np.testing.assert_allclose(three.boxes[1], [*found.min(0), *found.max(0)])
    nobody = Poses(
        np.zeros((1, 17, 2), np.float32), np.zeros((1, 17), np.float32), np.zeros(1, np.float32)
    )
    np.testing.assert_array_equal(nobody.boxes, np.zeros((1, 4)))


def test_coco_round_trip(three):
    results = json.loads(json.dumps(three.to_coco(image_id=7)))
    assert [person["image_id"] for person in results] == [7, 7, 7]
    assert all(person["category_id"] == 1 and len(person["keypoints"]) == 51 for person in results)
    back = Poses.from_coco(results)
    np.testing.assert_allclose(back.keypoints, three.keypoints, atol=1e-4)
    np.testing.assert_allclose(back.keypoint_scores, three.keypoint_scores, atol=1e-4)
    np.testing.assert_allclose(back.scores, three.scores)


def test_results_with_numbers_of_numpy_are_ready_for_json(three):
    entries = three.to_coco(np.int64(5), np.int32(2))
    assert json.loads(json.dumps(entries)) == entries == three.to_coco(5, 2)
    assert {type(value) for entry in entries for value in entry["keypoints"]} == {float}


def test_similarity_is_that_of_the_coco_evaluation(three, capsys):
    from pycocotools import coco, cocoeval

    # the evaluation counts all joints of a labelled person, whatever the scores of the result's
    shift = np.random.default_rng(1).normal(0, 3, (3, 17, 2)).astype(np.float32)
    results = dataclasses.replace(
        three, keypoints=three.keypoints + shift, keypoint_scores=np.ones((3, 17), np.float32)
    )
    areas = np.array([6400.0, 100.0, 2500.0])
    truth = coco.COCO()
    truth.dataset = {
        "images": [{"id": 1}],
        "categories": [{"id": 1}],
        "annotations": [
            person | {"id": i, "area": area, "bbox": [0, 0, 1, 1], "iscrowd": 0, "num_keypoints": 1}
            for i, (person, area) in enumerate(zip(three.to_coco(1), areas, strict=True), start=1)
        ],
    }
    truth.createIndex()
    evaluation = cocoeval.COCOeval(truth, truth.loadRes(results.to_coco(1)), "keypoints")
    evaluation.evaluate()
    capsys.readouterr()
    best_first = np.argsort(-results.scores)
    found = three.similarity(results, areas)[:, best_first]
    np.testing.assert_allclose(found, evaluation.ious[1, 1].T, atol=1e-5)


def test_similarity_is_over_the_joints_that_both_have(three):
    areas = np.full(3, 900, np.float32)
    np.testing.assert_array_equal(np.diag(three.similarity(three, areas)), np.ones(3))
    np.testing.assert_allclose(three.similarity(three, areas), three.similarity(three, areas).T)
    apart = dataclasses.replace(
        three[1], keypoint_scores=1 - np.sign(three.keypoint_scores[1:2]), scores=three.scores[1:2]
    )
    assert three[1].similarity(apart, areas[:1]).tolist() == [[0]]
    assert three.similarity(Poses.empty(), areas).shape == (3, 0)
    assert Poses.empty().similarity(three, np.zeros(0)).shape == (0, 3)


def test_nobody_is_an_ordinary_value():
    nobody = Poses.empty(CROWDPOSE)
    assert len(nobody) == len(nobody.filter(0.1)) == len(list(nobody)) == 0
    assert nobody.boxes.shape == (0, 4)
    assert nobody.to_coco(1) == []
    assert Poses.from_coco([], CROWDPOSE).keypoints.shape == (0, 14, 2)


def test_annotations_are_people_too():
    person = {"image_id": 3, "keypoints": [5, 6, 2] + [0, 0, 0] * 16}
    poses = Poses.from_coco([person])
    assert poses.scores.tolist() == [1]
    assert poses.boxes.tolist() == [[5, 6, 5, 6]]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="pass the skeleton"):
        Poses.from_coco([{"image_id": 3, "keypoints": [0] * 42}], COCO)
    with pytest.raises(ValueError, match=r"not \(2, 17, 2\)"):
        Poses(
            np.zeros((2, 14, 2), np.float32), np.zeros((2, 14), np.float32), np.zeros(2, np.float32)
        )
