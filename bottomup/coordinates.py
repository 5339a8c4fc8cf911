"""The one conversion of points between grids of pixels or cells.

A point is (x, y), and the centre of the top-left pixel is (0, 0). So a grid of W x H pixels covers
the area from (-0.5, -0.5) to (W - 0.5, H - 0.5), and the points of two grids that cover the same
area differ by a factor and a shift.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np


def map_points(points: Any, from_wh: Sequence[int], to_wh: Sequence[int]) -> Any:
    """Convert points from one grid of pixels or cells to another that covers the same area.

    Args:
        points: (..., 2) x, y in pixels of the first grid; an array or a tensor of floats.
        from_wh: width and height of the first grid.
        to_wh: width and height of the second grid.

    Returns:
        (..., 2) x, y in pixels of the second grid, of the type and precision of `points`.

    Example:
        >>> map_points(np.array([[-0.5, -0.5], [0.0, 0.0]]), (100, 50), (200, 100))
        array([[-0.5, -0.5],
               [ 0.5,  0.5]])
    """
    factors = [to / before for to, before in zip(to_wh, from_wh, strict=True)]
    if isinstance(points, np.ndarray):
        return (points + 0.5) * np.array(factors, points.dtype) - 0.5
    return (points + 0.5) * points.new_tensor(factors) - 0.5
