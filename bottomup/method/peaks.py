"""The peaks of heatmaps: which cells can be joints, and where between the cells a joint lies."""

import itertools
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Cells(NamedTuple):
    """The M cells of one image's K H W heatmaps that can become joints, on the host, in ascending order.

    They exceed a threshold and are the largest along their row or along their column, next
    neighbours compared.

    Attributes:
        flat: the index k * H * W + y * W + x.
        value: the heatmap there.
        tags: the tag there.
        is_peak: whether the cell is the largest of its neighbourhood and exceeds the detection
            threshold.
    """

    flat: Int[np.ndarray, " M"]
    value: Float[np.ndarray, " M"]
    tags: Float[np.ndarray, "M L"]
    is_peak: Bool[np.ndarray, " M"]

    def of_joint(self, joint: int, map_size: int) -> "Cells":
        """The cells of one joint's map; `flat` is then y * W + x."""
        first, last = np.searchsorted(self.flat, (joint * map_size, (joint + 1) * map_size))
        cells = Cells(*(array[first:last] for array in self))
        return cells._replace(flat=cells.flat - joint * map_size)


def find_cells(
    heatmaps: Float[Tensor, "B K H W"],
    tags: Float[Tensor, "B K H W L"],
    *,
    detection_threshold: float,
    refine_threshold: float,
    kernel_size: int,
) -> list[Cells]:
    """The cells that can matter, one `Cells` per image.

    Thresholding comes first because hardly a cell survives it: a dense maximum filter costs more
    than all the rest. Of a blob then only the crests are kept, where a joint's best place must lie.
    """
    height, width = heatmaps.shape[2:]
    flat = heatmaps.flatten()
    index = _where_above(flat, min(detection_threshold, refine_threshold))
    value = flat[index]

    # left and right neighbours stand side by side in the list itself; those above and below are a
    # look-up away
    adjacent = (index.diff() == 1) & (index[1:] % width != 0)
    largest_in_row = torch.ones_like(index, dtype=torch.bool)
    largest_in_row[1:] &= ~(adjacent & (value[:-1] >= value[1:]))
    largest_in_row[:-1] &= ~(adjacent & (value[1:] > value[:-1]))
    row_start = index % (height * width)
    above, below = row_start >= width, row_start < (height - 1) * width
    largest_in_column = ~(above & (flat[torch.where(above, index - width, index)] >= value))
    largest_in_column &= ~(below & (flat[torch.where(below, index + width, index)] > value))

    crest = torch.nonzero(largest_in_row | largest_in_column).squeeze(1)
    is_peak = (largest_in_row & largest_in_column & (value > detection_threshold))[crest]
    index, value = index[crest], value[crest]
    is_peak[is_peak.clone()] = _is_largest(heatmaps, index[is_peak], kernel_size)
    tag = tags[torch.unravel_index(index, heatmaps.shape)].float()

    index, value, tag, is_peak = (array.cpu().numpy() for array in (index, value, tag, is_peak))
    size = heatmaps.shape[1] * height * width
    bounds = np.searchsorted(index, np.arange(len(heatmaps) + 1) * size)
    return [
        Cells(index[a:b] - i * size, value[a:b], tag[a:b], is_peak[a:b])
        for i, (a, b) in enumerate(itertools.pairwise(bounds))
    ]


def _where_above(flat: Float[Tensor, " C"], threshold: float) -> Int[Tensor, " M"]:
    if flat.device.type == "cpu":  # numpy scans several times faster than torch
        return torch.from_numpy(np.flatnonzero(flat.numpy() > np.float32(threshold)))
    return torch.nonzero(flat > threshold).squeeze(1)


def _is_largest(
    heatmaps: Float[Tensor, "B K H W"], index: Int[Tensor, " M"], kernel_size: int
) -> Bool[Tensor, " M"]:
    """Whether each cell is the largest of its square; of equal ones, the first in reading order is."""
    height, width = heatmaps.shape[2:]
    around = torch.arange(kernel_size, device=index.device) - kernel_size // 2
    dy, dx = around.repeat_interleave(kernel_size), around.repeat(kernel_size)
    y, x = (index // width % height)[:, None] + dy, (index % width)[:, None] + dx  # M kernel_size^2
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    value = heatmaps.flatten()[
        torch.where(inside, index[:, None] + dy * width + dx, index[:, None])
    ]
    earlier = dy * width + dx < 0
    own = value[:, kernel_size**2 // 2, None]
    return ~(inside & (value > own) | inside & earlier & (value == own)).any(1)


def locate(
    heatmaps: Float[Tensor, "B K H W"],
    image: Int[Tensor, " M"],
    joint: Int[Tensor, " M"],
    cell: Int[Tensor, " M"],
    *,
    quarter: bool,
) -> tuple[Float[Tensor, "M 2"], Float[Tensor, " M"]]:
    """Coordinates finer than a cell, and the heatmap's value.

    Args:
        heatmaps: of all images.
        image: index of the image.
        joint: index of the map.
        cell: y * W + x.
        quarter: the reference's rule, a quarter of a cell towards the larger neighbour, plus half a
            cell for targets drawn at truncated coordinates. Otherwise the vertex of the parabola
            through the logarithms of the three cells along each axis, which is exact for a
            Gaussian; zero where that is undefined or at the border.

    Returns:
        (M, 2) x, y in cells and (M,) values.
    """
    height, width = heatmaps.shape[2:]
    y, x = cell // width, cell % width
    value = heatmaps[image, joint, y, x]
    offsets = []
    for dx, dy in ((1, 0), (0, 1)):
        low = heatmaps[image, joint, (y - dy).clamp(min=0), (x - dx).clamp(min=0)]
        high = heatmaps[image, joint, (y + dy).clamp(max=height - 1), (x + dx).clamp(max=width - 1)]
        if quarter:
            offsets.append(torch.where(high > low, 0.75, 0.25))
        else:
            at_border = (x == 0) | (x == width - 1) if dx else (y == 0) | (y == height - 1)
            a, b, c = (v.clamp(1e-6, 1e6).log() for v in (low, value, high))
            vertex = (c - a) / (2 * (2 * b - a - c)).clamp(min=1e-6)
            offsets.append(torch.where(at_border, 0, vertex.clamp(-0.5, 0.5)))
    return torch.stack([x + offsets[0], y + offsets[1]], dim=1), value
