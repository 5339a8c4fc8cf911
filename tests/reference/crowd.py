"""People as blobs: heatmaps and tags such as a good network would give for a crowd, with known truth."""

import numpy as np


def render(xy, scores, tags, size, sigma=2.0):
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


def random_crowd(num_people, size, *, num_joints=17, tag_dims=2, absent=0.25, seed=0):
    """A crowd scattered over the map: upright stick bodies, a quarter of the joints missing, tags well apart.

    Returns:
        xy (N, K, 2), scores (N, K), tags (N, K, L) as `render` takes them.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    # a jittered grid of bodies, each some 80 cells high
    columns = max(int(np.ceil(np.sqrt(num_people * width / height))), 1)
    rows = max(int(np.ceil(num_people / columns)), 1)
    spot = rng.permutation(rows * columns)[:num_people]
    centers = (
        np.stack([spot % columns, spot // columns], 1) + rng.uniform(0.3, 0.7, (num_people, 2))
    ) * (
        width / columns,
        height / rows,
    )
    body = np.stack([rng.uniform(-12, 12, num_joints), np.linspace(-40, 40, num_joints)], 1)
    xy = (
        centers[:, None]
        + body * rng.uniform(0.6, 1.2, (num_people, 1, 1))
        + rng.normal(0, 2, (num_people, num_joints, 2))
    )
    xy = np.clip(xy, 0, (width - 1, height - 1))
    scores = rng.uniform(0.3, 1.0, (num_people, num_joints)) * (
        rng.random((num_people, num_joints)) >= absent
    )
    person_tags = np.arange(num_people)[:, None, None] * 1.5 + rng.uniform(
        -0.1, 0.1, (1, 1, tag_dims)
    )
    tags = person_tags + rng.normal(0, 0.05, (num_people, num_joints, tag_dims))
    return xy, scores, tags.astype(np.float32)
