"""What the network should say about an image: a heatmap per joint, and where to read each person's tags.

Everything is rendered where the loss is computed, for a whole batch at once, from the keypoints
alone: nothing but image, keypoints and mask leaves the loader. Method: Newell et al., "Associative
Embedding" (NeurIPS 2017); the numbers are those of HigherHRNet's public training code.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

TRUNCATED = "truncated"
EXACT = "exact"


def locate_joints(
    keypoints: Float[Tensor, "B N K 3"], height: int, width: int
) -> tuple[Int[Tensor, "B N K"], Bool[Tensor, "B N K"]]:
    """Find the cell of every labelled joint in a stack of K maps.

    Coordinates are cut toward zero, so -0.7 falls into cell 0 and is inside.

    Args:
        keypoints: x, y in pixels of the map, and visibility (0 = not labelled; 1 and 2 alike are).
        height: rows of the map.
        width: columns of the map.

    Returns:
        flat indices (k * height + y) * width + x into the stack, 0 where there is no joint; and
        where there is one.
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
    centres: str = TRUNCATED,
) -> Float[Tensor, "B K H W"]:
    """Draw an unnormalised Gaussian at every labelled joint; where two meet, the larger value counts.

    A joint whose cell lies outside the map is skipped altogether. The Gaussian is cut off beyond 3
    sigma + 1 cells on either axis. All of them are written in one scatter: the cost depends on the
    joints, not on people times pixels.

    Args:
        keypoints: x, y in pixels of the map, and visibility.
        height: rows of the map.
        width: columns of the map.
        sigma: spread in cells, one for all or one per person.
        max_sigma: the largest spread to expect when `sigma` is a tensor; it sets the size of the
            window.
        centres: "truncated" draws about the cell that `locate_joints` gives, as the published
            networks were trained (their located peaks need +0.5 pixels of the network's input);
            "exact" draws about the point itself, cell c reaching from c to c + 1 with its centre
            between them (no offset needed then).

    Raises:
        ValueError: `sigma` is a tensor and `max_sigma` is missing, or `centres` is unknown.
    """
    if centres not in (TRUNCATED, EXACT):
        raise ValueError(f"centres must be {TRUNCATED!r} or {EXACT!r}, not {centres!r}")
    if isinstance(sigma, Tensor) and max_sigma is None:
        raise ValueError("a sigma per person needs max_sigma, the size of the window to draw in")
    batch, _, num_joints, _ = keypoints.shape
    largest = float(max_sigma if isinstance(sigma, Tensor) else sigma)  # type: ignore[arg-type]
    spread = (
        sigma if isinstance(sigma, Tensor) else torch.full((1, 1), largest, device=keypoints.device)
    )
    spread = spread[..., None, None, None].float()  # B N 1 1 1, or ones

    _, inside = locate_joints(keypoints, height, width)
    cells = keypoints[..., :2].trunc()
    window = torch.arange(-int(3 * largest + 1), int(3 * largest + 1) + 1, device=keypoints.device)
    positions = cells[..., None] + window  # B N K 2 w
    points = cells if centres == TRUNCATED else keypoints[..., :2] - 0.5
    distances = (positions - points[..., None]).float()
    profiles = torch.exp(-distances.square() / (2 * spread.square()))
    profiles = profiles * ((positions - cells[..., None]).abs() <= 3 * spread + 1)

    x, y = positions.long().unbind(-2)  # B N K w
    x_profile = profiles[..., 0, :] * ((x >= 0) & (x < width))
    y_profile = profiles[..., 1, :] * ((y >= 0) & (y < height)) * inside[..., None]
    values = y_profile[..., :, None] * x_profile[..., None, :]  # B N K w w
    rows = y.clamp(0, height - 1)[..., :, None] * width + x.clamp(0, width - 1)[..., None, :]
    planes = torch.arange(batch * num_joints, device=keypoints.device).view(
        batch, 1, num_joints, 1, 1
    )
    heatmaps = torch.zeros(batch * num_joints * height * width, device=keypoints.device)
    heatmaps.scatter_reduce_(
        0, (planes * (height * width) + rows).flatten(), values.flatten(), "amax"
    )
    return heatmaps.view(batch, num_joints, height, width)


def adaptive_sigma(
    keypoints: Float[Tensor, "B N K 3"],
    *,
    sigma: float = 2.0,
    reference: float = 32.0,
    low: float = 1.0,
) -> Float[Tensor, "B N"]:
    """Give small people narrower Gaussians: sigma for a person of `reference` pixels and more, less below.

    The size of a person is the longer side of the box around its labelled joints; the spread falls
    with it in proportion, never below `low` (compare "scale-adaptive heatmaps", SWAHR, CVPR 2021).

    Args:
        keypoints: x, y in pixels of the map, and visibility.
        sigma: spread of a large person, the largest that is returned.
        reference: the size in pixels of the map from which on a person is large.
        low: the smallest spread.
    """
    labelled = keypoints[..., 2:] > 0
    points = keypoints[..., :2]
    high = points.masked_fill(~labelled, -torch.inf).amax(2)
    side = (high - points.masked_fill(~labelled, torch.inf).amin(2)).amax(-1)
    return (
        (side * (sigma / reference)).clamp(low, sigma).float()
    )  # -inf, a person without joints, becomes `low`


def undefined_joints(
    keypoints: Float[Tensor, "B N K 3"], height: int, width: int, *, margin: float = 0.1
) -> Bool[Tensor, "B K H W"]:
    """Where a heatmap says nothing: joint k in the box of a labelled person whose joint k is not labelled.

    The box around the labelled joints, `margin` of its sides larger all round, stands for the
    person.

    Args:
        keypoints: x, y in pixels of the map, and visibility; padding rows have no labelled joint at
            all.
        height: rows of the map.
        width: columns of the map.
        margin: how far beyond its joints a person is taken to reach.
    """
    labelled = keypoints[..., 2:] > 0
    low = keypoints[..., :2].masked_fill(~labelled, torch.inf).amin(2)
    high = keypoints[..., :2].masked_fill(~labelled, -torch.inf).amax(2)
    slack = (high - low).clamp(min=0) * margin
    low, high = low - slack, high + slack  # B N 2, low > high for a padding row
    x = torch.arange(width, device=keypoints.device)
    y = torch.arange(height, device=keypoints.device)
    columns = (x >= low[..., :1]) & (x <= high[..., :1])  # B N W
    rows = (y >= low[..., 1:]) & (y <= high[..., 1:])  # B N H
    missing = ~labelled[..., 0]  # B N K
    # A cell is undefined if any person covers it: count people with a product of sums instead of a
    # loop.
    counts = torch.einsum("bnk,bnh,bnw->bkhw", missing.float(), rows.float(), columns.float())
    return counts > 0
