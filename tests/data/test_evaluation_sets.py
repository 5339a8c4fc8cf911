import numpy as np

from bottomup.data.evaluation_sets import DrawnEvaluation
from bottomup.data.scenes.crowd import Crowd
from bottomup.evaluation import keypoints as metrics

CROWD = Crowd(width=96, height=96, people=(1, 4), sizes=(30, 80))


def test_the_set_is_fixed_by_its_seed():
    one, other = DrawnEvaluation(CROWD, 3, seed=1), DrawnEvaluation(CROWD, 3, seed=1)
    assert one[2].image_id == 3
    np.testing.assert_array_equal(one[2].image, other[2].image)
    assert (DrawnEvaluation(CROWD, 3, seed=2)[2].image != one[2].image).any()


def test_the_labels_themselves_score_one():
    data = DrawnEvaluation(CROWD, 6)
    truth = data.ground_truth({1, 2, 3, 4, 5, 6})
    results = [
        {key: person[key] for key in ("image_id", "category_id", "keypoints")}
        | {"score": 1 - 0.01 * person["id"]}
        for person in truth["annotations"]
        if person["num_keypoints"] > 0
    ]
    assert metrics.evaluate(results, truth)["AP"] == 1.0
    assert len(data.ground_truth({2})["images"]) == 1
