"""MobileNetV2 with a feature pyramid to stride 4: the light trunk.

It is a MobileNetV2 (Sandler et al., arXiv:1801.04381) one and a half times as wide, with a pyramid
(Lin et al., arXiv:1612.03144) of 64, 32, 24 and 24 channels. Widths, connections and padding are
those of the public MoveNet MultiPose network, whose weights `scripts/import_movenet.py` imports. As
there, batch norm is folded into the convolutions.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

STRIDE = 32  # of the coarsest features: the input's sides must be multiples of it

BAND_CELLS = 1 << 13  # of a band, see `in_bands` ...
MIN_BAND_ROWS = 16  # ... but so many rows at least

STEM_CHANNELS = 48
STAGES = (  # expansion, channels, blocks, stride of the first block
    (1, 24, 1, 1),
    (6, 40, 2, 2),
    (6, 48, 3, 2),
    (6, 96, 4, 2),
    (6, 144, 3, 1),
    (6, 240, 3, 2),
    (6, 480, 1, 1),
)
LAST_CHANNELS = 1280
TAPPED_STAGES = (1, 2, 3)  # their features, at strides 4, 8 and 16, go to the pyramid
PYRAMID_CHANNELS = (24, 24, 32, 64)  # at strides 4, 8, 16 and 32


class Conv(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding: at stride 2 at the right and bottom only.

    Args:
        in_channels: as in `torch.nn.Conv2d`.
        out_channels: likewise.
        kernel_size: 1 or 3.
        stride: 1, or 2 for inputs with even sides.
        groups: as in `torch.nn.Conv2d`.
        bias: likewise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        padding = kernel_size // 2 if stride == 1 else 0
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias
        )

    def forward(self, input: Tensor) -> Tensor:
        """B C h w to B C' h/stride w/stride."""
        return super().forward(input if self.stride[0] == 1 else F.pad(input, (0, 1, 0, 1)))


def in_bands(
    function: Callable[[Tensor], Tensor], features: Float[Tensor, "B C h w"], *, stride: int = 1
) -> Float[Tensor, "B D i j"]:
    """Apply a function that reaches one row up and down, in bands of rows.

    What lies between its layers is then small: it needs little memory, and stays in the caches of
    the CPU. With gradients, and on other devices, there are no bands.

    Args:
        function: B C h w to B C' h/stride w/stride; with stride 2 it reaches down only.
        features: its input.
        stride: 1 or 2.
    """
    batch, _, height, width = features.shape
    rows = max(BAND_CELLS // width // 2 * 2, MIN_BAND_ROWS)
    if torch.is_grad_enabled() or height <= rows or features.device.type != "cpu":
        return function(features)
    result = None
    for top in range(0, height, rows):
        start = max(top - (2 - stride), 0)
        band = function(features[:, :, start : top + rows + 1])
        band = band[:, :, (top - start) : (top - start) + rows // stride]
        if result is None:
            shape = (batch, band.shape[1], height // stride, width // stride)
            result = band.new_empty(shape).to(memory_format=torch.channels_last)
        result[:, :, top // stride : top // stride + band.shape[2]] = band
    assert result is not None
    return result


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow linearly; plus the input where the shapes match."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, expansion: int):
        super().__init__()
        hidden = in_channels * expansion
        self.expand = Conv(in_channels, hidden, 1) if expansion > 1 else None
        self.depthwise = Conv(hidden, hidden, 3, stride=stride, groups=hidden)
        self.project = Conv(hidden, out_channels, 1)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D i j"]:
        """B C h w to B C' h/stride w/stride."""
        return in_bands(self._filter, features, stride=self.depthwise.stride[0])

    def _filter(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D i j"]:
        # in place: these are the largest maps of the network
        hidden = features if self.expand is None else F.relu6(self.expand(features), inplace=True)
        hidden = self.project(F.relu6(self.depthwise(hidden), inplace=True))
        return features + hidden if self.is_residual else hidden


class SeparableConv(nn.Module):
    """A 3x3 filter per channel, a 1x1 convolution and ReLU."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.depthwise = Conv(in_channels, in_channels, 3, groups=in_channels, bias=False)
        self.pointwise = Conv(in_channels, out_channels, 1)

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h w"]:
        """B C h w to B C' h w."""
        return F.relu(self.pointwise(self.depthwise(features)))


class MobileNetPyramid(nn.Module):
    """Images to features of 24 channels at stride 4, with 4.70 M parameters.

    Attributes:
        out_channels: channels of the features.
    """

    def __init__(self) -> None:
        super().__init__()
        self.out_channels = PYRAMID_CHANNELS[0]

        # MobileNetV2
        self.stem = Conv(3, STEM_CHANNELS, 3, stride=2)
        self.stages = nn.ModuleList()
        channels = STEM_CHANNELS
        for expansion, out_channels, num_blocks, stride in STAGES:
            first = InvertedResidual(channels, out_channels, stride=stride, expansion=expansion)
            others = [
                InvertedResidual(out_channels, out_channels, stride=1, expansion=expansion)
                for _ in range(num_blocks - 1)
            ]
            self.stages.append(nn.Sequential(first, *others))
            channels = out_channels
        self.last = Conv(channels, LAST_CHANNELS, 1)

        # the pyramid, at strides 4, 8, 16 and 32: each level is brought to the channels of the next
        # coarser one, which is added to it
        tapped = [*(STAGES[stage][1] for stage in TAPPED_STAGES), LAST_CHANNELS]
        inner = [*PYRAMID_CHANNELS[1:], PYRAMID_CHANNELS[-1]]
        self.lateral = nn.ModuleList(Conv(*pair, 1) for pair in zip(tapped, inner, strict=True))
        self.smooth = nn.ModuleList(
            SeparableConv(*pair) for pair in zip(inner[:3], PYRAMID_CHANNELS[:3], strict=True)
        )

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C H/4 W/4"]:
        """The finest level of the pyramid; no feature is negative.

        Args:
            images: RGB, about -1 to 1; H and W multiples of 32.
        """
        return self.merge(self.find_levels(images))

    def find_levels(self, images: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """The features that the pyramid joins, fine to coarse.

        They are B 40 H/4 W/4, B 48 H/8 W/8, B 96 H/16 W/16 and B 1280 H/32 W/32.
        """
        features = F.relu6(self.stem(images), inplace=True)  # B 48 H/2 W/2
        levels = []
        for number, stage in enumerate(self.stages):
            features = stage(features)
            if number in TAPPED_STAGES:
                levels.append(features)
        return [*levels, F.relu6(self.last(features))]

    def merge(self, levels: Sequence[Tensor]) -> Float[Tensor, "B C h w"]:
        """The finest level of the pyramid of these features, B 24 H/4 W/4."""
        merged = self.lateral[3](levels[3])  # B 64 H/32 W/32
        for level in (2, 1, 0):  # coarse to fine
            doubled = F.interpolate(merged, scale_factor=2.0, mode="bilinear", align_corners=False)
            merged = self.smooth[level](doubled + self.lateral[level](levels[level]))
        return merged


class MobileNetContext(MobileNetPyramid):
    """`MobileNetPyramid` that also returns its coarsest features, which cover a whole small image.

    Attributes:
        context_channels: channels of the coarsest features.
    """

    context_channels = LAST_CHANNELS

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Fine and coarse features: B 24 H/4 W/4 and B 1280 H/32 W/32, none negative."""
        levels = self.find_levels(images)
        return self.merge(levels), levels[3]


class MobileNetScales(MobileNetPyramid):
    """`MobileNetPyramid` for an image at its size, at half of it and so on, for large people too.

    A network that was trained on 256 pixels misses people of 400. The image at half its size costs
    a quarter more.

    Args:
        num_scales: 1 is the image at its size only.

    Raises:
        ValueError: the number is out of range.
    """

    def __init__(self, num_scales: int = 2):
        super().__init__()
        if not 1 <= num_scales <= 4:
            raise ValueError(f"num_scales must be 1 to 4, not {num_scales}")
        self.num_scales = num_scales

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Tensor]:  # type: ignore[override]
        """Features of every scale: B C H/4 W/4, B C H/8 W/8, ...

        Args:
            images: RGB, about -1 to 1; H and W multiples of 32 * 2**(num_scales - 1).
        """
        return [self.at_scale(images, scale) for scale in range(self.num_scales)]

    def at_scale(self, images: Float[Tensor, "B 3 H W"], scale: int) -> Float[Tensor, "B C h w"]:
        """Features of images at 2**-scale of their size, C channels at stride 4 * 2**scale."""
        for _ in range(scale):
            images = F.avg_pool2d(images, 2)
        return super().forward(images)
