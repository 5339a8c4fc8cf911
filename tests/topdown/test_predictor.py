import contextlib

import numpy as np
import pytest
import torch

from bottomup.topdown.detectors import Boxes
from bottomup.topdown.person_net import PersonOutput
from bottomup.topdown.predictor import TopDownPredictor
from tests.support.dots import crowd, picture
from tests.support.person_dots import KnownBoxes, boxes_around, dot_person_net


def predictor(boxes: Boxes, **arguments) -> TopDownPredictor:
    return TopDownPredictor(dot_person_net(), KnownBoxes(boxes), device="cpu", **arguments)


def lonely(wh: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(1, 3, 2) three joints in the middle third of an image."""
    return rng.uniform(1 / 3, 2 / 3, (1, 3, 2)) * wh


@pytest.mark.parametrize("wh", [(640, 480), (480, 640), (1501, 1001), (96, 80)])
def test_people_are_where_they_are(wh):
    """The quarter offset is off by up to a quarter of a cell: a pixel of the crop to each side."""
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(24):
        people = lonely(wh, rng)
        boxes = boxes_around(people, max(wh) / 12)
        poses = predictor(boxes).predict(picture(wh, people, sigma=max(wh) / 64))
        sides = (boxes.boxes[0, 2:] - boxes.boxes[0, :2]) * 1.25
        pixel = max(sides / (192, 256))  # of the crop, in pixels of the image
        errors.append((poses.keypoints[0] - people[0]) / pixel)
    errors = np.concatenate(errors)
    assert np.abs(errors).max() < 1.6
    standard_error = errors.std(0).max() / np.sqrt(len(errors))
    assert np.abs(errors.mean(0)).max() < 3 * standard_error
    assert errors.std(0).max() < 0.8


def test_a_dot_in_the_middle_of_a_cell_is_found_exactly():
    """A crop at its own size and joints on the centres of cells: half a pixel off would show."""
    joints = np.array([[[50, 50], [100, 150], [141.5, 205.5]]]) // 4 * 4 + 1.5
    box = np.array([[96 - 192 / 2.5, 128 - 256 / 2.5, 96 + 192 / 2.5, 128 + 256 / 2.5]]) - 0.5
    poses = predictor(Boxes(box, np.ones(1))).predict(picture((192, 256), joints, sigma=6))
    np.testing.assert_allclose(poses.keypoints, joints, atol=0.1)


def test_a_mirrored_image_has_mirrored_people():
    wh = (320, 200)
    people = lonely(wh, np.random.default_rng(3))
    image = picture(wh, people, sigma=6)
    boxes = boxes_around(people, 30)
    x0, y0, x1, y1 = boxes.boxes.T
    mirrored = Boxes(np.stack([319 - x1, y0, 319 - x0, y1], 1), boxes.scores)
    there = predictor(boxes).predict(image)
    back = predictor(mirrored).predict(np.ascontiguousarray(image[:, ::-1]))
    np.testing.assert_allclose(319 - back.keypoints[..., 0], there.keypoints[..., 0], atol=0.1)
    np.testing.assert_allclose(back.keypoints[..., 1], there.keypoints[..., 1], atol=0.1)
    np.testing.assert_allclose(back.scores, there.scores, atol=1e-3)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_batches_change_nothing(batch_size):
    people = crowd((800, 300), 4, np.random.default_rng(1))
    image, boxes = picture((800, 300), people, sigma=8), boxes_around(people, 30)
    together = predictor(boxes, batch_size=batch_size).predict(image)
    assert len(together) == 4
    for number in range(4):
        alone = predictor(boxes[number : number + 1]).predict(image)
        np.testing.assert_allclose(alone.keypoints[0], together.keypoints[number], atol=1e-4)
        np.testing.assert_allclose(alone.scores[0], together.scores[number], rtol=1e-5)


def test_the_score_is_that_of_the_box_times_those_of_the_joints():
    people = crowd((400, 300), 1, np.random.default_rng(2))
    boxes = boxes_around(people, 30)
    sure = predictor(boxes).predict(picture((400, 300), people, sigma=8))
    unsure = predictor(Boxes(boxes.boxes, boxes.scores / 2)).predict(
        picture((400, 300), people, sigma=8)
    )
    np.testing.assert_allclose(sure.scores, sure.keypoint_scores.mean(1), rtol=1e-5)
    np.testing.assert_allclose(unsure.scores, sure.scores / 2, rtol=1e-5)


def test_no_box_no_people():
    poses = predictor(Boxes(np.zeros((0, 4)), np.zeros(0))).predict(np.zeros((40, 60, 3), np.uint8))
    assert len(poses) == 0
    assert poses.keypoints.shape == (0, 3, 2)


def test_boxes_that_show_nothing_are_left_out():
    boxes = np.array(
        [
            [-50, -50, 30, 40],
            [10, 10, 10, 40],
            [500, 0, 600, 90],
            [np.nan, 0, 5, 5],
            [30, 20, 200, 300],
            [5, 5, 5.2, 6],
        ]
    )
    poses = predictor(Boxes(boxes, np.linspace(1, 0.5, 6))).predict(
        np.full((40, 60, 3), 255, np.uint8)
    )
    assert len(poses) == 3
    assert np.isfinite(poses.keypoints).all()


def test_one_bad_image_does_not_stop_the_others(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    people = crowd((400, 300), 2, np.random.default_rng(5))
    images = [
        picture((400, 300), people, sigma=8),
        str(tmp_path / "bad.jpg"),
        np.zeros((30, 40, 3), np.uint8),
    ]
    predictions = list(predictor(boxes_around(people, 5)[:1]).stream(images))
    assert [p.error is None for p in predictions] == [True, False, True]
    assert len(predictions[2].poses) == 0  # the box lies outside of this one
    assert "not an image" in predictions[1].error
    with pytest.raises(ValueError, match="use `stream`"):
        predictor(boxes_around(people, 30))(images)


def test_one_image_gives_poses_and_several_a_list():
    people = crowd((400, 300), 2, np.random.default_rng(5))
    image, method = picture((400, 300), people, sigma=8), predictor(boxes_around(people, 30))
    assert len(method(image)) == 2
    assert [len(poses) for poses in method([image, image])] == [2, 2]


def test_stages_are_entered_in_order():
    entered = []

    @contextlib.contextmanager
    def stages(name):
        entered.append(name)
        yield

    people = crowd((400, 300), 2, np.random.default_rng(5))
    list(predictor(boxes_around(people, 30), stages=stages).stream([picture((400, 300), people)]))
    assert entered == ["read", "detect", "pose", "group"]


def test_numbers_that_are_not_finite_fail():
    method = predictor(boxes_around(crowd((400, 300), 1, np.random.default_rng(5)), 30))
    method.net.head.forward = lambda maps, wh: PersonOutput(
        torch.full((1, 3, 2), torch.nan), torch.ones(1, 3)
    )
    with pytest.raises(ValueError, match="not finite"):
        method.predict(np.zeros((300, 400, 3), np.uint8))


def test_arguments_out_of_range_and_other_networks_are_refused():
    with pytest.raises(ValueError, match="batch_size is 0"):
        predictor(Boxes(np.zeros((0, 4)), np.zeros(0)), batch_size=0)
    with pytest.raises(ValueError, match="go to `Predictor`"):
        TopDownPredictor("mobile", KnownBoxes(Boxes(np.zeros((0, 4)), np.zeros(0))))
