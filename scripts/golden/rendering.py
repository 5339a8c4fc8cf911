"""People as blobs: heatmaps and tags such as a good network would give, with known truth."""

import numpy as np


def render(
    xy: np.ndarray, scores: np.ndarray, tags: np.ndarray, size: tuple[int, int], sigma: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Paint blobs with known centres.

    Args:
        xy: (N, K, 2) cells.
        scores: (N, K), 0 for an absent joint.
        tags: (N, K, L).
        size: H, W.
        sigma: of the blobs, in cells.

    Returns:
        (K, H, W) heatmaps, the maximum of score * exp(-d^2 / (2 sigma^2)), and (K, H, W, L) tags, 7
        x 7 squares whose 3 x 3 middles lie on top of all squares; both zero elsewhere.
    """
    height, width = size
    num_joints = scores.shape[1]
    heatmaps = np.zeros((num_joints, height, width), np.float32)
    tag_maps = np.zeros((num_joints, height, width, tags.shape[2]), np.float32)
    radius = int(np.ceil(3.5 * sigma))
    cells = np.floor(xy + 0.5).astype(int)
    for margin in (3, 1):
        for person, joint in zip(*np.nonzero(scores), strict=True):
            x, y = cells[person, joint]
            window = np.s_[
                joint, max(y - margin, 0) : y + margin + 1, max(x - margin, 0) : x + margin + 1
            ]
            tag_maps[window] = tags[person, joint]
    for person, joint in zip(*np.nonzero(scores), strict=True):
        x, y = cells[person, joint]
        y0, y1, x0, x1 = (
            max(y - radius, 0),
            min(y + radius + 1, height),
            max(x - radius, 0),
            min(x + radius + 1, width),
        )
        ys, xs = np.mgrid[y0:y1, x0:x1]
        squared = (xs - xy[person, joint, 0]) ** 2 + (ys - xy[person, joint, 1]) ** 2
        blob = scores[person, joint] * np.exp(-squared / (2 * sigma**2))
        heatmaps[joint, y0:y1, x0:x1] = np.maximum(heatmaps[joint, y0:y1, x0:x1], blob)
    return heatmaps, tag_maps
