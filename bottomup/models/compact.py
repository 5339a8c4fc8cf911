"""A small convolutional trunk that learns quickly from random weights, on a CPU."""

import itertools

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bottomup.models.hrnet import BasicBlock, conv3x3

NUM_BLOCKS = (1, 2, 2, 1)  # at strides 4, 8, 16 and 32


class CompactTrunk(nn.Module):
    """Residual blocks at strides 4 to 32, joined by a feature pyramid (Lin et al., CVPR 2017).

    Args:
        width: channels at stride 4; at 8, 16 and 32 twice, four and five times as many.
        out_channels: channels of the pyramid.

    Raises:
        ValueError: the width is too small.
    """

    def __init__(self, width: int = 48, *, out_channels: int = 64):
        super().__init__()
        if width < 2:
            raise ValueError(f"width must be at least 2, not {width}")
        channels = (width, 2 * width, 4 * width, 5 * width)
        self.out_channels = out_channels

        # down to stride 32, halving before each stage
        self.stem = _convolution(3, width // 2, stride=2)
        self.stages = nn.ModuleList()
        steps = itertools.pairwise((width // 2, *channels))
        for (narrow, wide), count in zip(steps, NUM_BLOCKS, strict=True):
            blocks = [BasicBlock(wide) for _ in range(count)]
            self.stages.append(nn.Sequential(_convolution(narrow, wide, stride=2), *blocks))

        # and back up to stride 4
        self.lateral = nn.ModuleList(nn.Conv2d(wide, out_channels, 1) for wide in channels)
        self.smooth = nn.ModuleList(_convolution(out_channels, out_channels) for _ in channels[:-1])

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C H/4 W/4"]:
        """Features of normalised images whose sides are multiples of 32."""
        # down: features at strides 4, 8, 16 and 32
        features, levels = self.stem(images), []  # B C H/2 W/2
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            features = stage(features)
            levels.append(lateral(features))

        # up: each level is added to the next coarser one, enlarged
        joined = levels.pop()
        for level, smooth in zip(reversed(levels), self.smooth, strict=True):
            joined = smooth(level + F.interpolate(joined, scale_factor=2, mode="nearest"))
        return joined


def _convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution, batch norm and ReLU, with weights to start a training from."""
    layer = conv3x3(in_channels, out_channels, stride)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layer, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
