import numpy as np
import pytest

from bottomup.data.scenes.crowd import Crowd
from scripts.describe_crowd import SYNTHETIC, evaluation_set, intersection_over_union, people_of


def test_the_evaluation_set_is_as_hard_as_demanded():
    """1 to 10 people of 48 to 256 pixels; 30 % overlap another by IoU > 0.3, 20 % are cut off."""
    images = evaluation_set(SYNTHETIC)
    assert len(images) == 200
    assert (images.crowd.people, images.crowd.sizes) == ((1, 10), (48.0, 256.0))
    people = [
        person for index in range(40) for person in people_of(images.crowd, (images.seed, index))
    ]
    assert np.mean([person.overlaps for person in people]) >= 0.3
    assert np.mean([person.seen_overlaps for person in people]) >= 0.3
    assert np.mean([person.is_cut for person in people]) >= 0.2
    assert min(person.size for person in people) >= 48 - 1e-6
    assert max(person.size for person in people) <= 256 + 1e-6


def test_people_are_those_of_the_evaluated_image():
    images = evaluation_set(SYNTHETIC)
    for index in range(3):
        labelled = (images.scene(index).keypoints[..., 2] > 0).any(1).sum()
        assert len(people_of(images.crowd, (images.seed, index))) == labelled


def test_an_easy_crowd_is_called_easy():
    alone = [
        p
        for i in range(10)
        for p in people_of(Crowd(people=(1, 1), truncation=0, occluders=0), (0, i))
    ]
    assert len(alone) == 10
    assert not any(person.overlaps or person.seen_overlaps or person.is_cut for person in alone)


@pytest.mark.parametrize(
    ("other", "ratio"), [((0, 0, 2, 2), 1), ((1, 0, 3, 2), 1 / 3), ((2, 0, 3, 1), 0)]
)
def test_boxes_are_compared_byintersection_over_union(other, ratio):
    assert intersection_over_union(
        np.array([0.0, 0, 2, 2]), np.array(other, float)
    ) == pytest.approx(ratio)
