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

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bottomup.models.heads import DenseHead, FineHeatmaps, HeadOutput, resize, set_start
from bottomup.models.voting import Votes, Voting, merge_scales, suit_scales

RARE = -4.6  # the logit of 0.01


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


class CenterVotingHead(nn.Module):
    """Predicts dense maps at every scale; `read` turns them into heatmaps and 2D tags by voting.

    Args:
        in_channels: channels of the features.
        num_keypoints: K, the number of joints.
        hidden_channels: channels of the hidden layer of each of the four dense heads.
        fine_channels: channels of the layer for heatmaps at stride 2; 0: no such heatmaps.
        voting: how votes are found and spread; None: `Voting()`.
    """

    def __init__(
        self,
        in_channels: int,
        num_keypoints: int,
        *,
        hidden_channels: int = 96,
        fine_channels: int = 0,
        voting: Voting | None = None,
    ):
        super().__init__()
        self.num_keypoints, self.voting = num_keypoints, voting or Voting()
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
        size = outputs[0].heatmaps.shape[2:]
        heats = [resize(maps.heatmaps.float().sigmoid(), size) for maps in outputs]
        found = [self.find_votes(maps, scale) for scale, maps in enumerate(outputs)]
        fine = outputs[0].fine_heatmaps
        return merge_scales(
            heats,
            suit_scales(found, self.voting),
            self.voting,
            fine=None if fine is None else fine.float().sigmoid(),
        )

    def find_votes(self, maps: DenseMaps, scale: int = 0) -> Votes:
        """The centres of one scale, with joints from the displacements; scale 0 is the finest.

        They are in float32, whatever the maps are in.
        """
        # centres: cells that are the largest in a square of 3 x 3 cells
        width = maps.center.shape[3]
        center = maps.center.float().sigmoid()  # B 1 h w
        is_peak = center == F.max_pool2d(center, 3, stride=1, padding=1)
        is_peak = is_peak & (center > self.voting.min_score)
        # the number stays a tensor, so that a graph of this network counts the votes of each image
        num_votes = is_peak.sum(dim=(1, 2, 3)).amax().clamp(1, self.voting.max_votes)
        score, cell = (center * is_peak).flatten(1).topk(num_votes)  # type: ignore[call-overload]

        # joints: the centre's cell plus its displacements
        displacements = maps.displacements.float().flatten(2)  # B 2K hw
        where = cell[:, None].expand(-1, displacements.shape[1], -1)
        displacements = displacements.gather(2, where).transpose(1, 2)  # B M 2K
        displacements = displacements.unflatten(2, (self.num_keypoints, 2))
        center_xy = torch.stack([cell % width, cell // width], dim=2).to(score.dtype)  # B M 2
        joints = center_xy[:, :, None] + displacements.flip(3)  # B M K 2
        sides = maps.box_size.float().relu().flatten(2).amax(1)  # B hw

        # cells of this scale to cells of scale 0; the centre of the top-left cell is (0, 0) in both
        factor = 2**scale
        return Votes(
            score,
            (center_xy + 0.5) * factor - 0.5,
            (joints + 0.5) * factor - 0.5,
            sides.gather(1, cell) * factor,
        )
