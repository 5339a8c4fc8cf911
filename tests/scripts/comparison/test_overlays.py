import base64

import cv2
import numpy as np
import pytest
from comparison.overlays import SIDE, image_scores, most_different, small_image

from tests.scripts.comparison.people import placed, result, standing, truth


def test_images_are_scored_by_what_was_found_right():
    me = standing(60, 80)
    content = truth([me], [me, standing(140, 80)], [], [me])
    far = placed(5000, 80)
    entries = [
        result(me), result(me, image_id=2), result(me, image_id=4, points=far),
        result(me, image_id=1, score=0.1, points=far),
    ]  # fmt: skip
    scores = image_scores(entries, content, 0.5)
    assert scores == {1: pytest.approx(1), 2: pytest.approx(2 / 3), 4: 0}
    assert image_scores(entries, content, 0.0)[1] == pytest.approx(2 / 3)


def test_the_most_different_images_come_first():
    scores = {"a": {1: 0.5, 2: 0.9, 3: 0.2}, "b": {1: 0.5, 2: 0.1, 3: 0.5}}
    assert most_different(scores, 5) == [2, 3]
    assert most_different(scores, 1) == [2]
    assert most_different({"a": {1: 0.5}}, 3) == []


def test_a_small_image_shows_people_above_the_threshold():
    image = np.zeros((800, 1000, 3), np.uint8)
    people = [result(standing(500, 400, scale=4), score=0.6)]

    def shown(threshold):
        head, data = small_image(image, people, threshold).split(",")
        assert head == "data:image/jpeg;base64"
        return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)

    assert shown(0.5).shape == (SIDE * 4 // 5, SIDE, 3)
    assert shown(0.5).max() > 150
    assert shown(0.7).max() < 20
    assert small_image(image, [], 0.0).startswith("data:image/jpeg")
