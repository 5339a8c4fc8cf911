"""A head whose tags are coordinates: each person's centre votes for where its joints are, and so claims those places.

Networks of the CenterNet kind (Zhou et al., arXiv:1904.07850) predict a heatmap of person centres
and, at every cell, where the joints of a person centred there are. That is rough, but it tells
people apart: a vote spreads as a Gaussian as wide as its person is large, and the strongest vote at
a cell names the cell's owner. The owner's centre, measured in a few cells, is a tag as associative
embedding wants it, equal within a person and different between people. Heatmaps are weighed by how
much a vote supports them: heat that belongs to nobody weighs little.

The features may come at several scales of the image. Each person votes at the one that suits its
size; its joints are looked for in the heatmaps of that scale, to which those of the other scales
add a little.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bottomup.models.heads import HeadOutput, doubling, resize
from bottomup.models.mobilenet import Conv, SeparableConv

FAINT = 0.1  # what heat below it needs to become a joint by itself, the usual detection threshold


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
    """Heatmaps at twice the resolution, from features and heatmaps as in HigherHRNet (arXiv:1908.10357).

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
    """What the head says at every cell of one scale, before anything is read from it: what a training looks at.

    Attributes:
        center: logit of a person's centre being here.
        heatmaps: logit of a joint being here.
        displacements: y, x in cells of this scale from here to each joint of the person centred
            here.
        box_size: height, width in cells of this scale of that person.
        fine_heatmaps: logit of a joint being here, in half as large cells; None at coarser scales,
            or if there is none.
    """

    center: Float[Tensor, "B 1 h w"]
    heatmaps: Float[Tensor, "B K h w"]
    displacements: Float[Tensor, "B 2*K h w"]
    box_size: Float[Tensor, "B 2 h w"]
    fine_heatmaps: Float[Tensor, "B K 2*h 2*w"] | None = None


class Votes(NamedTuple):
    """M person centres of every image, as many as the image with the most has; lengths in cells of the finest maps.

    Attributes:
        score: 0 to 1; 0 for a centre that does not vote.
        center: x, y.
        joints: x, y of each joint.
        size: the larger side of the person's box.
    """

    score: Float[Tensor, "B M"]
    center: Float[Tensor, "B M 2"]
    joints: Float[Tensor, "B M K 2"]
    size: Float[Tensor, "B M"]


class CenterVotingHead(nn.Module):
    """Heatmaps and two-dimensional tags at stride 4, and heatmaps at stride 2 if wanted, for any number of people.

    Args:
        in_channels: channels of the features.
        num_keypoints: K, the number of joints.
        hidden_channels: of each of the four dense heads.
        min_score: centres below it do not vote.
        best_size: cells; people smaller than it are best seen at the finest scale, larger ones at
            coarser scales.
        faint_size: cells; the centre of a person as small as this counts half of a large one's.
        other_scales: how much of a person's heat comes from the scales at which it does not vote, 0
            to 1.
        relative_spread: the standard deviation of a vote, in sizes of its person, ...
        spread: ... plus this many cells of its scale.
        sharpness: the larger, the more a cell belongs to its strongest vote alone.
        tag_unit: cells in which tags are measured; a difference of 1 means two people.
        same_person: centres whose joints resemble those of a stronger one by more than this (0 to
            1) do not vote.
        support_power: how much a heatmap depends on votes; 0 is not at all.
        faint_power: applied to heat below `FAINT`, relative to it: where a person is known to be,
            little heat is enough to fill in a joint.
        fine_channels: of what heatmaps at stride 2 are made from; 0: there are none.
    """

    def __init__(
        self,
        in_channels: int,
        num_keypoints: int,
        *,
        hidden_channels: int = 96,
        min_score: float = 0.1,
        best_size: float = 60.0,
        faint_size: float = 4.0,
        other_scales: float = 0.25,
        relative_spread: float = 0.1,
        spread: float = 0.25,
        sharpness: float = 8.0,
        tag_unit: float = 4.0,
        same_person: float = 0.65,
        support_power: float = 0.5,
        faint_power: float = 0.3,
        fine_channels: int = 0,
    ):
        super().__init__()
        self.num_keypoints = num_keypoints
        self.min_score, self.same_person = min_score, same_person
        self.best_size, self.faint_size, self.other_scales = best_size, faint_size, other_scales
        self.relative_spread, self.spread, self.sharpness = relative_spread, spread, sharpness
        self.tag_unit = tag_unit
        self.support_power, self.faint_power = support_power, faint_power
        self.center = DenseHead(in_channels, 1, hidden_channels)
        self.heatmaps = DenseHead(in_channels, num_keypoints, hidden_channels)
        self.displacements = DenseHead(
            in_channels, 2 * num_keypoints, hidden_channels
        )  # y, x of each joint
        self.box_size = DenseHead(in_channels, 2, hidden_channels)  # height, width
        self.fine_heatmaps = (
            FineHeatmaps(in_channels, num_keypoints, fine_channels) if fine_channels else None
        )

    def forward(self, features: Sequence[Tensor]) -> list[HeadOutput] | list[DenseMaps]:
        """Predict.

        Args:
            features: B C h w of the image, B C h/2 w/2 of the image at half its size, and so on.

        Returns:
            B K h w heatmaps with B K 2 h w tags, then B K 2h 2w heatmaps without tags, if there are
            any. In training the dense maps of every scale, from which these are read: reading takes
            choices, which have no gradient.
        """
        maps = [self.predict(level, is_finest=scale == 0) for scale, level in enumerate(features)]
        if self.training:
            return maps
        size = features[0].shape[2:]
        heats = [resize(level.heatmaps.sigmoid(), size) for level in maps]
        heatmaps, tags, fine = [], [], None  # of each scale, as far as its votes support them
        for scale, (level, votes) in enumerate(zip(maps, self._vote(maps), strict=True)):
            sigma = self.relative_spread * votes.size + self.spread * 2**scale
            support, places = spread_votes(votes, size, sigma=sigma, sharpness=self.sharpness)
            weight = support**self.support_power
            heatmaps.append(self._mix(heats[scale], heats[:scale] + heats[scale + 1 :]) * weight)
            tags.append(places)
            if level.fine_heatmaps is not None:
                others = [_doubled(heat) for heat in heats[1:]]
                fine = self._mix(level.fine_heatmaps.sigmoid(), others) * _doubled(weight)
        best, best_tags = heatmaps[0], tags[0]
        for other, places in zip(heatmaps[1:], tags[1:], strict=True):
            best_tags = torch.where((other > best)[:, :, None], places, best_tags)
            best = torch.maximum(other, best)
        outputs = [HeadOutput(self._lift_faint(best), best_tags / self.tag_unit)]
        if fine is not None:
            for other in heatmaps[1:]:
                fine = torch.maximum(fine, _doubled(other))
            outputs.append(HeadOutput(self._lift_faint(fine), None))
        return outputs

    def _mix(self, heat: Tensor, others: Sequence[Tensor]) -> Tensor:
        """The heat of one scale, with a share of the mean of the others."""
        return heat.lerp(torch.stack(list(others)).mean(0), self.other_scales) if others else heat

    def _lift_faint(self, heatmaps: Tensor) -> Tensor:
        return torch.where(
            heatmaps < FAINT, FAINT * (heatmaps / FAINT) ** self.faint_power, heatmaps
        )

    def predict(self, features: Float[Tensor, "B C h w"], *, is_finest: bool = True) -> DenseMaps:
        """The dense maps of one scale."""
        heatmaps = self.heatmaps(features)
        fine = (
            self.fine_heatmaps(features, heatmaps)
            if is_finest and self.fine_heatmaps is not None
            else None
        )
        return DenseMaps(
            self.center(features),
            heatmaps,
            self.displacements(features),
            self.box_size(features),
            fine,
        )

    def _vote(self, maps: Sequence[DenseMaps]) -> list[Votes]:
        """The votes at every scale, each person voting once."""
        votes = []
        for scale, level in enumerate(maps):
            found = self.find_votes(level, scale)
            size = found.size.clamp(min=1)
            fit = size / (size + self.faint_size)
            if scale + 1 < len(maps):
                fit = fit * (self.best_size * 2**scale / size).clamp(max=1).sqrt()
            if scale > 0:
                fit = fit * (size / (self.best_size * 2 ** (scale - 1))).clamp(max=1).sqrt()
            votes.append(found._replace(score=found.score * fit))
        together = Votes(*(torch.cat(parts, dim=1) for parts in zip(*votes, strict=True)))
        score = together.score.masked_fill(resembles_stronger(together, self.same_person), 0)
        scores = score.split([v.score.shape[1] for v in votes], dim=1)
        return [v._replace(score=score) for v, score in zip(votes, scores, strict=True)]

    def find_votes(self, maps: DenseMaps, scale: int = 0) -> Votes:
        """The centres of the people seen at one scale, and where each thinks that its joints are."""
        width = maps.center.shape[3]
        center = maps.center.sigmoid()  # B 1 h w
        is_peak = (center == F.max_pool2d(center, 3, stride=1, padding=1)) & (
            center > self.min_score
        )
        num_votes = max(int(is_peak.sum(dim=(1, 2, 3)).max()), 1)
        score, cell = (center * is_peak).flatten(1).topk(num_votes)  # B M

        displacements = maps.displacements.flatten(2)  # B 2K hw
        displacements = displacements.gather(
            2, cell[:, None].expand(-1, displacements.shape[1], -1)
        )  # B 2K M
        sides = maps.box_size.relu().flatten(2).amax(1)  # B hw
        place = torch.stack([cell % width, cell // width], dim=2).to(score.dtype)  # B M 2
        joints = place[:, :, None] + displacements.mT.unflatten(2, (self.num_keypoints, 2)).flip(
            3
        )  # B M K 2
        factor = (
            2**scale
        )  # cells of the finest maps in one of these; their centres differ by half a cell
        return Votes(
            score,
            (place + 0.5) * factor - 0.5,
            (joints + 0.5) * factor - 0.5,
            sides.gather(1, cell) * factor,
        )


def resembles_stronger(votes: Votes, threshold: float) -> Bool[Tensor, "B M"]:
    """Whether the joints of a vote are nearly those of a stronger vote (in the manner of OKS, with one sigma)."""
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
    """What every cell of every joint's map hears of the votes.

    A vote of score s weighs s * exp(-d^2 / (2 sigma^2)) at distance d from its joint. Of the
    weights at a cell, the support is the norm of order `sharpness`, nearly the largest one, and the
    tag is the mean of the centres, each counted by its weight to that power, nearly the centre of
    the largest one. Where none exceeds `floor`, a cell's tag is its own place: a joint without a
    person resembles none. The Gaussians are separable, so all votes for all cells are one matrix
    product per joint.

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
    joints = votes.joints.permute(0, 2, 1, 3)  # B K M 2
    rate = (sharpness / (2 * sigma.square()))[:, None, None]  # B 1 1 M
    down = torch.exp(-rate * (y[:, None] - joints[..., None, :, 1]).square())  # B K h M
    across = torch.exp(-rate * (x[:, None] - joints[..., None, :, 0]).square()).mT  # B K M w

    weight = votes.score**sharpness  # B M
    values = torch.stack(
        [weight, weight * votes.center[..., 0], weight * votes.center[..., 1]], dim=1
    )  # B 3 M
    total = (down[:, :, None] * values[:, None, :, None]) @ across[:, :, None]  # B K 3 h w
    own = floor**sharpness
    own_place = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])  # 2 h w
    mass = total[:, :, :1] + own
    tags = (total[:, :, 1:] + own * own_place) / mass
    return mass[:, :, 0].clamp(max=1) ** (1 / sharpness), tags


def _doubled(maps: Tensor) -> Tensor:
    return resize(maps, [2 * side for side in maps.shape[2:]])
