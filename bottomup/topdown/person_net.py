"""Networks for one person in the middle of a crop: the second half of top-down methods.

Three heads on one trunk find the K joints: heatmaps (Xiao et al., ECCV 2018), coordinates from
global features (Toshev and Szegedy, CVPR 2014), and coordinates as the mean of a heatmap (Sun et
al., "Integral Human Pose Regression", ECCV 2018). The fine features of the trunk tell where joints
are. The coarse ones cover the whole crop, so they tell whose they are.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from bottomup.coordinates import map_points
from bottomup.models.heads import DenseHead
from bottomup.models.mobilenet import STRIDE, Conv, MobileNetContext
from bottomup.models.network import MOVENET_MEAN, Network, Preprocessing, Recipe
from bottomup.skeleton import COCO, Skeleton

HIDDEN_CHANNELS = 96  # of a head's layers, at stride 4 and at the coarse features
REGRESSION_CHANNELS = 64  # at each cell of the coarse features
REGRESSION_HIDDEN = 256  # after all cells have been joined


class PersonOutput(NamedTuple):
    """The joints of one person per crop.

    Attributes:
        points: x, y in pixels of the crop; (0, 0) is the centre of the top-left one.
        scores: 0 to 1.
        heatmaps: what the points were read from, for the loss; None if the points themselves are
            trained.
    """

    points: Float[Tensor, "B K 2"]
    scores: Float[Tensor, "B K"]
    heatmaps: Float[Tensor, "B K h w"] | None = None


class JointMaps(nn.Module):
    """Logits of every joint at stride 4, of the person in the middle.

    The logits are a sum. The first part, from the fine features, finds everybody's joints. It is
    named as in `CenterVotingHead`, so that it starts from the bundled weights. The second part,
    from the coarse features, starts at 0 and learns to suppress other people.

    Args:
        in_channels: of the fine features.
        context_channels: of the coarse features.
        num_keypoints: K, the number of joints.
    """

    def __init__(self, in_channels: int, context_channels: int, num_keypoints: int):
        super().__init__()
        self.heatmaps = DenseHead(in_channels, num_keypoints, HIDDEN_CHANNELS)
        self.reduce = Conv(context_channels, HIDDEN_CHANNELS, 1)
        self.relate = Conv(HIDDEN_CHANNELS + 2, HIDDEN_CHANNELS, 3)
        self.compare = Conv(HIDDEN_CHANNELS, HIDDEN_CHANNELS, 3)
        self.whose = Conv(HIDDEN_CHANNELS, num_keypoints, 1)
        for parameter in self.whose.parameters():
            nn.init.zeros_(parameter)

    def joint_channels(self, num_keypoints: int) -> dict[str, list[int]]:
        """As of `bottomup.models.heads.TagHead`."""
        each = list(range(num_keypoints))
        return {"heatmaps.out": each, "whose": each}

    def forward(self, features: tuple[Tensor, Tensor]) -> Float[Tensor, "B K h w"]:
        """Logits from fine and coarse features, B C h w and B D h/8 w/8."""
        joints = self.heatmaps(features[0])  # B K h w
        context = F.relu(self.reduce(features[1]))
        context = F.relu(self.relate(_with_places(context)))
        whose = self.whose(F.relu(self.compare(context)))  # B K h/8 w/8
        return joints + F.interpolate(
            whose, size=joints.shape[2:], mode="bilinear", align_corners=False
        )


class HeatmapHead(JointMaps):
    """A heatmap per joint, read at its maximum; the arguments are those of `JointMaps`."""

    def forward(self, features: tuple[Tensor, Tensor], crop_wh: tuple[int, int]) -> PersonOutput:  # type: ignore[override]
        """Heatmaps, and the joints in them."""
        heatmaps = super().forward(features).sigmoid()
        points, scores = read_maximum(heatmaps)
        return PersonOutput(to_crop(points, heatmaps, crop_wh), scores, heatmaps)


class SoftArgmaxHead(JointMaps):
    """A distribution over positions per joint, read as its mean.

    The arguments are those of `JointMaps`. The factor that sharpens the logits is learned.
    """

    def __init__(self, in_channels: int, context_channels: int, num_keypoints: int):
        super().__init__(in_channels, context_channels, num_keypoints)
        self.sharpness = nn.Parameter(torch.tensor(3.0))

    def forward(self, features: tuple[Tensor, Tensor], crop_wh: tuple[int, int]) -> PersonOutput:  # type: ignore[override]
        """The means; a score is the probability within two cells of the mean along both axes."""
        maps = self.sharpness * super().forward(features)
        height, width = maps.shape[2:]
        share = maps.flatten(2).softmax(2).unflatten(2, (height, width))  # B K h w
        x, y = torch.arange(width, device=maps.device), torch.arange(height, device=maps.device)
        mean_x, mean_y = (share.sum(2) * x).sum(2), (share.sum(3) * y).sum(2)  # B K
        near_x = (x - mean_x[..., None]).abs() <= 2  # B K w
        near_y = (y - mean_y[..., None]).abs() <= 2  # B K h
        near = near_x[:, :, None] & near_y[..., None]
        scores = (share.detach() * near).sum((2, 3))
        means = torch.stack([mean_x, mean_y], dim=2)
        return PersonOutput(to_crop(means, maps, crop_wh), scores)


class RegressionHead(nn.Module):
    """Coordinates by fully connected layers from the coarse features, all with the score 1.

    Args:
        in_channels: of the fine features, which are not used.
        context_channels: of the coarse features.
        num_keypoints: K, the number of joints.
        crop_wh: width and height of the crop.
    """

    def __init__(
        self,
        in_channels: int,
        context_channels: int,
        num_keypoints: int,
        crop_wh: tuple[int, int],
    ):
        super().__init__()
        self.num_keypoints = num_keypoints
        self.reduce = Conv(context_channels, REGRESSION_CHANNELS, 1)
        num_cells = (crop_wh[0] // STRIDE) * (crop_wh[1] // STRIDE)
        self.join = nn.Linear(REGRESSION_CHANNELS * num_cells, REGRESSION_HIDDEN)
        self.out = nn.Linear(REGRESSION_HIDDEN, 2 * num_keypoints)
        nn.init.normal_(self.out.weight, std=1e-3)
        nn.init.zeros_(self.out.bias)

    def joint_channels(self, num_keypoints: int) -> dict[str, list[int]]:
        """As of `bottomup.models.heads.TagHead`."""
        return {"out": [k for k in range(num_keypoints) for _ in "xy"]}

    def forward(self, features: tuple[Tensor, Tensor], crop_wh: tuple[int, int]) -> PersonOutput:
        """The joints; the layers give them relative to the crop's middle, in units of its sides."""
        joined = F.relu(self.join(F.relu(self.reduce(features[1])).flatten(1)))
        shares = self.out(joined).unflatten(1, (self.num_keypoints, 2))  # B K 2, about -0.5 to 0.5
        points = map_points(shares, (1, 1), crop_wh)
        return PersonOutput(points, torch.ones_like(points[..., 0]).detach())


class PersonNet(Network):
    """Finds the joints of the person in the middle of each crop.

    Args:
        trunk: normalised crops B 3 H W to fine features B C H/4 W/4 and coarse ones B D H/32 W/32.
        head: features and the crop's width and height to `PersonOutput`.
        skeleton: the K joints.
        height: pixels of a crop; its width is three quarters of that.
        recipe: how to build it again.

    Attributes:
        crop_wh: width and height of a crop.
    """

    def __init__(
        self, trunk: nn.Module, head: nn.Module, *, skeleton: Skeleton, height: int, recipe: Recipe
    ):
        preprocessing = Preprocessing(height, "long", 32, MOVENET_MEAN, MOVENET_MEAN)
        super().__init__(trunk, head, skeleton=skeleton, preprocessing=preprocessing, recipe=recipe)
        self.crop_wh = _crop_wh(height)

    def forward(self, crops: UInt8[Tensor, "B 3 H W"] | Float[Tensor, "B 3 H W"]) -> PersonOutput:
        """The joints of a batch of crops.

        Args:
            crops: RGB, 0..255, integers or floats, of the size `crop_wh`.
        """
        return self.head(self.features(crops), self.crop_wh)


def topdown_heatmap(skeleton: Skeleton = COCO, *, height: int = 256) -> PersonNet:
    """Heatmaps K x H/4 x W/4 on the trunk of `mobile`.

    Args:
        skeleton: the joints to find.
        height: pixels of a crop, a multiple of 128; its width is three quarters of that.
    """
    return _build("topdown_heatmap", HeatmapHead, skeleton, height)


def topdown_softargmax(skeleton: Skeleton = COCO, *, height: int = 256) -> PersonNet:
    """Coordinates as means of maps, on the trunk of `mobile`.

    Args:
        skeleton: the joints to find.
        height: pixels of a crop, a multiple of 128; its width is three quarters of that.
    """
    return _build("topdown_softargmax", SoftArgmaxHead, skeleton, height)


def topdown_regression(skeleton: Skeleton = COCO, *, height: int = 256) -> PersonNet:
    """Coordinates from global features, on the trunk of `mobile`.

    Args:
        skeleton: the joints to find.
        height: pixels of a crop, a multiple of 128; its width is three quarters of that.
    """
    head = functools.partial(RegressionHead, crop_wh=_crop_wh(height))
    return _build("topdown_regression", head, skeleton, height)


# what a weights file may name, as in `pose_net`
BUILDERS: dict[str, Callable[..., PersonNet]] = {
    "topdown_heatmap": topdown_heatmap,
    "topdown_softargmax": topdown_softargmax,
    "topdown_regression": topdown_regression,
}


def read_maximum(
    heatmaps: Float[Tensor, "B K h w"],
) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K"]]:
    """The largest cell of every map, moved by a quarter cell towards its larger neighbours.

    Returns:
        x, y in cells, where (0, 0) is the centre of the first one; and the values there, clipped to
        0..1.
    """
    height, width = heatmaps.shape[2:]
    flat = heatmaps.detach().flatten(2)
    values, cell = flat.max(2)  # B K
    place = torch.stack([cell % width, cell // width], dim=2)  # B K 2
    moves = []
    for axis, (step, size) in enumerate(((1, width), (width, height))):
        before = flat.gather(2, (cell - step).clamp(min=0)[..., None])[..., 0]
        after = flat.gather(2, (cell + step).clamp(max=flat.shape[2] - 1)[..., None])[..., 0]
        inside = (place[..., axis] > 0) & (place[..., axis] < size - 1)
        moves.append(torch.where(inside, 0.25 * (after - before).sign(), 0))
    return place + torch.stack(moves, dim=2), values.clamp(0, 1)


def to_crop(
    points: Float[Tensor, "B K 2"], maps: Tensor, crop_wh: tuple[int, int]
) -> Float[Tensor, "B K 2"]:
    """Cells of maps that cover the crop to pixels of the crop."""
    return map_points(points, (maps.shape[3], maps.shape[2]), crop_wh)


def _build(name: str, head: Callable[..., nn.Module], skeleton: Skeleton, height: int) -> PersonNet:
    if height < 128 or height % 128:
        raise ValueError(
            f"height must be a multiple of 128, not {height}: "
            "the sides of a crop are multiples of 32"
        )
    trunk = MobileNetContext()
    return PersonNet(
        trunk,
        head(trunk.out_channels, trunk.context_channels, skeleton.num_keypoints),
        skeleton=skeleton,
        height=height,
        recipe=Recipe(name, {"height": height}),
    )


def _crop_wh(height: int) -> tuple[int, int]:
    return height * 3 // 4, height


def _with_places(features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h w"]:
    """Two more channels: the column and the row of every cell, -1 to 1."""
    y, x = (
        torch.linspace(-1, 1, size, device=features.device, dtype=features.dtype)
        for size in features.shape[2:]
    )
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"))  # 2 h w
    return torch.cat([features, places.expand(len(features), -1, -1, -1)], dim=1)
