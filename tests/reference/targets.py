"""Heatmaps drawn pixel by pixel."""

import math

import numpy as np


def draw_heatmaps(
    keypoints: np.ndarray, height: int, width: int, sigmas: list[float]
) -> np.ndarray:
    """keypoints (N, K, 3) in pixels of the map -> (K, H, W)."""
    heatmaps = np.zeros((keypoints.shape[1], height, width))
    for person, sigma in zip(keypoints, sigmas, strict=True):
        for heatmap, (x, y, visibility) in zip(heatmaps, person, strict=True):
            x, y = int(x), int(y)
            if visibility == 0 or not (0 <= x < width and 0 <= y < height):
                continue
            for row in range(height):
                for column in range(width):
                    if max(abs(row - y), abs(column - x)) <= 3 * sigma + 1:
                        value = math.exp(-((row - y) ** 2 + (column - x) ** 2) / (2 * sigma**2))
                        heatmap[row, column] = max(heatmap[row, column], value)
    return heatmaps
