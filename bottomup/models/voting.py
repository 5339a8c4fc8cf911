"""From votes to heatmaps and tags: how the centres of people share the cells of an image.

Each vote spreads as a Gaussian around every joint that its person may have. The strongest vote at a
cell decides to whom the cell belongs. `bottomup.models.center_voting` has the network that votes.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bottomup.models.heads import HeadOutput, Side, doubled

FAINT = 0.1  # smaller heatmap values are faint; the default detection threshold
MAX_COMPARED = 64  # votes of an image that are compared with the others at once


class Votes(NamedTuple):
    """The M centres of people in every image. Lengths are in cells of `heatmaps` of scale 0.

    M is the largest number of centres in an image; other images are padded with score 0.

    Attributes:
        score: 0 to 1; 0 for a centre that does not vote.
        center: x, y of the centre.
        joints: x, y of each joint.
        size: the longer side of the person's box.
    """

    score: Float[Tensor, "B M"]
    center: Float[Tensor, "B M 2"]
    joints: Float[Tensor, "B M K 2"]
    size: Float[Tensor, "B M"]


@dataclasses.dataclass(frozen=True)
class Voting:
    """How votes are found and spread.

    Attributes:
        min_score: centres of a smaller score do not vote.
        max_votes: of a scale; so many centres vote, the highest first. None: all.
        best_size: cells; smaller people suit the finest scale, larger ones the coarser scales.
        faint_size: cells; scores are multiplied by size / (size + `faint_size`), which lowers those
            of small people.
        other_scales: the share of the next finer and coarser scales in the heatmaps of a scale.
        relative_spread: standard deviation of a vote, as a share of the person's size, ...
        spread: ... plus this many cells of its scale.
        sharpness: the larger, the more the strongest vote alone decides about a cell.
        tag_unit: cells per unit of the tags; tags of different people should differ by 1 or more.
        same_person: a centre does not vote if its joints are at least this similar (0 to 1) to
            those of a stronger centre.
        support_power: heatmaps are multiplied by support to this power; 0: votes change nothing.
        faint_power: below `FAINT`, a value becomes FAINT * (value / FAINT) ** faint_power. A power
            below 1 raises it, so that votes and a weak heatmap suffice to fill in a joint.
    """

    min_score: float = 0.1
    max_votes: int | None = None
    best_size: float = 75.0
    faint_size: float = 4.0
    other_scales: float = 0.3
    relative_spread: float = 0.1
    spread: float = 0.25
    sharpness: float = 8.0
    tag_unit: float = 5.0
    same_person: float = 0.5
    support_power: float = 0.5
    faint_power: float = 0.3


def suit_scales(found: Sequence[Votes], voting: Voting) -> list[Votes]:
    """The votes of every scale with their final scores; each person votes at one scale.

    Args:
        found: the centres of each scale, fine to coarse.
        voting: how votes are found and spread.
    """
    votes, best_size = [], voting.best_size
    for scale, found_here in enumerate(found):
        # a centre's score is reduced if its person is small, or suits another scale better
        size = found_here.size.clamp(min=1)
        fit = size / (size + voting.faint_size)
        if scale + 1 < len(found):
            fit = fit * (best_size * 2**scale / size).clamp(max=1).sqrt()
        if scale > 0:
            fit = fit * (size / (best_size * 2 ** (scale - 1))).clamp(max=1).sqrt()
        votes.append(found_here._replace(score=found_here.score * fit))

    # of similar votes, also of different scales, only the strongest keeps its score
    together = Votes(*(torch.cat(parts, dim=1) for parts in zip(*votes, strict=True)))
    if voting.max_votes is None:
        repeated = resembles_stronger(together, voting.same_person)
    else:  # few enough to be compared at once
        repeated = _resemble_stronger(together, together, voting.same_person)
    scores = together.score.masked_fill(repeated, 0).split([v.score.shape[1] for v in votes], dim=1)
    return [v._replace(score=score) for v, score in zip(votes, scores, strict=True)]


def merge_scales(
    heats: Sequence[Float[Tensor, "B K h w"]],
    votes: Sequence[Votes],
    voting: Voting,
    *,
    fine: Float[Tensor, "B K 2*h 2*w"] | None = None,
    corner: tuple[int, int] = (0, 0),
) -> list[HeadOutput]:
    """Heatmaps and tags of all scales together, from the heatmaps and votes of each.

    Args:
        heats: the heatmaps of each scale, fine to coarse, in cells of scale 0.
        votes: of each scale, from `suit_scales`.
        voting: how votes are found and spread.
        fine: heatmaps of scale 0 at twice the resolution.
        corner: x, y of the first cell, if the heatmaps are a part of those of the image.

    Returns:
        As `CenterVotingHead.read`.
    """
    size = tuple(heats[0].shape[2:])
    heatmaps, tags = [], []  # of each scale, weighted by its votes
    for scale, cast in enumerate(votes):
        sigma = voting.relative_spread * cast.size + voting.spread * 2**scale
        support, centers = spread_votes(
            cast, size, sigma=sigma, sharpness=voting.sharpness, corner=corner
        )
        weight = support**voting.support_power
        others = [*heats[max(scale - 1, 0) : scale], *heats[scale + 1 : scale + 2]]
        heatmaps.append(_mix(heats[scale], others, voting) * weight)
        tags.append(centers)
        if scale == 0 and fine is not None:
            fine = _mix(fine, list(map(doubled, others)), voting) * doubled(weight)

    # every cell takes value and tag from the scale at which its heatmap is largest
    best, best_tags = heatmaps[0], tags[0]
    for heat, centers in zip(heatmaps[1:], tags[1:], strict=True):
        best_tags = torch.where((heat > best)[:, :, None], centers, best_tags)
        best = torch.maximum(heat, best)
        fine = None if fine is None else torch.maximum(fine, doubled(heat))
    results = [HeadOutput(_lift_faint(best, voting), best_tags / voting.tag_unit)]
    return results if fine is None else [*results, HeadOutput(_lift_faint(fine, voting), None)]


def resembles_stronger(votes: Votes, threshold: float) -> Bool[Tensor, "B M"]:
    """Whether a vote has almost the joints of a stronger vote, by an OKS with equal sigmas."""
    # some joint of similar votes is as near as this, so votes of one place have few to compare with
    reach = math.sqrt(-2 * math.log(threshold)) * (0.1 * votes.size + 0.6)[..., None]  # B M 1
    low, high = votes.joints.amin(2) - reach, votes.joints.amax(2) + reach  # B M 2
    repeated = torch.zeros_like(votes.score, dtype=torch.bool)
    for rows in votes.center[0, :, 0].argsort().split(MAX_COMPARED):
        first, last = low[:, rows].amin(1, keepdim=True), high[:, rows].amax(1, keepdim=True)
        near = ((low <= last) & (high >= first)).all(2).any(0)
        some, others = (Votes(*(part[:, which] for part in votes)) for which in (rows, near))
        repeated[:, rows] = _resemble_stronger(some, others, threshold)
    return repeated


def _resemble_stronger(some: Votes, others: Votes, threshold: float) -> Bool[Tensor, "B m"]:
    """Whether each of some votes has almost the joints of a stronger one of the others."""
    squared = (some.joints[:, :, None] - others.joints[:, None]).square().sum(4)  # B m n K
    sizes = (some.size[:, :, None] * others.size[:, None] + 1).sqrt()  # B m n
    similarity = torch.exp(-squared / (2 * (0.1 * sizes + 0.5).square()[..., None])).mean(3)
    is_stronger = others.score[:, None] > some.score[:, :, None]
    return (similarity * is_stronger).amax(2) >= threshold


def spread_votes(
    votes: Votes,
    size: tuple[Side, ...],
    *,
    sigma: Float[Tensor, "B M"],
    sharpness: float,
    floor: float = 1e-3,
    corner: tuple[int, int] = (0, 0),
) -> tuple[Float[Tensor, "B K h w"], Float[Tensor, "B K 2 h w"]]:
    """The support of the votes for every cell of every joint's map, and the resulting tags.

    A vote of score s has the weight s * exp(-d^2 / (2 sigma^2)) at distance d from its joint. The
    support of a cell is the norm of order `sharpness` of its weights: about the largest one. Its
    tag is the mean of the centres, weighted by weight**sharpness: about the centre of the strongest
    vote. Where no weight exceeds `floor`, the tag is about the cell's own position, which differs
    from the centre of every person. Gaussians are separable, so one matrix product per joint
    computes all votes for all cells.

    Args:
        votes: of each image, in float32.
        size: h, w of the maps.
        sigma: standard deviation of each vote, in cells.
        sharpness: 1 is a plain mean.
        floor: the weight of an additional vote for every cell's own position.
        corner: x, y of the maps' first cell, in the coordinates of the votes.

    Returns:
        Support from `floor` to 1, and tags as x, y in cells.
    """
    height, width = size
    y = torch.arange(height, dtype=sigma.dtype, device=sigma.device) + corner[1]
    x = torch.arange(width, dtype=sigma.dtype, device=sigma.device) + corner[0]

    # weights to the power `sharpness`, as two factors, one per axis
    joints = votes.joints.permute(0, 2, 1, 3)  # B K M 2
    rate = (sharpness / (2 * sigma.square()))[:, None, None]  # B 1 1 M
    down = torch.exp(-rate * (y[:, None] - joints[..., None, :, 1]).square())  # B K h M
    across = torch.exp(-rate * (x[:, None] - joints[..., None, :, 0]).square())  # B K w M

    # sums over votes of the weights, and of the weighted centres
    weight = votes.score**sharpness  # B M
    center_x, center_y = votes.center.unbind(2)
    values = torch.stack([weight, weight * center_x, weight * center_y], dim=1)  # B 3 M
    across = across.transpose(2, 3)[:, :, None]  # B K 1 M w
    with torch.autocast(sigma.device.type, enabled=False):  # 1e-24, as below, is 0 in float16
        total = (down[:, :, None] * values[:, None, :, None]) @ across  # B K 3 h w

    # one more vote of weight `floor` for every cell's own position
    own = floor**sharpness
    own_xy = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])  # 2 h w
    mass = total[:, :, :1] + own
    tags = (total[:, :, 1:] + own * own_xy) / mass
    return mass[:, :, 0].clamp(max=1) ** (1 / sharpness), tags


def _mix(heat: Tensor, others: Sequence[Tensor], voting: Voting) -> Tensor:
    """The heatmaps of one scale, mixed with a share of the mean of the next finer and coarser."""
    if not others:
        return heat
    return heat.lerp(torch.stack(list(others)).mean(0), voting.other_scales)


def _lift_faint(heatmaps: Tensor, voting: Voting) -> Tensor:
    lifted = FAINT * (heatmaps / FAINT) ** voting.faint_power
    return torch.where(heatmaps < FAINT, lifted, heatmaps)
