"""Peaks of heatmaps: the cells that can become joints, and positions finer than a cell."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bottomup.method.matching import Candidates
from bottomup.models.heads import resized_at

KERNEL_SIZE = 5  # cells; a peak is the largest in a square of this side, as published

Cells = Int[np.ndarray, " M"]  # indices in flattened maps


def find_candidates(
    heatmaps: Float[Tensor, "B K H W"],
    tags: Float[Tensor, "B K h w L"],
    *,
    detection_threshold: float,
    refine_threshold: float,
) -> list[Candidates]:
    """Find the cells that can become joints: one `Candidates` per image, on the host.

    Thresholding comes first, because few cells exceed the threshold, and a maximum filter over all
    cells would cost more than all other steps. Of these cells only crests are kept: the largest of
    three neighbours along their row or their column. Tags are interpolated at crests alone.

    Args:
        heatmaps: one map per joint.
        tags: L tag dimensions per joint and cell; the maps may be coarser than the heatmaps.
        detection_threshold: peaks exceed it.
        refine_threshold: candidates that are not peaks exceed the lower of the two thresholds.
    """
    index = _where_above(heatmaps.flatten(), min(detection_threshold, refine_threshold))
    value = _take(heatmaps, index)
    in_row, in_column = (  # of equal neighbours the first is the largest
        ~((before >= value) & (at > 0) | (after > value))
        for at, _, before, after in _along(heatmaps, index)
    )
    crest = np.flatnonzero(in_row | in_column)
    is_peak = (in_row & in_column & (value > detection_threshold))[crest]
    index, value = index[crest], value[crest]
    is_peak[is_peak] = _is_largest(heatmaps, index[is_peak])
    tag = resized_at(tags, heatmaps.shape[2:], index)

    # split by image
    size = math.prod(heatmaps.shape[1:])
    bounds = np.searchsorted(index, np.arange(len(heatmaps) + 1) * size)
    return [
        Candidates(index[a:b] - i * size, value[a:b], tag[a:b], is_peak[a:b])
        for i, (a, b) in enumerate(itertools.pairwise(bounds))
    ]


def _where_above(flat: Float[Tensor, " C"], threshold: float) -> Cells:
    if flat.device.type != "cpu":
        return torch.nonzero(flat > threshold).squeeze(1).cpu().numpy()
    # numpy scans several times faster than torch; of eight cells, mostly none is above
    above = np.empty(-(-len(flat) // 8) * 8, bool)
    above[-8:] = False
    np.greater(flat.numpy(), np.float32(threshold), out=above[: len(flat)])
    eights = np.flatnonzero(above.view(np.uint64) != 0)
    places = np.flatnonzero(above.reshape(-1, 8)[eights])
    return 8 * eights[places // 8] + places % 8


def _take(maps: Tensor, cells: Int[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The values of cells on the host: nothing else leaves the device."""
    return maps.flatten().take(torch.from_numpy(cells).to(maps.device)).cpu().numpy()


def _along(
    heatmaps: Float[Tensor, "B K H W"], index: Cells
) -> Iterator[tuple[Cells, int, Float[np.ndarray, " M"], Float[np.ndarray, " M"]]]:
    """For x, then y: where a cell is, the last place, the values before and after (inside)."""
    height, width = heatmaps.shape[2:]
    row = index // width
    axes = ((index - row * width, width - 1, 1), (row % height, height - 1, width))
    for at, last, step in axes:
        before, after = index - step * (at > 0), index + step * (at < last)
        yield at, last, _take(heatmaps, before), _take(heatmaps, after)


def _is_largest(heatmaps: Float[Tensor, "B K H W"], index: Cells) -> Bool[np.ndarray, " M"]:
    """Whether each cell is the largest of its square; of equal cells, the first (row by row)."""
    height, width = heatmaps.shape[2:]
    around = np.arange(KERNEL_SIZE) - KERNEL_SIZE // 2
    dy, dx = around.repeat(KERNEL_SIZE)[:, None], np.tile(around, KERNEL_SIZE)[:, None]
    y, x = index // width % height, index % width
    # beyond the border are the cells of the border again
    step = ((y + dy).clip(0, height - 1) - y) * width + (x + dx).clip(0, width - 1) - x  # 25 M
    other = _take(heatmaps, index + step)
    own = other[len(other) // 2]
    return ~((other > own) | (other == own) & (step < 0)).any(0)


def locate(
    heatmaps: Float[Tensor, "B K H W"], index: Cells, *, quarter_offset: bool
) -> tuple[Float[np.ndarray, "M 2"], Float[np.ndarray, " M"]]:
    """Positions finer than a cell, and the heatmap's value.

    Args:
        heatmaps: of all images.
        index: ((b * K + k) * H + y) * W + x of each joint.
        quarter_offset: see `Rules`. Otherwise the position is the vertex of the parabola through
            the logarithms of three cells along each axis: at most half a cell away, and the cell
            itself at the border.

    Returns:
        x, y in cells, and the values of the cells.
    """
    value = _take(heatmaps, index)
    position = []
    for at, last, before, after in _along(heatmaps, index):
        if quarter_offset:  # half a cell, and a quarter towards the larger neighbour
            position.append(at + np.where(after > before, 0.75, 0.25))
        else:
            a, b, c = (np.log(v.clip(1e-6, 1e6)) for v in (before, value, after))
            # the parabola through a, b and c at -1, 0 and 1
            vertex = ((c - a) / (2 * (2 * b - a - c)).clip(1e-6)).clip(-0.5, 0.5)
            position.append(at + np.where((at == 0) | (at == last), 0, vertex))
    return np.stack(position, axis=1), value
