import dataclasses

import numpy as np
import pytest
from comparison.drawn_sweeps import BASE, FACTORS, crowd_at, sweep


@pytest.mark.parametrize("factor", FACTORS)
def test_a_level_differs_from_the_base_in_one_thing_at_most(factor):
    fields = [field.name for field in dataclasses.fields(BASE)]
    for level in FACTORS[factor].levels:
        crowd = crowd_at(factor, level)
        assert sum(getattr(crowd, name) != getattr(BASE, name) for name in fields) <= 1


def test_pictures_of_all_levels():
    pictures = list(sweep("resolution", (100, 30), 2, seed=1))
    assert [picture.level for picture in pictures] == [0, 0, 1, 1]
    sizes = [max(entry["bbox"][2:]) for entry in pictures[2].people if entry["num_keypoints"]]
    assert len(sizes) == 4
    assert max(sizes) < 60
    again = list(sweep("resolution", (100, 30), 2, seed=1))
    np.testing.assert_array_equal(pictures[3].image, again[3].image)


def test_blur_comes_after_drawing():
    sharp, blurred = sweep("blur", (0, 16), 1)
    assert sharp.people == blurred.people
    assert (
        np.abs(np.diff(sharp.image.astype(int), axis=1)).mean()
        > np.abs(np.diff(blurred.image.astype(int), axis=1)).mean()
    )
