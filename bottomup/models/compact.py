"""A small convolutional trunk that learns quickly from random weights on a CPU: down to stride 32 and back up to 4."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bottomup.models.hrnet import BasicBlock


class CompactTrunk(nn.Module):
    """Residual blocks at strides 4, 8, 16 and 32, joined by a feature pyramid (Lin et al., CVPR 2017).

    Args:
        width: channels of the blocks at stride 4; twice, four and five times as many further down.
        num_blocks: how many blocks there are at each stride.
        out_channels: of the pyramid and of the result.
    """

    def __init__(
        self,
        width: int = 48,
        num_blocks: Sequence[int] = (1, 2, 2, 1),
        out_channels: int = 64,
    ):
        super().__init__()
        if width < 2:
            raise ValueError(f"width must be at least 2, not {width}")
        channels = (width, 2 * width, 4 * width, 5 * width)
        self.out_channels = out_channels
        self.stem = _convolution(3, width // 2, stride=2)
        self.stages = nn.ModuleList()
        before = width // 2
        for wide, count in zip(channels, num_blocks, strict=True):
            blocks = [BasicBlock(wide) for _ in range(count)]
            self.stages.append(nn.Sequential(_convolution(before, wide, stride=2), *blocks))
            before = wide
        self.lateral = nn.ModuleList(nn.Conv2d(wide, out_channels, 1) for wide in channels)
        self.smooth = nn.ModuleList(_convolution(out_channels, out_channels) for _ in channels[:-1])

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C H/4 W/4"]:
        """Features of normalised images whose sides are multiples of 32."""
        features, levels = self.stem(images), []  # B C H/2 W/2
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            features = stage(features)  # strides 4, 8, 16, 32
            levels.append(lateral(features))
        joined = levels.pop()
        for level, smooth in zip(reversed(levels), self.smooth, strict=True):
            joined = smooth(level + F.interpolate(joined, scale_factor=2, mode="nearest"))
        return joined


def _convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """3x3, batch norm, ReLU."""
    layer = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layer, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
