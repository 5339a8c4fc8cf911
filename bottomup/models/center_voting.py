"""A head whose tags are positions: the centre of each person votes for where its joints are.

Networks of the CenterNet kind (Zhou et al., arXiv:1904.07850) predict a heatmap of person centres
and, at every cell, displacements to the joints of a person centred there. That is rough, but it
tells people apart. A vote spreads as a Gaussian as wide as its person is large, and the strongest
vote at a cell decides which person the cell belongs to. The centre of that person, measured in a
few cells, is a tag as associative embedding needs it: equal within a person, different between
people. Heatmaps are weighted by how much a vote supports them, so heat without a person counts
little.

The features may come at several scales of the image. Each person votes at the scale that suits its
size. Its joints are read from the heatmaps of that scale, to which the other scales add a share.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bottomup.models.heads import HeadOutput, doubling, resize
from bottomup.models.mobilenet import Conv, SeparableConv

FAINT = 0.1  # heat below it is no joint by itself: the usual detection threshold


class DenseHead(nn.Module):
    """Features to some numbers per cell, by one hidden layer."""

    def __init__(self, in_channels: int, out_channels: int, hidden_channels: int):
        super().__init__()
        self.hidden = SeparableConv(in_channels, hidden_channels)
        self.out = Conv(hidden_channels, out_channels, 1)

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h w"]:
        """B C h w to B D h w."""
        return self.out(self.hidden(features))


class FineHeatmaps(nn.Module):
    """Heatmaps at twice the resolution, from features and heatmaps, as in HigherHRNet.

    They start as the same heatmaps, interpolated.
    """

    def __init__(self, in_channels: int, num_keypoints: int, channels: int):
        super().__init__()
        self.doubling = doubling(in_channels + num_keypoints, channels)
        self.out = Conv(channels, num_keypoints, 1)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self, features: Float[Tensor, "B C h w"], heatmaps: Float[Tensor, "B K h w"]
    ) -> Float[Tensor, "B K i j"]:
        """B K 2h 2w logits from B C h w features and B K h w logits."""
        return _doubled(heatmaps) + self.out(self.doubling(torch.cat([features, heatmaps], dim=1)))


class DenseMaps(NamedTuple):
    """The outputs of `CenterVotingHead` at every cell of one scale.

    Attributes:
        center: logit of the centre of a person.
        heatmaps: logit of each joint.
        displacements: y, x in cells of this scale from here to each joint of a person centred here.
        box_size: height, width in cells of this scale of the box of a person centred here.
        fine_heatmaps: logit of each joint in cells half as large; None at coarser scales, or if the
            head has none.
    """

    center: Float[Tensor, "B 1 h w"]
    heatmaps: Float[Tensor, "B K h w"]
    displacements: Float[Tensor, "B 2*K h w"]
    box_size: Float[Tensor, "B 2 h w"]
    fine_heatmaps: Float[Tensor, "B K 2*h 2*w"] | None = None


class Votes(NamedTuple):
    """M person centres of every image; lengths in cells of the finest maps.

    M is that of the image with the most centres.

    Attributes:
        score: 0 to 1; 0 for a centre that does not vote.
        center: x, y.
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
        min_score: centres below it do not vote.
        best_size: cells; smaller people are seen best at the finest scale, larger ones at coarser
            scales.
        faint_size: cells; the centre of a person as small as this counts half of a large one's.
        other_scales: share of a person's heat that comes from the scales at which it does not vote.
        relative_spread: standard deviation of a vote in sizes of its person, ...
        spread: ... plus this many cells of its scale.
        sharpness: the larger, the more a cell belongs to its strongest vote alone.
        tag_unit: cells in which tags are measured; a difference of 1 means two people.
        same_person: centres whose joints resemble those of a stronger one by more than this (0 to
            1) do not vote.
        support_power: how much a heatmap depends on votes; 0 is not at all.
        faint_power: applied to heat below `FAINT`, relative to it. Where a person is known to be,
            little heat is enough to fill in a joint.
    """

    min_score: float = 0.1
    best_size: float = 60.0
    faint_size: float = 4.0
    other_scales: float = 0.25
    relative_spread: float = 0.1
    spread: float = 0.25
    sharpness: float = 8.0
    tag_unit: float = 4.0
    same_person: float = 0.65
    support_power: float = 0.5
    faint_power: float = 0.3


class CenterVotingHead(nn.Module):
    """Dense maps of every scale, from which people's votes make heatmaps and two-dimensional tags.

    Args:
        in_channels: channels of the features.
        num_keypoints: K, the number of joints.
        hidden_channels: of each of the four dense heads.
        fine_channels: from which heatmaps at stride 2 are made; 0: there are none.
        voting: how votes are found and spread.
    """

    def __init__(
        self,
        in_channels: int,
        num_keypoints: int,
        *,
        hidden_channels: int = 96,
        fine_channels: int = 0,
        voting: Voting = Voting(),
    ):
        super().__init__()
        self.num_keypoints, self.voting = num_keypoints, voting
        self.center = DenseHead(in_channels, 1, hidden_channels)
        self.heatmaps = DenseHead(in_channels, num_keypoints, hidden_channels)
        self.displacements = DenseHead(in_channels, 2 * num_keypoints, hidden_channels)  # y, x
        self.box_size = DenseHead(in_channels, 2, hidden_channels)  # height, width
        self.fine_heatmaps = (
            FineHeatmaps(in_channels, num_keypoints, fine_channels) if fine_channels else None
        )

    def forward(self, features: Sequence[Tensor]) -> list[DenseMaps]:
        """Predict at every scale.

        Args:
            features: B C h w of the image, B C h/2 w/2 of the image at half its size, and so on.

        Returns:
            One per scale, fine to coarse.
        """
        outputs = []
        for scale, level in enumerate(features):
            heatmaps, fine = self.heatmaps(level), None
            if scale == 0 and self.fine_heatmaps is not None:
                fine = self.fine_heatmaps(level, heatmaps)
            outputs.append(
                DenseMaps(
                    self.center(level),
                    heatmaps,
                    self.displacements(level),
                    self.box_size(level),
                    fine,
                )
            )
        return outputs

    def read(self, outputs: Sequence[DenseMaps]) -> list[HeadOutput]:
        """Let people vote. What is chosen here has no gradient, so training stops before it.

        Args:
            outputs: of `forward`.

        Returns:
            B K h w heatmaps with B K 2 h w tags, then B K 2h 2w heatmaps without tags if the head
            has fine heatmaps.
        """
        voting, size = self.voting, outputs[0].heatmaps.shape[2:]
        heats = [resize(maps.heatmaps.sigmoid(), size) for maps in outputs]  # S of B K h w
        heatmaps, tags, fine = [], [], None  # of each scale, supported by its votes
        for scale, votes in enumerate(self._vote(outputs)):
            sigma = voting.relative_spread * votes.size + voting.spread * 2**scale
            support, places = spread_votes(votes, size, sigma=sigma, sharpness=voting.sharpness)
            weight = support**voting.support_power
            others = heats[:scale] + heats[scale + 1 :]
            heatmaps.append(self._mix(heats[scale], others) * weight)
            tags.append(places)
            if (logits := outputs[scale].fine_heatmaps) is not None:
                fine = self._mix(logits.sigmoid(), list(map(_doubled, others))) * _doubled(weight)

        # every cell takes heat and tag from the scale at which its heat is largest
        best, best_tags = heatmaps[0], tags[0]
        for heat, places in zip(heatmaps[1:], tags[1:], strict=True):
            best_tags = torch.where((heat > best)[:, :, None], places, best_tags)
            best = torch.maximum(heat, best)
            fine = None if fine is None else torch.maximum(fine, _doubled(heat))
        results = [HeadOutput(self._lift_faint(best), best_tags / voting.tag_unit)]
        return results if fine is None else [*results, HeadOutput(self._lift_faint(fine), None)]

    def _mix(self, heat: Tensor, others: Sequence[Tensor]) -> Tensor:
        """The heat of one scale, with a share of the mean of the others."""
        if not others:
            return heat
        return heat.lerp(torch.stack(list(others)).mean(0), self.voting.other_scales)

    def _lift_faint(self, heatmaps: Tensor) -> Tensor:
        lifted = FAINT * (heatmaps / FAINT) ** self.voting.faint_power
        return torch.where(heatmaps < FAINT, lifted, heatmaps)

    def _vote(self, outputs: Sequence[DenseMaps]) -> list[Votes]:
        """The votes at every scale; each person votes at one of them."""
        votes, best_size = [], self.voting.best_size
        for scale, maps in enumerate(outputs):
            found = self.find_votes(maps, scale)

            # a centre counts less where its person is small, or suits another scale better
            size = found.size.clamp(min=1)
            fit = size / (size + self.voting.faint_size)
            if scale + 1 < len(outputs):
                fit = fit * (best_size * 2**scale / size).clamp(max=1).sqrt()
            if scale > 0:
                fit = fit * (size / (best_size * 2 ** (scale - 1))).clamp(max=1).sqrt()
            votes.append(found._replace(score=found.score * fit))

        together = Votes(*(torch.cat(parts, dim=1) for parts in zip(*votes, strict=True)))
        repeated = resembles_stronger(together, self.voting.same_person)
        scores = together.score.masked_fill(repeated, 0).split(
            [v.score.shape[1] for v in votes], dim=1
        )
        return [v._replace(score=score) for v, score in zip(votes, scores, strict=True)]

    def find_votes(self, maps: DenseMaps, scale: int = 0) -> Votes:
        """The centres of one scale, and where the displacements put the joints of each."""
        # centres: cells that are the largest of their 3 x 3 neighbours
        width = maps.center.shape[3]
        center = maps.center.sigmoid()  # B 1 h w
        is_peak = center == F.max_pool2d(center, 3, stride=1, padding=1)
        is_peak = is_peak & (center > self.voting.min_score)
        num_votes = max(int(is_peak.sum(dim=(1, 2, 3)).max()), 1)
        score, cell = (center * is_peak).flatten(1).topk(num_votes)  # B M

        # joints: the centre's cell plus its displacements
        displacements = maps.displacements.flatten(2)  # B 2K hw
        where = cell[:, None].expand(-1, displacements.shape[1], -1)
        displacements = displacements.gather(2, where).mT.unflatten(2, (self.num_keypoints, 2))
        place = torch.stack([cell % width, cell // width], dim=2).to(score.dtype)  # B M 2
        joints = place[:, :, None] + displacements.flip(3)  # B M K 2
        sides = maps.box_size.relu().flatten(2).amax(1)  # B hw

        # cells of this scale to cells of the finest maps, whose centres differ by half a cell
        factor = 2**scale
        return Votes(
            score,
            (place + 0.5) * factor - 0.5,
            (joints + 0.5) * factor - 0.5,
            sides.gather(1, cell) * factor,
        )


def resembles_stronger(votes: Votes, threshold: float) -> Bool[Tensor, "B M"]:
    """Whether a vote has nearly the joints of a stronger vote: as OKS, with one sigma for all."""
    squared = (votes.joints[:, :, None] - votes.joints[:, None]).square().sum(4)  # B M M K
    size = (votes.size[:, :, None] * votes.size[:, None] + 1).sqrt()  # B M M
    similarity = torch.exp(-squared / (2 * (0.1 * size + 0.5).square()[..., None])).mean(3)
    is_stronger = votes.score[:, None] > votes.score[:, :, None]
    return (similarity * is_stronger).amax(2) >= threshold


def spread_votes(
    votes: Votes,
    size: tuple[int, ...],
    *,
    sigma: Float[Tensor, "B M"],
    sharpness: float,
    floor: float = 1e-3,
) -> tuple[Float[Tensor, "B K h w"], Float[Tensor, "B K 2 h w"]]:
    """How much the votes support every cell of every joint's map, and the tag that results.

    A vote of score s weighs s * exp(-d^2 / (2 sigma^2)) at distance d from its joint. The support
    of a cell is the norm of order `sharpness` of its weights: nearly the largest one. The tag of a
    cell is the mean of the centres, each counted by its weight to the power `sharpness`: nearly the
    centre of the strongest vote. Where no weight exceeds `floor`, the tag is the cell's own place,
    so that a joint without a person is like nobody's. The Gaussians are separable, so all votes for
    all cells are one matrix product per joint.

    Args:
        votes: of each image.
        size: h, w of the maps.
        sigma: of each vote, in cells.
        sharpness: 1 is a plain mean.
        floor: of the weights.

    Returns:
        Support from `floor` to 1, and tags x, y in cells.
    """
    height, width = size
    y = torch.arange(height, dtype=sigma.dtype, device=sigma.device)
    x = torch.arange(width, dtype=sigma.dtype, device=sigma.device)

    # weights to the power `sharpness`, as two factors, one per axis
    joints = votes.joints.permute(0, 2, 1, 3)  # B K M 2
    rate = (sharpness / (2 * sigma.square()))[:, None, None]  # B 1 1 M
    down = torch.exp(-rate * (y[:, None] - joints[..., None, :, 1]).square())  # B K h M
    across = torch.exp(-rate * (x[:, None] - joints[..., None, :, 0]).square()).mT  # B K M w

    # sums over votes of the weights, and of the weighted centres
    weight = votes.score**sharpness  # B M
    center_x, center_y = votes.center.unbind(2)
    values = torch.stack([weight, weight * center_x, weight * center_y], dim=1)  # B 3 M
    total = (down[:, :, None] * values[:, None, :, None]) @ across[:, :, None]  # B K 3 h w

    # one more vote of weight `floor` for every cell's own place
    own = floor**sharpness
    own_place = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])  # 2 h w
    mass = total[:, :, :1] + own
    tags = (total[:, :, 1:] + own * own_place) / mass
    return mass[:, :, 0].clamp(max=1) ** (1 / sharpness), tags


def _doubled(maps: Tensor) -> Tensor:
    return resize(maps, [2 * side for side in maps.shape[2:]])
