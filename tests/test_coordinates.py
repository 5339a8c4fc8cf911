import doctest

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from bottomup import coordinates
from bottomup.coordinates import map_points

sides = st.tuples(st.integers(1, 5000), st.integers(1, 5000))


@given(sides, sides)
def test_corners_meet_corners_and_the_way_back_is_the_way_there(from_wh, to_wh):
    corners = np.array([[-0.5, -0.5], np.array(from_wh) - 0.5])
    there = map_points(corners, from_wh, to_wh)
    np.testing.assert_allclose(there, [[-0.5, -0.5], np.array(to_wh) - 0.5], atol=1e-9)
    np.testing.assert_allclose(map_points(there, to_wh, from_wh), corners, atol=1e-9)


def test_tensors_are_mapped_as_arrays_are():
    points = np.random.default_rng(0).uniform(-10, 10, (3, 4, 2)).astype(np.float32)
    expected = map_points(points, (640, 480), (160, 90))
    assert expected.dtype == np.float32
    found = map_points(torch.from_numpy(points), (640, 480), (160, 90))
    np.testing.assert_array_equal(found.numpy(), expected)


def test_the_example_is_right():
    assert doctest.testmod(coordinates).failed == 0
