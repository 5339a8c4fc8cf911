"""One stack of heatmaps and of tags from many: resolutions, a mirrored image, scales.

The rules are those of HigherHRNet (Cheng et al., 2020, section 3.4); every resize is bilinear with
align_corners=False.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bottomup.models.heads import HeadOutput, resize


class Maps(NamedTuple):
    """What the grouper reads.

    Attributes:
        heatmaps: one per joint.
        tags: L tag dimensions per joint; a flip test doubles L.
    """

    heatmaps: Float[Tensor, "B K H W"]
    tags: Float[Tensor, "B K H W L"]


def combine(
    outputs: Sequence[HeadOutput],
    flipped: Sequence[HeadOutput] | None = None,
    *,
    flip_indices: Sequence[int] = (),
) -> Maps:
    """Join the resolutions of one forward pass, and those of the mirrored images if there are any.

    Heatmaps of all resolutions are averaged at the finest one; tags of the resolutions that have
    any are stacked. The mirrored maps are turned back, left and right joints swapped; heatmaps are
    averaged, tags stacked.

    Args:
        outputs: the network's, coarse to fine.
        flipped: its outputs for the images mirrored left to right, as they came.
        flip_indices: K, see `Skeleton.flip_indices`; needed with `flipped`.

    Raises:
        ValueError: no output has tags.
    """
    size = outputs[-1].heatmaps.shape[2:]
    heatmaps = torch.stack([resize(output.heatmaps, size) for output in outputs]).mean(0)
    all_tags = [
        resize(output.tags.flatten(1, 2), size) for output in outputs if output.tags is not None
    ]
    if not all_tags:
        raise ValueError("the network predicts no tags: its people cannot be told apart")
    tags = torch.cat(
        [tags.unflatten(1, (heatmaps.shape[1], -1)) for tags in all_tags], dim=2
    )  # B K L H W
    maps = Maps(heatmaps, tags.permute(0, 1, 3, 4, 2))
    if flipped is None:
        return maps

    mirrored = combine(flipped)
    mirrored_heatmaps = mirrored.heatmaps.flip(3)[:, flip_indices]
    mirrored_tags = mirrored.tags.flip(3)[:, flip_indices]
    return Maps((heatmaps + mirrored_heatmaps) / 2, torch.cat([maps.tags, mirrored_tags], dim=4))


def aggregate(maps: Sequence[tuple[float, Maps]], size: tuple[int, int] | None = None) -> Maps:
    """Join several scales: heatmaps are averaged, tags are those of scale 1.

    Args:
        maps: (scale, maps of all images at that scale).
        size: H, W of the result; None is the largest of the given sizes.

    Returns:
        The joined maps; tags come from the scale nearest to 1 if none is 1.
    """
    if size is None:
        height, width = max(tuple(m.heatmaps.shape[2:]) for _, m in maps)
    else:
        height, width = size
    heatmaps = torch.stack([resize(m.heatmaps, (height, width)) for _, m in maps]).mean(0)
    tags = min(maps, key=lambda pair: abs(pair[0] - 1))[1].tags
    if tags.shape[2:4] != (height, width):
        num_keypoints = tags.shape[1]
        flat = resize(tags.permute(0, 1, 4, 2, 3).flatten(1, 2), (height, width))
        tags = flat.unflatten(1, (num_keypoints, -1)).permute(0, 1, 3, 4, 2)
    return Maps(heatmaps, tags)
