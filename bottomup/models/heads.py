"""Heads: from features at stride 4 to heatmaps and tags, at one or several resolutions."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from bottomup.coordinates import map_points
from bottomup.models.hrnet import BasicBlock
from bottomup.models.mobilenet import Conv, SeparableConv, in_bands

Side = Any
"""Height or width of maps: an int, or a tensor while a graph for all sizes is traced."""


class HeadOutput(NamedTuple):
    """Heatmaps and tags at one resolution.

    Attributes:
        heatmaps: one map per joint, near 1 at a joint and near 0 elsewhere.
        tags: L numbers per joint and cell, similar within a person and different between people;
            None at a resolution without tags.
    """

    heatmaps: Float[Tensor, "B K h w"]
    tags: Float[Tensor, "B K L h w"] | None


class DenseHead(nn.Module):
    """Predicts D numbers per cell from features, with one hidden layer."""

    def __init__(self, in_channels: int, out_channels: int, hidden_channels: int):
        super().__init__()
        self.hidden = SeparableConv(in_channels, hidden_channels)
        self.out = Conv(hidden_channels, out_channels, 1)

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h w"]:
        """Predict the maps."""
        return in_bands(lambda band: self.out(self.hidden(band)), features)


class FineHeatmaps(nn.Module):
    """Heatmaps at twice the resolution, from features and heatmaps, as in HigherHRNet.

    Before training, they are the interpolated heatmaps of the features' resolution.
    """

    def __init__(self, in_channels: int, num_keypoints: int, channels: int):
        super().__init__()
        self.in_channels = in_channels
        self.doubling = doubling(in_channels + num_keypoints, channels)
        self.out = Conv(channels, num_keypoints, 1)
        set_start(self.out)

    def joint_channels(self, num_keypoints: int) -> dict[str, list[int]]:
        """As of `TagHead`."""
        each = list(range(num_keypoints))
        return {"doubling.0": [-1] * self.in_channels + each, "out": each}

    def forward(
        self, features: Float[Tensor, "B C h w"], heatmaps: Float[Tensor, "B K h w"]
    ) -> Float[Tensor, "B K 2*h 2*w"]:
        """Logits at twice the resolution, from features and logits."""
        return doubled(heatmaps) + self.out(self.doubling(torch.cat([features, heatmaps], dim=1)))


class TagHead(nn.Module):
    """Base of the heads that predict heatmaps and tags directly; subclasses define `forward`.

    Args:
        num_keypoints: K, the number of joints.
        tag_dims: L, the numbers in a tag.
        tag_anchor: for anchored tags, tag units per cell: `tag_anchor` times the cell's x, y is
            added to its tags. Anchored tags start as positions. So people differ from the first
            training step on, and tags stay distinct in a crowd of hundreds. 0: not anchored.

    Raises:
        ValueError: `num_keypoints` or `tag_dims` is below 1, or tags are anchored and `tag_dims` is
            not 2.
    """

    def __init__(self, num_keypoints: int, tag_dims: int, tag_anchor: float):
        super().__init__()
        if num_keypoints < 1 or tag_dims < 1:
            raise ValueError(
                "a head has at least one joint and one tag dimension, "
                f"not {num_keypoints} and {tag_dims}"
            )
        if tag_anchor and tag_dims != 2:
            raise ValueError(f"only tags of two dimensions can be anchored, not of {tag_dims}")
        self.num_keypoints, self.tag_dims, self.tag_anchor = num_keypoints, tag_dims, tag_anchor

    def read(self, outputs: list[HeadOutput]) -> list[HeadOutput]:
        """The outputs unchanged: they are heatmaps and tags already."""
        return outputs

    def joint_channels(self, num_keypoints: int) -> dict[str, list[int]]:
        """The joint of each channel, along the first axis, of the layers that have such channels.

        Weights of a head for other joints are taken over by it.

        Args:
            num_keypoints: K of that head.

        Returns:
            Indices of joints by the layer's name; -1 for channels of no joint.
        """
        raise NotImplementedError

    def _to_tags(self, maps: Float[Tensor, "B KL h w"]) -> Float[Tensor, "B K L h w"]:
        """Tags per joint, anchored if `tag_anchor` is set."""
        tags = maps.unflatten(1, (self.num_keypoints, self.tag_dims))  # B K L h w
        if not self.tag_anchor:
            return tags
        height, width = maps.shape[-2:]
        y, x = torch.arange(height, device=tags.device), torch.arange(width, device=tags.device)
        cells = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])  # 2 h w
        return tags + self.tag_anchor * cells.float()


class MultiResolutionHead(TagHead):
    """The head of HigherHRNet (arXiv:1908.10357): tags at one resolution, heatmaps at several.

    A 1x1 convolution predicts from the trunk's features. Each further resolution concatenates
    features and prediction, doubles their resolution with a transposed convolution, refines them
    with residual blocks and predicts heatmaps again. `num_deconvs=0` is the plain associative
    embedding head (HRNet-AE), 1 is HigherHRNet.

    Parameter names are those of the public release: final_layers.N predict, deconv_layers.N
    upsample. Channels of final_layers.0 are K heatmaps, then L tags of the first joint, of the
    second, ...

    Args:
        in_channels: channels of the features.
        num_keypoints: K, the number of joints.
        tag_dims: L, the numbers in a tag.
        tag_anchor: see `TagHead`.
        num_deconvs: further resolutions, 0 to 4.
        deconv_channels: channels at the further resolutions; None: as many as the features have.
        num_blocks: residual blocks at each further resolution, 0 to 64.

    Raises:
        ValueError: as in `TagHead`, or `num_deconvs` or `num_blocks` is out of range.
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
    ):
        super().__init__(num_keypoints, tag_dims, tag_anchor)
        if not 0 <= num_deconvs <= 4 or not 0 <= num_blocks <= 64:
            raise ValueError(
                "num_deconvs must be 0 to 4 and num_blocks 0 to 64, "
                f"not {num_deconvs} and {num_blocks}"
            )
        channels = deconv_channels or in_channels
        num_outputs = num_keypoints * (1 + tag_dims)

        self.final_layers = nn.ModuleList([nn.Conv2d(in_channels, num_outputs, 1)])
        self.deconv_layers = nn.ModuleList()
        self.feature_channels: list[int] = []  # that each of them gets beside the prediction
        for _ in range(num_deconvs):
            blocks = (nn.Sequential(BasicBlock(channels)) for _ in range(num_blocks))
            self.feature_channels.append(in_channels)
            upsample = doubling(in_channels + num_outputs, channels)
            self.deconv_layers.append(nn.Sequential(upsample, *blocks))
            self.final_layers.append(nn.Conv2d(channels, num_keypoints, 1))
            in_channels, num_outputs = channels, num_keypoints
        _start_empty(*self.final_layers)

    def joint_channels(self, num_keypoints: int) -> dict[str, list[int]]:
        """As of `TagHead`."""
        each = list(range(num_keypoints))
        outputs = each + [k for k in each for _ in range(self.tag_dims)]
        layers = {"final_layers.0": outputs}
        for n, channels in enumerate(self.feature_channels):
            features = [-1] * channels
            layers |= {f"deconv_layers.{n}.0.0": features + outputs, f"final_layers.{n + 1}": each}
            outputs = each
        return layers

    def forward(self, features: Float[Tensor, "B C h w"]) -> list[HeadOutput]:
        """Predict at every resolution.

        Args:
            features: of the trunk.

        Returns:
            1 + num_deconvs outputs, coarse to fine: (B, K, h, w) heatmaps with (B, K, L, h, w)
            tags, then (B, K, 2h, 2w) heatmaps without tags, ...
        """
        prediction = self.final_layers[0](features)  # B K+KL h w
        heatmaps, tags = prediction[:, : self.num_keypoints], prediction[:, self.num_keypoints :]
        outputs = [HeadOutput(heatmaps, self._to_tags(tags))]
        for deconv, final in zip(self.deconv_layers, self.final_layers[1:], strict=True):
            features = deconv(torch.cat([features, prediction], dim=1))  # B C 2h 2w
            prediction = final(features)  # B K 2h 2w
            outputs.append(HeadOutput(prediction, None))
        return outputs


class SubpixelHead(TagHead):
    """Heatmaps and tags at twice the trunk's resolution from one 1x1 convolution.

    The head for short trainings. Each cell of the features predicts the heatmap values of the four
    output cells that it covers (the sub-pixel convolution of Shi et al., arXiv:1609.05158). Tags
    are interpolated to the output cells. Heatmaps are probabilities, for
    `Criterion(heatmaps="focal")`.

    Args:
        in_channels: channels of the features.
        num_keypoints: K, the number of joints.
        tag_dims: L, the numbers in a tag.
        tag_anchor: see `TagHead`; per cell of the output.

    Raises:
        ValueError: as in `TagHead`.
    """

    START = 0.05  # the heatmaps' value before training

    def __init__(
        self, in_channels: int, num_keypoints: int, *, tag_dims: int = 2, tag_anchor: float = 0.0
    ):
        super().__init__(num_keypoints, tag_dims, tag_anchor)
        self.final = nn.Conv2d(in_channels, num_keypoints * (4 + tag_dims), 1)
        _start_empty(self.final)
        # the bias of heatmaps: the logit of `START`
        assert self.final.bias is not None
        nn.init.constant_(
            self.final.bias[: 4 * num_keypoints], math.log(self.START / (1 - self.START))
        )

    def joint_channels(self, num_keypoints: int) -> dict[str, list[int]]:
        """As of `TagHead`."""
        each = range(num_keypoints)
        return {"final": [k for n in (4, self.tag_dims) for k in each for _ in range(n)]}

    def forward(self, features: Float[Tensor, "B C h w"]) -> list[HeadOutput]:
        """Predict at twice the resolution.

        Args:
            features: of the trunk.

        Returns:
            One output: (B, K, 2h, 2w) heatmaps with (B, K, L, 2h, 2w) tags.
        """
        sizes = [4 * self.num_keypoints, self.tag_dims * self.num_keypoints]
        heatmaps, tags = self.final(features).split(sizes, dim=1)
        heatmaps = F.pixel_shuffle(heatmaps, 2).sigmoid()  # B K 2h 2w
        tags = F.interpolate(tags, scale_factor=2, mode="bilinear", align_corners=False)
        return [HeadOutput(heatmaps, self._to_tags(tags))]


def _start_empty(*layers: Any) -> None:
    """Initialise last layers so that their maps are nearly 0, as most cells are background."""
    for layer in layers:
        nn.init.uniform_(layer.weight, -0.001, 0.001)
        nn.init.zeros_(layer.bias)


def set_start(layer: Any, *, bias: float = 0.0) -> None:
    """Initialise a last layer so that its maps are `bias` everywhere."""
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, bias)


def doubled(maps: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C 2*h 2*w"]:
    """Interpolate maps to twice their height and width."""
    return resize(maps, [2 * side for side in maps.shape[2:]])


def resize(maps: Float[Tensor, "B C h w"], size: Sequence[Side]) -> Float[Tensor, "B C H W"]:
    """Interpolate maps to `size` = (H, W); maps of that size are returned as they are."""
    if maps.shape[2:] == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def resize_tags(
    tags: Float[Tensor, "B K h w L"], size: Sequence[Side]
) -> Float[Tensor, "B K H W L"]:
    """Interpolate tags to `size` = (H, W); tags of that size are returned as they are."""
    if tags.shape[2:4] == tuple(size):
        return tags
    resized = resize(tags.permute(0, 1, 4, 2, 3).flatten(1, 2), size)
    return resized.unflatten(1, (tags.shape[1], tags.shape[4])).permute(0, 1, 3, 4, 2)


def resized_at(
    tags: Float[Tensor, "B K h w L"], size: Sequence[int], index: Int[np.ndarray, " M"]
) -> Float[np.ndarray, "M L"]:
    """What `resize_tags` would give at some cells, without the others; on the host.

    Args:
        tags: L values per joint and cell.
        size: H, W.
        index: ((b * K + k) * H + y) * W + x of each cell.
    """
    own, width = tuple(tags.shape[2:4]), tags.shape[3]
    joint, cell = np.divmod(index, size[0] * size[1])
    maps = tags.flatten(2, 3).flatten(0, 1)  # BK hw L

    def at(cells: Int[np.ndarray, " M"]) -> Float[np.ndarray, "M L"]:
        where = (torch.from_numpy(part).to(tags.device) for part in (joint, cells))
        return maps[*where].float().cpu().numpy()

    if own == tuple(size):
        return at(cell)
    yx = np.column_stack(np.divmod(cell, size[1])).astype(np.float32)
    place = map_points(yx, size, own).clip(0)
    low = place.astype(int)
    (y, x), (next_y, next_x) = low.T, np.minimum(low + 1, np.subtract(own, 1)).T
    down, right = np.hsplit(place - low, 2)
    above, below = (
        at(row * width + x) * (1 - right) + at(row * width + next_x) * right for row in (y, next_y)
    )
    return above * (1 - down) + below * down


def doubling(in_channels: int, out_channels: int) -> nn.Sequential:
    """A transposed convolution that doubles height and width, with batch norm and ReLU."""
    deconv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)
    nn.init.kaiming_uniform_(deconv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(deconv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
