"""Crowds with known truth, and their heatmaps and tags."""

import numpy as np
from golden.rendering import render as render  # for the tests


def random_crowd(num_people, size, *, num_joints=17, tag_dims=2, absent=0.25, seed=0):
    """A crowd of upright stick bodies; a quarter of the joints is missing, tags are well apart.

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
