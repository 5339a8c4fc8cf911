"""Targets: a heatmap per joint, and the cells from which each person's tags are read.

Targets are rendered from the keypoints of a whole batch, on the device that computes the loss. The
data loader only passes images, keypoints and masks. Method: Newell et al., "Associative Embedding"
(NeurIPS 2017). Default values are those of HigherHRNet's public training code.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Hw = Sequence[int]  # height and width
MARGIN = 0.1  # by which boxes around joints are enlarged, as a share of their sides


def to_cells(
    points: Float[Tensor, "B N K D"], input_hw: Hw, map_hw: Hw, offset: float = 0.0
) -> Float[Tensor, "B N K D"]:
    """Points x, y, ... in pixels of an input, in cells of its map; cell c reaches from c to c + 1.

    Prediction adds `offset` to positions (`Preprocessing.offset`), so it is taken off here.
    """
    shift = 0.5 - offset
    x = (points[..., :1] + shift) * (map_hw[1] / input_hw[1])
    y = (points[..., 1:2] + shift) * (map_hw[0] / input_hw[0])
    return torch.cat([x, y, points[..., 2:]], dim=-1)


def locate_joints(
    keypoints: Float[Tensor, "B N K 3"], height: int, width: int
) -> tuple[Int[Tensor, "B N K"], Bool[Tensor, "B N K"]]:
    """Find the cell of every labelled joint in a stack of K maps.

    Coordinates are truncated toward zero, so -0.7 is in cell 0, inside the map.

    Args:
        keypoints: x, y in cells of the map, and visibility: 0 is unlabelled, 1 and 2 are labelled.
        height: rows of the map.
        width: columns of the map.

    Returns:
        Flat indices (k * height + y) * width + x into the stack, 0 for absent joints; and which
        joints are present: labelled and inside the map.
    """
    cells = keypoints[..., :2].trunc().long()
    x, y = cells.unbind(-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (keypoints[..., 2] > 0)
    joint = torch.arange(keypoints.shape[2], device=keypoints.device)
    return torch.where(inside, (joint * height + y) * width + x, 0), inside


def render_heatmaps(
    keypoints: Float[Tensor, "B N K 3"],
    height: int,
    width: int,
    *,
    sigma: float | Float[Tensor, "B N"] = 2.0,
    max_sigma: float | None = None,
    exact: bool = False,
) -> Float[Tensor, "B K H W"]:
    """Draw a Gaussian with peak 1 at every labelled joint; where two overlap, the maximum counts.

    A joint whose cell lies outside the map is left out. The Gaussian is 0 beyond 3 sigma + 1 cells
    on either axis. One scatter writes all windows: the cost grows with the number of joints, not
    with people times pixels.

    Args:
        keypoints: x, y in cells of the map, and visibility.
        height: rows of the map.
        width: columns of the map.
        sigma: standard deviation in cells, one for all or one per person.
        max_sigma: an upper bound of a `sigma` per person; it sets the size of the window.
        exact: centre the Gaussian on the exact point, where cell c reaches from c to c + 1.
            Otherwise on the cell of `locate_joints`, as the published networks were trained: their
            predicted positions need an offset of 0.5 pixels of the network's input.

    Raises:
        ValueError: `sigma` is a tensor and `max_sigma` is missing.
    """
    if isinstance(sigma, Tensor) and max_sigma is None:
        raise ValueError("a sigma per person needs max_sigma, the size of the window to draw in")
    batch, _, num_joints, _ = keypoints.shape
    device = keypoints.device
    spread = torch.as_tensor(sigma, dtype=torch.float32, device=device)
    if spread.ndim == 2:
        spread = spread[..., None, None, None]  # B N 1 1 1

    # a window of w cells around every joint, and the Gaussian's profile along each axis
    _, inside = locate_joints(keypoints, height, width)
    cells = keypoints[..., :2].trunc()
    reach = int(3 * (max_sigma or float(sigma)) + 1)
    positions = cells[..., None] + torch.arange(-reach, reach + 1, device=device)  # B N K 2 w
    points = keypoints[..., :2] - 0.5 if exact else cells
    distances = (positions - points[..., None]).float()
    profiles = torch.exp(-distances.square() / (2 * spread.square()))
    profiles = profiles * ((positions - cells[..., None]).abs() <= 3 * spread + 1)

    # the product of both profiles, 0 outside the map and for absent joints
    x, y = positions.long().unbind(-2)  # B N K w
    x_profile = profiles[..., 0, :] * ((x >= 0) & (x < width))
    y_profile = profiles[..., 1, :] * ((y >= 0) & (y < height)) * inside[..., None]
    values = y_profile[..., :, None] * x_profile[..., None, :]  # B N K w w

    # write all windows into one flat stack of maps, and keep the maximum where they overlap
    rows = y.clamp(0, height - 1)[..., :, None] * width + x.clamp(0, width - 1)[..., None, :]
    planes = torch.arange(batch * num_joints, device=device).view(batch, 1, num_joints, 1, 1)
    index = planes * (height * width) + rows
    heatmaps = values.new_zeros(batch * num_joints * height * width)
    heatmaps.scatter_reduce_(0, index.flatten(), values.flatten(), "amax")
    return heatmaps.view(batch, num_joints, height, width)


def joint_boxes(
    keypoints: Float[Tensor, "B N K 3"], boxes: Float[Tensor, "B N 4"] | None = None
) -> tuple[Float[Tensor, "B N 2"], Float[Tensor, "B N 2"]]:
    """Corners x0, y0 and x1, y1 of the box around each person's labelled joints.

    A single joint has no extent: with one, the given box serves, unless it has no area. Rows
    without labelled joints (padding) have x0 = y0 = inf and x1 = y1 = -inf.
    """
    labelled, points = keypoints[..., 2:] > 0, keypoints[..., :2]
    low = points.masked_fill(~labelled, torch.inf).amin(2)
    high = points.masked_fill(~labelled, -torch.inf).amax(2)
    if boxes is None:
        return low, high
    serves = (labelled.sum(2) == 1) & (boxes[..., 2:] > boxes[..., :2]).all(2, keepdim=True)
    return torch.where(serves, boxes[..., :2], low), torch.where(serves, boxes[..., 2:], high)


def adaptive_sigma(
    keypoints: Float[Tensor, "B N K 3"],
    boxes: Float[Tensor, "B N 4"] | None = None,
    *,
    sigma: float = 2.0,
    reference: float = 32.0,
    low: float = 1.0,
) -> Float[Tensor, "B N"]:
    """Standard deviations that are smaller for small people (compare SWAHR, CVPR 2021).

    The size of a person is the longer side of its box of `joint_boxes`. `sigma` belongs to people
    of at least `reference` cells; for smaller people it shrinks in proportion, to `low`.

    Args:
        keypoints: x, y in cells of the map, and visibility.
        boxes: in cells, see `joint_boxes`.
        sigma: standard deviation in cells for large people, the largest that is returned.
        reference: the size in cells from which on a person is large.
        low: the smallest value in cells, also for people without labelled joints.
    """
    low_corner, high_corner = joint_boxes(keypoints, boxes)
    side = (high_corner - low_corner).amax(-1)
    return (side * (sigma / reference)).clamp(low, sigma).float()


def undefined_joints(
    keypoints: Tensor, height: int, width: int, boxes: Tensor | None = None
) -> Bool[Tensor, "B K H W"]:
    """Cells that may show an unlabelled joint k: the boxes of people whose joint k is unlabelled.

    The boxes are those of `joint_boxes`, enlarged by `MARGIN`. The arguments are those of
    `joint_boxes`, in cells of the map, and its rows and columns.
    """
    low, high = joint_boxes(keypoints, boxes)
    slack = (high - low).clamp(min=0) * MARGIN
    return cells_in_boxes(low - slack, high + slack, keypoints[..., 2] <= 0, height, width)


def cells_in_boxes(
    low: Tensor, high: Tensor, counts: Tensor, height: int, width: int, *, shift: float = 0.0
) -> Bool[Tensor, "B K H W"]:
    """Cells c of map k with c + `shift` between the corners `low`, `high` (B N 2) of a person.

    Only people that count (B N K) for map k have cells there.
    """
    x, y = (torch.arange(side, device=low.device) + shift for side in (width, height))
    columns = (x >= low[..., :1]) & (x <= high[..., :1])  # B N W
    rows = (y >= low[..., 1:]) & (y <= high[..., 1:])  # B N H
    parts = (counts.float(), rows.float(), columns.float())
    return torch.einsum("bnk,bnh,bnw->bkhw", *parts) > 0
