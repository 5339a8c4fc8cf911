import numpy as np

from bottomup.data.augment import Augment
from bottomup.data.drawings import DrawnEvaluation, draw_samples
from bottomup.data.samples import Draw
from bottomup.data.scenes.crowd import Crowd
from bottomup.evaluation import keypoints as metrics

CROWD = Crowd(width=96, height=96, people=(1, 4), sizes=(30, 80))


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_drawings_change_with_the_epoch_and_repeat_on_request():
    data = draw_samples(CROWD, 3)
    assert not same(data[Draw(0, 0)], data[Draw(1, 0)])
    again = draw_samples(CROWD, 3, Augment(size=48), repeat=2)
    still = draw_samples(CROWD, 3, repeat=2)
    assert same(still[Draw(0, 0)], still[Draw(1, 0)])
    assert not same(still[Draw(1, 0)], still[Draw(2, 0)])
    assert not same(again[Draw(0, 0)], again[Draw(1, 0)]), "the same drawing, augmented differently"


def test_no_drawing_is_both_trained_and_evaluated_on():
    data, evaluation = draw_samples(CROWD, 4), DrawnEvaluation(CROWD, 4)
    drawn = {
        data[Draw(epoch, position)].image.tobytes() for epoch in range(4) for position in range(4)
    }
    assert len(drawn) == 16
    assert not drawn & {evaluation[index].image.tobytes() for index in range(4)}


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
