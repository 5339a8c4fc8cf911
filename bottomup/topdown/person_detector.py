"""A detector of people in the style of CenterNet (Zhou et al., arXiv:1904.07850).

Every cell predicts whether it holds a person's centre, where in the cell it is, and how large the
person is. The network runs on the image at its size and at half of it, since the trunk finds people
up to some size only.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from bottomup.method.voting_losses import read_cells
from bottomup.models.heads import DenseHead
from bottomup.models.mobilenet import MobileNetScales
from bottomup.models.network import MOVENET_MEAN, Network, Preprocessing, Recipe
from bottomup.skeleton import COCO, Skeleton

MAX_PEOPLE = 300  # centres that are read from one scale of an image
HIDDEN_CHANNELS = 96  # of each dense head


class CenterMaps(NamedTuple):
    """The detector's output at every cell of one scale; lengths are in cells of that scale.

    Attributes:
        center: logit of the centre of a person's box.
        offset: x, y of the centre relative to the middle of the cell.
        box_size: height and width of the box.
    """

    center: Float[Tensor, "B 1 h w"]
    offset: Float[Tensor, "B 2 h w"]
    box_size: Float[Tensor, "B 2 h w"]


class CenterHead(nn.Module):
    """Features to `CenterMaps`.

    Centre and box size are named as in `CenterVotingHead`, to start from the bundled weights.

    Args:
        in_channels: of the features.
    """

    def __init__(self, in_channels: int):
        super().__init__()
        self.center = DenseHead(in_channels, 1, HIDDEN_CHANNELS)
        self.offset = DenseHead(in_channels, 2, HIDDEN_CHANNELS)
        self.box_size = DenseHead(in_channels, 2, HIDDEN_CHANNELS)
        # nearly every cell is background, and offsets start near 0
        nn.init.constant_(self.center.out.bias, -4.6)  # type: ignore[arg-type]
        nn.init.normal_(self.offset.out.weight, std=1e-3)
        nn.init.zeros_(self.offset.out.bias)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> list[CenterMaps]:
        """The maps of every scale."""
        return [
            CenterMaps(self.center(level), self.offset(level), self.box_size(level))
            for level in features
        ]


class DetectorNet(Network):
    """Finds the boxes of people, as maps of their centres."""

    def forward(
        self, images: UInt8[Tensor, "B 3 H W"] | Float[Tensor, "B 3 H W"]
    ) -> list[CenterMaps]:
        """Maps of every scale of a batch of images, the finest scale first.

        Args:
            images: RGB, 0..255, integers or floats; H and W are multiples of
                `preprocessing.multiple`.
        """
        return self.head(self.features(images))


def person_detector(
    skeleton: Skeleton = COCO, *, num_scales: int = 2, input_size: int = 512
) -> DetectorNet:
    """The detector on the trunk of `mobile`.

    Args:
        skeleton: of the people in the training data.
        num_scales: 2 also takes each image at half its size, for large people; 1 does not.
        input_size: pixels of an image's long side.
    """
    trunk = MobileNetScales(num_scales)
    multiple = 32 * 2 ** (num_scales - 1)
    return DetectorNet(
        trunk,
        CenterHead(trunk.out_channels),
        skeleton=skeleton,
        preprocessing=Preprocessing(input_size, "long", multiple, MOVENET_MEAN, MOVENET_MEAN),
        recipe=Recipe("person_detector", {"num_scales": num_scales}),
    )


# what a weights file may name, as in `pose_net`
BUILDERS: dict[str, Callable[..., DetectorNet]] = {"person_detector": person_detector}


def read_centers(
    maps: CenterMaps, *, min_score: float = 0.05
) -> list[tuple[Float[Tensor, "N 4"], Float[Tensor, " N"]]]:
    """The boxes of one scale of every image, at cells whose centre is the largest of 3 x 3.

    Args:
        maps: of one scale.
        min_score: the smallest score of a centre.

    Returns:
        for each image x0, y0, x1, y1 in cells, where (0, 0) is the centre of the first one, and
        scores; the best first.
    """
    width = maps.center.shape[3]
    center = maps.center.sigmoid()
    is_peak = (center == F.max_pool2d(center, 3, stride=1, padding=1)) & (center >= min_score)
    score, cell = (center * is_peak).flatten(1).topk(min(MAX_PEOPLE, center[0].numel()))  # B M
    place = torch.stack([cell % width, cell // width], dim=2)  # B M 2
    middle = place + read_cells(maps.offset, cell)
    half = read_cells(maps.box_size, cell).clamp(min=0).flip(2) / 2
    boxes = torch.cat([middle - half, middle + half], dim=2)  # B M 4
    return [(box[found > 0], found[found > 0]) for box, found in zip(boxes, score, strict=True)]
