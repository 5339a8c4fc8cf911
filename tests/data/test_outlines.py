import numpy as np

from bottomup.data.outlines import decode_outline


def test_uncompressed_run_lengths_and_boxes_beyond_the_border_are_decoded():
    runs = {"size": [2, 3], "counts": [1, 2, 3]}
    np.testing.assert_array_equal(decode_outline(runs, 3, 2), [[0, 1, 0], [1, 0, 0]])
    runs = {"size": [2.0, 3.0], "counts": [1.0, 2.0, 3.0]}
    np.testing.assert_array_equal(decode_outline(runs, 3, 2), [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(decode_outline([-5, -5, 6, 6], 3, 2), [[1, 0, 0], [0, 0, 0]])
    assert not decode_outline([-5, -5, 2, 2], 3, 2).any()


def test_polygons_of_two_points_hold_nothing():
    assert not decode_outline([[1, 1, 2, 2], []], 3, 3).any()
