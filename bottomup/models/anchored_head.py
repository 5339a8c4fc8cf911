"""The multi-resolution head of the light trunk: heatmaps at strides 4 and 2, and tags that start as places."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bottomup.models.center_voting import DenseHead
from bottomup.models.heads import HeadOutput, doubling, places


class AnchoredHead(nn.Module):
    """HigherHRNet's outputs (arXiv:1908.10357) from few features, made to start from what a trained trunk can do.

    Its stride-4 heatmaps have the layers, and the parameter names, of those of `CenterVotingHead`, and start from them.
    Its stride-2 heatmaps start as the same heatmaps, interpolated. Its tags start as the places of their cells, and
    learn the way to the middle of the person. All heatmaps are probabilities and suit `Criterion(heatmaps="focal")`.

    Args:
        in_channels: channels of the features.
        num_keypoints: K, the number of joints.
        tag_anchor: the difference between the tags of neighbouring cells to start with; 1 means two people.
        hidden_channels: of heatmaps and tags at stride 4.
        fine_channels: of what the stride-2 heatmaps are made from.
        start: what heatmaps are before any training.
    """

    def __init__(
        self,
        in_channels: int,
        num_keypoints: int,
        *,
        tag_anchor: float = 0.125,
        hidden_channels: int = 96,
        fine_channels: int = 32,
        start: float = 0.05,
    ):
        super().__init__()
        self.num_keypoints, self.tag_anchor = num_keypoints, tag_anchor
        self.heatmaps = DenseHead(in_channels, num_keypoints, hidden_channels)
        self.tags = DenseHead(in_channels, 2 * num_keypoints, hidden_channels)  # x, y of each joint
        self.upsample = doubling(in_channels + num_keypoints, fine_channels)
        self.sharpen = nn.Conv2d(fine_channels, num_keypoints, 1)
        assert self.heatmaps.out.bias is not None
        assert self.sharpen.bias is not None
        nn.init.constant_(self.heatmaps.out.bias, math.log(start / (1 - start)))
        for layer in (self.tags.out, self.sharpen):
            assert layer.bias is not None
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Float[Tensor, "B C h w"]) -> list[HeadOutput]:
        """Predict at both resolutions.

        Args:
            features: of the trunk.

        Returns:
            B K h w heatmaps with B K 2 h w tags, then B K 2h 2w heatmaps without tags.
        """
        joints = self.heatmaps(features)  # logits
        ways = self.tags(features).unflatten(1, (self.num_keypoints, 2))  # B K 2 h w, in cells
        tags = self.tag_anchor * (places(ways) + ways)
        fine = self.sharpen(self.upsample(torch.cat([features, joints], dim=1)))
        fine = fine + F.interpolate(joints, scale_factor=2, mode="bilinear", align_corners=False)
        return [HeadOutput(joints.sigmoid(), tags), HeadOutput(fine.sigmoid(), None)]
