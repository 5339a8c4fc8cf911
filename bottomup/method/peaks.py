"""Peaks of heatmaps: the cells that can become joints, and positions finer than a cell."""

import itertools

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bottomup.method.matching import Candidates

KERNEL_SIZE = 5  # cells; a peak is the largest in a square of this side, as published


def find_candidates(
    heatmaps: Float[Tensor, "B K H W"],
    tags: Float[Tensor, "B K H W L"],
    *,
    detection_threshold: float,
    refine_threshold: float,
) -> list[Candidates]:
    """Find the cells that can become joints: one `Candidates` per image, on the host.

    Thresholding comes first, because few cells exceed the threshold, and a maximum filter over all
    cells would cost more than all other steps. Of these cells only crests are kept: the largest of
    three neighbours along their row or their column.

    Args:
        heatmaps: one map per joint.
        tags: L tag dimensions per joint and cell.
        detection_threshold: peaks exceed it.
        refine_threshold: candidates that are not peaks exceed the lower of the two thresholds.
    """
    height, width = heatmaps.shape[2:]
    flat = heatmaps.flatten()
    index = _where_above(flat, min(detection_threshold, refine_threshold))
    value = flat[index]

    # In the sorted list, neighbours in a row are adjacent; neighbours in a column are looked up.
    # Of equal neighbours the first is the largest.
    adjacent = (index.diff() == 1) & (index[1:] % width != 0)
    largest_in_row = torch.ones_like(index, dtype=torch.bool)
    largest_in_row[1:] &= ~(adjacent & (value[:-1] >= value[1:]))
    largest_in_row[:-1] &= ~(adjacent & (value[1:] > value[:-1]))
    in_map = index % (height * width)
    above, below = in_map >= width, in_map < (height - 1) * width
    value_above = flat[torch.where(above, index - width, index)]
    value_below = flat[torch.where(below, index + width, index)]
    largest_in_column = ~(above & (value_above >= value)) & ~(below & (value_below > value))

    # crests; a peak is also the largest of its square
    crest = torch.nonzero(largest_in_row | largest_in_column).squeeze(1)
    is_peak = (largest_in_row & largest_in_column & (value > detection_threshold))[crest]
    index, value = index[crest], value[crest]
    is_peak[is_peak.clone()] = _is_largest(heatmaps, index[is_peak])
    tag = tags[torch.unravel_index(index, heatmaps.shape)].float()

    # to the host, then split by image
    index, value, tag, is_peak = (array.cpu().numpy() for array in (index, value, tag, is_peak))
    size = heatmaps.shape[1] * height * width
    bounds = np.searchsorted(index, np.arange(len(heatmaps) + 1) * size)
    return [
        Candidates(index[a:b] - i * size, value[a:b], tag[a:b], is_peak[a:b])
        for i, (a, b) in enumerate(itertools.pairwise(bounds))
    ]


def _where_above(flat: Float[Tensor, " C"], threshold: float) -> Int[Tensor, " M"]:
    if flat.device.type == "cpu":  # numpy scans several times faster than torch
        return torch.from_numpy(np.flatnonzero(flat.numpy() > np.float32(threshold)))
    return torch.nonzero(flat > threshold).squeeze(1)


def _is_largest(heatmaps: Float[Tensor, "B K H W"], index: Int[Tensor, " M"]) -> Bool[Tensor, " M"]:
    """Whether each cell is the largest of its square; of equal cells, the first (row by row)."""
    height, width = heatmaps.shape[2:]
    around = torch.arange(KERNEL_SIZE, device=index.device) - KERNEL_SIZE // 2
    dy, dx = around.repeat_interleave(KERNEL_SIZE), around.repeat(KERNEL_SIZE)
    y, x = (index // width % height)[:, None] + dy, (index % width)[:, None] + dx  # M 25
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    neighbour = torch.where(inside, index[:, None] + dy * width + dx, index[:, None])  # M 25
    value = heatmaps.flatten()[neighbour]
    own = value[:, KERNEL_SIZE**2 // 2, None]
    earlier = dy * width + dx < 0
    return ~(inside & (value > own) | inside & earlier & (value == own)).any(1)


def locate(
    heatmaps: Float[Tensor, "B K H W"],
    image: Int[Tensor, " M"],
    joint: Int[Tensor, " M"],
    cell: Int[Tensor, " M"],
    *,
    quarter_offset: bool,
) -> tuple[Float[Tensor, "M 2"], Float[Tensor, " M"]]:
    """Positions finer than a cell, and the heatmap's value.

    Args:
        heatmaps: of all images.
        image: index of each joint's image.
        joint: index of its map.
        cell: its cell y * W + x.
        quarter_offset: see `Rules`. Otherwise the position is the vertex of the parabola through
            the logarithms of three cells along each axis: at most half a cell away, and the cell
            itself at the border.

    Returns:
        x, y in cells, and the values of the cells.
    """
    height, width = heatmaps.shape[2:]
    y, x = cell // width, cell % width
    value = heatmaps[image, joint, y, x]
    offsets = []
    for dx, dy in ((1, 0), (0, 1)):
        low = heatmaps[image, joint, (y - dy).clamp(min=0), (x - dx).clamp(min=0)]
        high = heatmaps[image, joint, (y + dy).clamp(max=height - 1), (x + dx).clamp(max=width - 1)]
        if quarter_offset:  # half a cell, and a quarter towards the larger neighbour
            offsets.append(torch.where(high > low, 0.75, 0.25))
        else:
            at_border = (x == 0) | (x == width - 1) if dx else (y == 0) | (y == height - 1)
            a, b, c = (v.clamp(1e-6, 1e6).log() for v in (low, value, high))
            # the parabola through a, b and c at -1, 0 and 1
            vertex = (c - a) / (2 * (2 * b - a - c)).clamp(min=1e-6)
            offsets.append(torch.where(at_border, 0, vertex.clamp(-0.5, 0.5)))
    return torch.stack([x + offsets[0], y + offsets[1]], dim=1), value
