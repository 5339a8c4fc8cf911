"""The head: stride-4 features to heatmaps and tags, at one resolution or several (HigherHRNet, arXiv:1908.10357)."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bottomup.models.hrnet import BasicBlock


class HeadOutput(NamedTuple):
    """What a network says at one resolution.

    Attributes:
        heatmaps: one per joint, 1 where a joint is and 0 elsewhere.
        tags: L numbers per joint and pixel, alike within a person and unlike between people; None
            at the resolutions that have none.
    """

    heatmaps: Float[Tensor, "B K h w"]
    tags: Float[Tensor, "B K L h w"] | None


class MultiResolutionHead(nn.Module):
    """Heatmaps and tags at the trunk's resolution, then sharper heatmaps at twice, four times, ... that resolution.

    A 1x1 convolution predicts from the trunk's features. Each further resolution takes features and
    prediction together, doubles them by a transposed convolution, refines them with residual blocks
    and predicts heatmaps again. `num_deconvs=0` is the plain associative embedding head (HRNet-AE),
    1 is HigherHRNet.

    Names are those of the public release: final_layers.N predict, deconv_layers.N upsample.
    Channels of final_layers.0 are the K heatmaps, then the L tags of the first joint, of the
    second, ...

    Args:
        in_channels: channels of the features.
        num_keypoints: K, the number of joints.
        tag_dims: L, the numbers in a tag.
        tag_anchor: added to both numbers of a two-dimensional tag for every cell to the right and
            down. Tags then start as places: people are apart from the first step on, and a crowd of
            hundreds has room.
        num_deconvs: further resolutions, 0 to 4.
        deconv_channels: channels at the further resolutions; None: as many as the features have.
        num_blocks: residual blocks at each further resolution.
        block: makes such a block from its number of channels, which it keeps.
    """

    def __init__(
        self,
        in_channels: int,
        num_keypoints: int,
        *,
        tag_dims: int = 1,
        tag_anchor: float = 0.0,
        num_deconvs: int = 1,
        deconv_channels: int | None = None,
        num_blocks: int = 4,
        block: Callable[[int], nn.Module] = BasicBlock,
    ):
        super().__init__()
        _check_tags(num_keypoints, tag_dims, tag_anchor)
        if not 0 <= num_deconvs <= 4 or not 0 <= num_blocks <= 64:
            raise ValueError(
                f"num_deconvs must be 0 to 4 and num_blocks 0 to 64, not {num_deconvs} and {num_blocks}"
            )
        channels = deconv_channels or in_channels
        num_outputs = num_keypoints * (1 + tag_dims)
        self.num_keypoints, self.tag_dims, self.tag_anchor = num_keypoints, tag_dims, tag_anchor

        self.final_layers = nn.ModuleList([nn.Conv2d(in_channels, num_outputs, 1)])
        self.deconv_layers = nn.ModuleList()
        for _ in range(num_deconvs):
            blocks = (nn.Sequential(block(channels)) for _ in range(num_blocks))
            self.deconv_layers.append(
                nn.Sequential(doubling(in_channels + num_outputs, channels), *blocks)
            )
            self.final_layers.append(nn.Conv2d(channels, num_keypoints, 1))
            in_channels, num_outputs = channels, num_keypoints

        for layer in self.final_layers:
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            nn.init.uniform_(
                layer.weight, -0.001, 0.001
            )  # start from empty heatmaps: nearly every pixel is background
            nn.init.zeros_(layer.bias)

    def forward(self, features: Float[Tensor, "B C h w"]) -> list[HeadOutput]:
        """Predict at every resolution.

        Args:
            features: of the trunk.

        Returns:
            Coarse to fine, 1 + num_deconvs outputs: B K h w heatmaps with B K L h w tags, then B K
            2h 2w heatmaps without tags, ...
        """
        prediction = self.final_layers[0](features)  # B K+KL h w
        heatmaps, tags = prediction[:, : self.num_keypoints], prediction[:, self.num_keypoints :]
        tags = tags.unflatten(1, (self.num_keypoints, self.tag_dims))  # B K L h w
        if self.tag_anchor:
            tags = tags + self.tag_anchor * _places(tags)
        outputs = [HeadOutput(heatmaps, tags)]
        for deconv, final in zip(self.deconv_layers, self.final_layers[1:], strict=True):
            features = deconv(torch.cat([features, prediction], dim=1))  # B C 2h 2w
            prediction = final(features)  # B K 2h 2w
            outputs.append(HeadOutput(prediction, None))
        return outputs


class SubpixelHead(nn.Module):
    """Heatmaps and tags at twice the trunk's resolution from a single 1x1 convolution: the head for short trainings.

    Each cell of the features predicts the heatmaps of the four cells that it covers (the sub-pixel
    convolution of Shi et al., arXiv:1609.05158), and tags that are interpolated to them. Heatmaps
    are probabilities: they end in a sigmoid, which starts near `start`, and suit
    `Criterion(heatmaps="focal")`.

    Args:
        in_channels: channels of the features.
        num_keypoints: K, the number of joints.
        tag_dims: L, the numbers in a tag.
        tag_anchor: see `MultiResolutionHead`; per cell of the output.
        start: what the heatmaps are before any training.
    """

    def __init__(
        self,
        in_channels: int,
        num_keypoints: int,
        *,
        tag_dims: int = 2,
        tag_anchor: float = 0.0,
        start: float = 0.05,
    ):
        super().__init__()
        _check_tags(num_keypoints, tag_dims, tag_anchor)
        self.num_keypoints, self.tag_dims, self.tag_anchor = num_keypoints, tag_dims, tag_anchor
        self.final = nn.Conv2d(in_channels, num_keypoints * (4 + tag_dims), 1)
        assert self.final.bias is not None
        nn.init.uniform_(self.final.weight, -0.001, 0.001)
        nn.init.zeros_(self.final.bias)
        nn.init.constant_(self.final.bias[: 4 * num_keypoints], math.log(start / (1 - start)))

    def forward(self, features: Float[Tensor, "B C h w"]) -> list[HeadOutput]:
        """Predict.

        Args:
            features: of the trunk.

        Returns:
            One output: B K 2h 2w heatmaps with B K L 2h 2w tags.
        """
        sizes = [4 * self.num_keypoints, self.tag_dims * self.num_keypoints]
        heatmaps, tags = self.final(features).split(sizes, dim=1)
        heatmaps = F.pixel_shuffle(heatmaps, 2).sigmoid()  # B K 2h 2w
        tags = F.interpolate(tags, scale_factor=2, mode="bilinear", align_corners=False)
        tags = tags.unflatten(1, (self.num_keypoints, self.tag_dims))  # B K L 2h 2w
        if self.tag_anchor:
            tags = tags + self.tag_anchor * _places(tags)
        return [HeadOutput(heatmaps, tags)]


def _check_tags(num_keypoints: int, tag_dims: int, tag_anchor: float) -> None:
    if num_keypoints < 1 or tag_dims < 1:
        raise ValueError(
            f"a head has at least one joint and one tag dimension, not {num_keypoints} and {tag_dims}"
        )
    if tag_anchor and tag_dims != 2:
        raise ValueError(
            f"only two-dimensional tags can be anchored, not those of {tag_dims} dimensions"
        )


def _places(maps: Tensor) -> Tensor:
    """2 h w, the column and the row of every cell."""
    height, width = maps.shape[-2:]
    y, x = torch.arange(height, device=maps.device), torch.arange(width, device=maps.device)
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)]).float()


def resize(maps: Float[Tensor, "B C h w"], size: Sequence[int]) -> Float[Tensor, "B C H W"]:
    """Maps interpolated to H, W = `size`; as they are if that is their size."""
    if maps.shape[2:] == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def doubling(in_channels: int, out_channels: int) -> nn.Sequential:
    """A transposed convolution that doubles height and width, with its norm."""
    deconv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)
    nn.init.kaiming_uniform_(deconv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(deconv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
