"""Aggregation: combine the maps of several resolutions, of mirrored images and of several scales.

The rules are those of HigherHRNet (Cheng et al., 2020, section 3.4). Every resize is bilinear with
align_corners=False.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bottomup.models.heads import HeadOutput, Side, resize, resize_tags


class Maps(NamedTuple):
    """Aggregated heatmaps and tags of a batch of images: the input of `Grouper`.

    Attributes:
        heatmaps: one map per joint.
        tags: L tag dimensions per joint and cell, perhaps coarser: only those of the few cells that
            become joints are interpolated. A flip test doubles L.
    """

    heatmaps: Float[Tensor, "B K H W"]
    tags: Float[Tensor, "B K h w L"]


def combine(
    outputs: Sequence[HeadOutput],
    flipped: Sequence[HeadOutput] | None = None,
    *,
    flip_indices: Sequence[int] = (),
) -> Maps:
    """Combine the resolutions of one forward pass and, with a flip test, of the mirrored images.

    Heatmaps are averaged at the finest resolution, tags concatenated at the finest that has tags.
    With a flip test, the maps of the mirrored images are mirrored back, with left and right joints
    swapped, and are averaged and concatenated likewise.

    Args:
        outputs: of the network, coarse to fine.
        flipped: of the network for the mirrored images, not mirrored back; None: no flip test.
        flip_indices: K, see `Skeleton.flip_indices`; needed with `flipped`.

    Raises:
        ValueError: no output has tags.
    """
    heatmaps = _mean([output.heatmaps for output in outputs], outputs[-1].heatmaps.shape[2:])
    all_tags = [o.tags.permute(0, 1, 3, 4, 2) for o in outputs if o.tags is not None]
    if not all_tags:
        raise ValueError("the network predicts no tags: its joints cannot be grouped")
    size = all_tags[-1].shape[2:4]
    maps = Maps(heatmaps, torch.cat([resize_tags(tags, size) for tags in all_tags], dim=4))
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
    nearest = min(maps, key=lambda pair: abs(pair[0] - 1))[1]
    own, tags = tuple(nearest.heatmaps.shape[2:]), nearest.tags
    if own != wanted:  # by way of the size of their heatmaps, as the reference does
        tags = resize_tags(resize_tags(tags, own), wanted)
    return Maps(_mean([m.heatmaps for _, m in maps], wanted), tags)


def _mean(maps: Sequence[Float[Tensor, "B K _ _"]], size: Sequence[Side]) -> Tensor:
    """The mean of maps at one size, in the memory of one: new memory costs more than the sum."""
    first, *others = maps
    mean = resize(first / len(maps) if others else first, size)
    for other in others:
        mean.add_(resize(other, size), alpha=1 / len(maps))
    return mean
