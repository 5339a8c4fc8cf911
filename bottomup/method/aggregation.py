"""Aggregation: combine the maps of several resolutions, of mirrored images and of several scales.

The rules are those of HigherHRNet (Cheng et al., 2020, section 3.4). Every resize is bilinear with
align_corners=False.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bottomup.models.heads import HeadOutput, Side, resize


class Maps(NamedTuple):
    """Aggregated heatmaps and tags of a batch of images: the input of `Grouper`.

    Attributes:
        heatmaps: one map per joint.
        tags: L tag dimensions per joint and cell; a flip test doubles L.
    """

    heatmaps: Float[Tensor, "B K H W"]
    tags: Float[Tensor, "B K H W L"]


def combine(
    outputs: Sequence[HeadOutput],
    flipped: Sequence[HeadOutput] | None = None,
    *,
    flip_indices: Sequence[int] = (),
) -> Maps:
    """Combine the resolutions of one forward pass and, with a flip test, of the mirrored images.

    All maps are resized to the finest resolution. Heatmaps are averaged. Tags of the resolutions
    that have tags are concatenated. With a flip test, the maps of the mirrored images are mirrored
    back, with left and right joints swapped, and are averaged and concatenated likewise.

    Args:
        outputs: of the network, coarse to fine.
        flipped: of the network for the mirrored images, not mirrored back; None: no flip test.
        flip_indices: K, see `Skeleton.flip_indices`; needed with `flipped`.

    Raises:
        ValueError: no output has tags.
    """
    size = outputs[-1].heatmaps.shape[2:]
    heatmaps = torch.stack([resize(output.heatmaps, size) for output in outputs]).mean(0)
    all_tags = [_resize_tags(output.tags, size) for output in outputs if output.tags is not None]
    if not all_tags:
        raise ValueError("the network predicts no tags: its joints cannot be grouped")
    maps = Maps(heatmaps, torch.cat(all_tags, dim=2).permute(0, 1, 3, 4, 2))
    if flipped is None:
        return maps

    mirrored = combine(flipped)
    mirrored_heatmaps = mirrored.heatmaps.flip(3)[:, flip_indices]
    mirrored_tags = mirrored.tags.flip(3)[:, flip_indices]
    return Maps((heatmaps + mirrored_heatmaps) / 2, torch.cat([maps.tags, mirrored_tags], dim=4))


def aggregate(maps: Sequence[tuple[float, Maps]], size: tuple[int, int] | None = None) -> Maps:
    """Combine several scales: heatmaps are averaged, tags are those of the scale nearest to 1.

    Args:
        maps: pairs of a scale and the maps of all images at that scale.
        size: H, W of the result; None: the largest of the sizes of `maps`.
    """
    wanted = size or max(tuple(m.heatmaps.shape[2:]) for _, m in maps)
    heatmaps = torch.stack([resize(m.heatmaps, wanted) for _, m in maps]).mean(0)
    tags = min(maps, key=lambda pair: abs(pair[0] - 1))[1].tags
    if tags.shape[2:4] != tuple(wanted):
        tags = _resize_tags(tags.permute(0, 1, 4, 2, 3), wanted).permute(0, 1, 3, 4, 2)
    return Maps(heatmaps, tags)


def _resize_tags(
    tags: Float[Tensor, "B K L h w"], size: Sequence[Side]
) -> Float[Tensor, "B K L H W"]:
    return resize(tags.flatten(1, 2), size).unflatten(1, tags.shape[1:3])
