"""Outlines of people in COCO's format, as pixels."""

import warnings
from typing import Any

import numpy as np
from jaxtyping import Bool
from pycocotools import mask as masks


def decode_outline(outline: Any, width: int, height: int) -> Bool[np.ndarray, "H W"]:
    """Pixels inside an outline: polygons, run lengths (either kind) or a box x, y, w, h."""
    inside = np.zeros((height, width), bool)
    if isinstance(outline, list) and not isinstance(outline[0], list):
        x, y, wide, high = outline
        rows = slice(max(int(y), 0), max(int(np.ceil(y + high)), 0))
        inside[rows, max(int(x), 0) : max(int(np.ceil(x + wide)), 0)] = True
        return inside
    if isinstance(outline, list):
        outline = [polygon for polygon in outline if len(polygon) >= 6]  # two points have no area
        if not outline:
            return inside
        outline = masks.merge(masks.frPyObjects(outline, height, width))
    runs: Any = {"size": [height, width], "counts": outline["counts"]}
    if isinstance(runs["counts"], list):
        runs = masks.frPyObjects(runs, height, width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools' own, about numpy
        return masks.decode(runs).astype(bool)
