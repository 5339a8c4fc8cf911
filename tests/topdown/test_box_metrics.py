import numpy as np
import pytest

from bottomup.topdown import box_metrics

TRUTH = {
    "images": [{"id": 1}, {"id": 2}],
    "annotations": [
        {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 40], "area": 500},
        {"image_id": 2, "category_id": 1, "keypoints": [5, 5, 2, 25, 45, 1, 0, 0, 0]},
    ],
    "categories": [{"id": 1, "name": "person"}],
}


def found(*boxes):
    return [
        {"image_id": i, "category_id": 1, "bbox": box, "score": score} for i, box, score in boxes
    ]


def test_the_boxes_themselves_are_perfect():
    figures = box_metrics.evaluate(
        found((1, [10, 10, 20, 40], 0.9), (2, [5, 5, 20, 40], 0.8)), TRUTH
    )
    assert figures == {"AP": 1.0, "AP50": 1.0, "AP75": 1.0, "AR": 1.0, "AR50": 1.0}


def test_half_of_the_people_found_is_half_of_the_recall():
    figures = box_metrics.evaluate(found((1, [10, 10, 20, 40], 0.9)), TRUTH)
    assert figures["AR50"] == 0.5
    assert figures["AP50"] == pytest.approx(51 / 101)


def test_a_box_that_overlaps_by_two_thirds_counts_for_the_lower_thresholds():
    figures = box_metrics.evaluate(
        found((1, [10, 10, 20, 60], 0.9), (2, [5, 5, 20, 60], 0.8)), TRUTH
    )
    assert figures["AP50"] == 1
    assert figures["AP75"] == 0
    assert figures["AR"] == pytest.approx(0.4)  # 0.5, 0.55, 0.6 and 0.65 of ten thresholds


def test_nothing_found_and_nobody_to_find():
    assert set(box_metrics.evaluate([], TRUTH).values()) == {0.0}
    nobody = {**TRUTH, "annotations": []}
    assert all(np.isnan(value) for value in box_metrics.evaluate([], nobody).values())
    assert np.isnan(box_metrics.evaluate(found((1, [1, 1, 5, 5], 0.5)), nobody)["AP"])


def test_results_are_coco_s():
    (entry,) = box_metrics.to_coco(np.array([[1.0, 2, 11, 32]]), np.array([0.25]), 5, 3)
    assert entry == {"image_id": 5, "category_id": 3, "bbox": [1, 2, 10, 30], "score": 0.25}
