"""A head whose tags are positions: the centre of each person votes for its joints.

Networks of the CenterNet kind (Zhou et al., arXiv:1904.07850) predict a heatmap of person centres
and, at every cell, displacements to the joints of a person centred there. These joint positions are
rough, but they distinguish people. So each centre casts a vote for each joint: a Gaussian around
the predicted position, wider for larger people. The strongest vote at a cell decides which person
the cell belongs to. The tag of the cell is the centre of that person. This is what associative
embedding needs: tags that are equal within a person and differ between people. Heatmaps are
multiplied by the support of the votes, so peaks without a person become small.

Features may come from several scales of the image. Each person votes at the scale that suits its
size. Its heatmaps are those of that scale, mixed with a share of the other scales.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bottomup.models.heads import DenseHead, FineHeatmaps, HeadOutput, doubled, resize, set_start

RARE = -4.6  # the logit of 0.01
FAINT = 0.1  # smaller heatmap values are faint; the default detection threshold


class DenseMaps(NamedTuple):
    """The outputs of `CenterVotingHead` at every cell of one scale.

    Attributes:
        center: logits of person centres.
        heatmaps: logits of each joint.
        displacements: y, x from this cell to each joint of a person centred here, in cells of this
            scale; pairs of one joint after the other.
        box_size: height, width of the box of a person centred here, in cells of this scale.
        fine_heatmaps: logits of each joint at twice the resolution; None at coarser scales and in
            heads without `fine_channels`.
    """

    center: Float[Tensor, "B 1 h w"]
    heatmaps: Float[Tensor, "B K h w"]
    displacements: Float[Tensor, "B 2*K h w"]
    box_size: Float[Tensor, "B 2 h w"]
    fine_heatmaps: Float[Tensor, "B K 2*h 2*w"] | None = None


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
        best_size: cells; smaller people suit the finest scale, larger ones the coarser scales.
        faint_size: cells; scores are multiplied by size / (size + `faint_size`), which lowers those
            of small people.
        other_scales: the share of the other scales in the heatmaps of a scale.
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
    """Predicts dense maps at every scale; `read` turns them into heatmaps and 2D tags by voting.

    Args:
        in_channels: channels of the features.
        num_keypoints: K, the number of joints.
        hidden_channels: channels of the hidden layer of each of the four dense heads.
        fine_channels: channels of the layer for heatmaps at stride 2; 0: no such heatmaps.
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
        # a new joint is rare, and at the centre of its person
        set_start(self.heatmaps.out, bias=RARE)
        set_start(self.displacements.out)

    def joint_channels(self, num_keypoints: int) -> dict[str, list[int]]:
        """As of `bottomup.models.heads.TagHead`."""
        each = list(range(num_keypoints))
        layers = {"heatmaps.out": each, "displacements.out": [k for k in each for _ in "yx"]}
        if self.fine_heatmaps is not None:
            fine = self.fine_heatmaps.joint_channels(num_keypoints)
            layers |= {f"fine_heatmaps.{name}": joints for name, joints in fine.items()}
        return layers

    def forward(self, features: Sequence[Tensor]) -> list[DenseMaps]:
        """Predict at every scale.

        Args:
            features: (B, C, h, w) of the image, (B, C, h/2, w/2) of the image at half size, ...

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
        """Turn dense maps into heatmaps and tags by voting, for inference only.

        Args:
            outputs: of `forward`.

        Returns:
            (B, K, h, w) heatmaps with (B, K, 2, h, w) tags, and (B, K, 2h, 2w) heatmaps without
            tags if the head has fine heatmaps.
        """
        voting, size = self.voting, outputs[0].heatmaps.shape[2:]
        heats = [resize(maps.heatmaps.sigmoid(), size) for maps in outputs]  # S times B K h w
        heatmaps, tags, fine = [], [], None  # of each scale, weighted by its votes
        for scale, votes in enumerate(self._vote(outputs)):
            sigma = voting.relative_spread * votes.size + voting.spread * 2**scale
            support, centers = spread_votes(votes, size, sigma=sigma, sharpness=voting.sharpness)
            weight = support**voting.support_power
            others = heats[:scale] + heats[scale + 1 :]
            heatmaps.append(self._mix(heats[scale], others) * weight)
            tags.append(centers)
            if (logits := outputs[scale].fine_heatmaps) is not None:
                fine = self._mix(logits.sigmoid(), list(map(doubled, others))) * doubled(weight)

        # every cell takes value and tag from the scale at which its heatmap is largest
        best, best_tags = heatmaps[0], tags[0]
        for heat, centers in zip(heatmaps[1:], tags[1:], strict=True):
            best_tags = torch.where((heat > best)[:, :, None], centers, best_tags)
            best = torch.maximum(heat, best)
            fine = None if fine is None else torch.maximum(fine, doubled(heat))
        results = [HeadOutput(self._lift_faint(best), best_tags / voting.tag_unit)]
        return results if fine is None else [*results, HeadOutput(self._lift_faint(fine), None)]

    def _mix(self, heat: Tensor, others: Sequence[Tensor]) -> Tensor:
        """The heatmaps of one scale, mixed with a share of the mean of the others."""
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

            # a centre's score is reduced if its person is small, or suits another scale better
            size = found.size.clamp(min=1)
            fit = size / (size + self.voting.faint_size)
            if scale + 1 < len(outputs):
                fit = fit * (best_size * 2**scale / size).clamp(max=1).sqrt()
            if scale > 0:
                fit = fit * (size / (best_size * 2 ** (scale - 1))).clamp(max=1).sqrt()
            votes.append(found._replace(score=found.score * fit))

        # of similar votes, also of different scales, only the strongest keeps its score
        together = Votes(*(torch.cat(parts, dim=1) for parts in zip(*votes, strict=True)))
        repeated = resembles_stronger(together, self.voting.same_person)
        scores = together.score.masked_fill(repeated, 0).split(
            [v.score.shape[1] for v in votes], dim=1
        )
        return [v._replace(score=score) for v, score in zip(votes, scores, strict=True)]

    def find_votes(self, maps: DenseMaps, scale: int = 0) -> Votes:
        """The centres of one scale, with joints from the displacements; scale 0 is the finest."""
        # centres: cells that are the largest in a square of 3 x 3 cells
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
        center_xy = torch.stack([cell % width, cell // width], dim=2).to(score.dtype)  # B M 2
        joints = center_xy[:, :, None] + displacements.flip(3)  # B M K 2
        sides = maps.box_size.relu().flatten(2).amax(1)  # B hw

        # cells of this scale to cells of scale 0; the centre of the top-left cell is (0, 0) in both
        factor = 2**scale
        return Votes(
            score,
            (center_xy + 0.5) * factor - 0.5,
            (joints + 0.5) * factor - 0.5,
            sides.gather(1, cell) * factor,
        )


def resembles_stronger(votes: Votes, threshold: float) -> Bool[Tensor, "B M"]:
    """Whether a vote has almost the joints of a stronger vote, by an OKS with equal sigmas."""
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
    """The support of the votes for every cell of every joint's map, and the resulting tags.

    A vote of score s has the weight s * exp(-d^2 / (2 sigma^2)) at distance d from its joint. The
    support of a cell is the norm of order `sharpness` of its weights: about the largest one. Its
    tag is the mean of the centres, weighted by weight**sharpness: about the centre of the strongest
    vote. Where no weight exceeds `floor`, the tag is about the cell's own position, which differs
    from the centre of every person. Gaussians are separable, so one matrix product per joint
    computes all votes for all cells.

    Args:
        votes: of each image.
        size: h, w of the maps.
        sigma: standard deviation of each vote, in cells.
        sharpness: 1 is a plain mean.
        floor: the weight of an additional vote for every cell's own position.

    Returns:
        Support from `floor` to 1, and tags as x, y in cells.
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

    # one more vote of weight `floor` for every cell's own position
    own = floor**sharpness
    own_xy = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])  # 2 h w
    mass = total[:, :, :1] + own
    tags = (total[:, :, 1:] + own * own_xy) / mass
    return mass[:, :, 0].clamp(max=1) ** (1 / sharpness), tags
