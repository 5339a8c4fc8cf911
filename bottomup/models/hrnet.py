"""HRNet, a trunk that keeps a high resolution throughout (Sun et al., CVPR 2019, arXiv:1902.09212).

It has four stages, of one, two, three and four parallel branches. Each branch has half the
resolution and twice the channels of the one before. After every four residual blocks the branches
exchange their features. Pose estimation uses the finest branch only, at a quarter of the input's
resolution.

Parameter names, shapes and order are those of the public HigherHRNet release. So its checkpoints,
and the ImageNet ones that a training starts from, load without a table of names.
"""

import functools

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

STRIDE = 32  # of the coarsest branch: the input's sides must be multiples of it
BLOCKS_PER_BRANCH = 4
MODULES_PER_STAGE = (1, 4, 3)  # exchanges in stage 2, 3 and 4


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size, or halves it; without a bias, since a norm follows."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


def conv_norm_relu(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution, batch norm and ReLU."""
    return nn.Sequential(
        conv3x3(in_channels, out_channels, stride),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016): the block of branches and heads."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = conv3x3(channels, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Refine the features, at unchanged size."""
        y = F.relu_(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu_(y + x)


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a widening 1x1 convolution, and a shortcut: the block of stage 1."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        out_channels = 4 * channels
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        # the official name; it widens the shortcut, and keeps the size
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
            )
            if in_channels != out_channels
            else None
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C4 H W"]:
        """Refine the features, at unchanged size and 4 x `channels` channels."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu_(self.bn1(self.conv1(x)))
        y = F.relu_(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu_(y + shortcut)


def fuse_path(channels: list[int], source: int, target: int) -> nn.Module:
    """Layers from branch `source` to the resolution and the channels of branch `target`."""
    if source == target:
        return nn.Identity()

    # coarse to fine: match the channels, then repeat pixels
    if source > target:
        return nn.Sequential(
            nn.Conv2d(channels[source], channels[target], 1, bias=False),
            nn.BatchNorm2d(channels[target]),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )

    # fine to coarse: halve step by step; the last step changes the channels, without a ReLU
    halvings = [
        conv_norm_relu(channels[source], channels[source], stride=2)
        for _ in range(source, target - 1)
    ]
    halvings.append(
        nn.Sequential(
            conv3x3(channels[source], channels[target], stride=2), nn.BatchNorm2d(channels[target])
        )
    )
    return nn.Sequential(*halvings)


class HighResolutionModule(nn.Module):
    """Four residual blocks on every branch, then an exchange: each output is a sum over branches.

    Args:
        channels: channels of each branch, fine to coarse.
        num_outputs: branches after the exchange, from the finest on.
    """

    def __init__(self, channels: list[int], num_outputs: int):
        super().__init__()
        sources = range(len(channels))
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(branch) for _ in range(BLOCKS_PER_BRANCH)))
            for branch in channels
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(fuse_path(channels, source, target) for source in sources)
            for target in range(num_outputs)
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Features of every branch; element i is B C*2^i H/2^i W/2^i."""
        features = [branch(x) for branch, x in zip(self.branches, features, strict=True)]
        outputs = []
        for paths in self.fuse_layers:
            parts = [path(x) for path, x in zip(paths, features, strict=True)]  # type: ignore[arg-type]
            outputs.append(F.relu_(functools.reduce(torch.add, parts)))
        return outputs


class HRNet(nn.Module):
    """The trunk of HigherHRNet: an image to features at a quarter of its resolution.

    Args:
        width: channels of the finest branch. 32 and 48 are published; any other positive number
            works.

    Raises:
        ValueError: the width is out of range.
    """

    def __init__(self, width: int = 32):
        super().__init__()
        if not 1 <= width <= 1024:
            raise ValueError(
                "width, the channels of the finest branch, is 1 to 1024 (usual: 32, 48), "
                f"not {width}"
            )
        self.out_channels = width
        channels = [width, 2 * width, 4 * width, 8 * width]

        # stem and stage 1, at a quarter of the resolution
        self.conv1 = conv3x3(3, 64, stride=2)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = conv3x3(64, 64, stride=2)
        self.bn2 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(Bottleneck(64, 64), *(Bottleneck(256, 64) for _ in range(3)))

        # stages 2 to 4: each transition adds a branch at half the coarsest resolution so far
        self.transition1 = nn.ModuleList(
            [conv_norm_relu(256, channels[0]), _new_branch(256, channels[1])]
        )
        self.stage2 = _stage(channels[:2], MODULES_PER_STAGE[0])
        self.transition2 = nn.ModuleList(
            [nn.Identity(), nn.Identity(), _new_branch(channels[1], channels[2])]
        )
        self.stage3 = _stage(channels[:3], MODULES_PER_STAGE[1])
        self.transition3 = nn.ModuleList(
            [*(nn.Identity() for _ in range(3)), _new_branch(channels[2], channels[3])]
        )
        self.stage4 = _stage(channels, MODULES_PER_STAGE[2], last=True)

        # uniform, because normal_ on the device "meta" takes seconds of imports
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C H/4 W/4"]:
        """Features of normalised images.

        Args:
            images: RGB, zero mean and unit variance; H and W multiples of 32.

        Raises:
            ValueError: H or W is not a multiple of 32.
        """
        height, width = images.shape[-2:]
        if height % STRIDE or width % STRIDE:
            raise ValueError(
                f"HRNet needs sides that are multiples of {STRIDE}, not {width}x{height}: "
                "pad the images"
            )
        x = F.relu_(self.bn1(self.conv1(images)))  # B 64 H/2 W/2
        x = F.relu_(self.bn2(self.conv2(x)))  # B 64 H/4 W/4
        x = self.layer1(x)  # B 256 H/4 W/4

        # one more branch in each stage
        branches = _transit(self.transition1, [x])  # [B C H/4 W/4, B 2C H/8 W/8]
        branches = self.stage2(branches)
        branches = _transit(self.transition2, branches)  # [..., B 4C H/16 W/16]
        branches = self.stage3(branches)
        branches = _transit(self.transition3, branches)  # [..., B 8C H/32 W/32]
        return self.stage4(branches)[0]  # B C H/4 W/4


def _new_branch(in_channels: int, out_channels: int) -> nn.Module:
    """The start of a branch at half the resolution; nested twice for the official names."""
    return nn.Sequential(conv_norm_relu(in_channels, out_channels, stride=2))


def _transit(transition: nn.ModuleList, branches: list[Tensor]) -> list[Tensor]:
    """Each branch passes its layer of `transition`; the new one starts from the coarsest."""
    return [layer(x) for layer, x in zip(transition, [*branches, branches[-1]], strict=True)]


def _stage(channels: list[int], num_modules: int, *, last: bool = False) -> nn.Sequential:
    """`num_modules` exchanges in a row; the last one of the last stage gives one branch only."""
    num_outputs = [len(channels)] * num_modules
    if last:
        num_outputs[-1] = 1
    return nn.Sequential(*(HighResolutionModule(channels, n) for n in num_outputs))
