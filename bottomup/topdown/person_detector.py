"""A detector of people in the manner of CenterNet (Zhou et al., "Objects as Points", arXiv:1904.07850).

Every cell says whether a person's centre is in it, how far within, and how large that person is.
The image is looked at twice, at its size and at half of it, since the trunk knows people up to some
size only.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from bottomup.models.center_voting import DenseHead
from bottomup.models.mobilenet import MobileNetScales
from bottomup.models.network import MOVENET_MEAN, Network, Preprocessing, Recipe
from bottomup.skeleton import COCO, Skeleton

MAX_PEOPLE = 300  # centres that are read from one scale of an image


class CenterMaps(NamedTuple):
    """What the detector says at every cell of one scale; lengths in cells of that scale.

    Attributes:
        center: logit of the centre of a person's box being here.
        offset: x, y of the centre relative to the middle of the cell.
        box_size: height and width of the box.
    """

    center: Float[Tensor, "B 1 h w"]
    offset: Float[Tensor, "B 2 h w"]
    box_size: Float[Tensor, "B 2 h w"]


class CenterHead(nn.Module):
    """Features to `CenterMaps`; centre and box size have the names that `CenterVotingHead` gives them.

    Args:
        in_channels: of the features.
        hidden_channels: of each of the three dense heads.
    """

    def __init__(self, in_channels: int, hidden_channels: int = 96):
        super().__init__()
        self.center = DenseHead(in_channels, 1, hidden_channels)
        self.offset = DenseHead(in_channels, 2, hidden_channels)
        self.box_size = DenseHead(in_channels, 2, hidden_channels)
        assert self.center.out.bias is not None
        assert self.offset.out.bias is not None
        nn.init.constant_(self.center.out.bias, -4.6)  # nearly every cell is background
        nn.init.normal_(self.offset.out.weight, std=1e-3)
        nn.init.zeros_(self.offset.out.bias)

    def forward(self, features: Sequence[Tensor]) -> list[CenterMaps]:
        """The maps of every scale."""
        return [
            CenterMaps(self.center(level), self.offset(level), self.box_size(level))
            for level in features
        ]


class DetectorNet(Network):
    """Images in, maps of people's centres out."""

    def forward(
        self, images: UInt8[Tensor, "B 3 H W"] | Float[Tensor, "B 3 H W"]
    ) -> list[CenterMaps]:
        """Maps of a batch of images, the finest scale first.

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
        skeleton: of the people that the training data label.
        num_scales: 2 looks at each image at half its size too, for the sake of large people; 1 does
            not.
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


BUILDERS: dict[str, Callable[..., DetectorNet]] = {"person_detector": person_detector}
"""What a weights file may ask for, as in `pose_net`."""


def read_centers(
    maps: CenterMaps, *, min_score: float = 0.05
) -> list[tuple[Float[Tensor, "N 4"], Float[Tensor, " N"]]]:
    """The boxes of one scale of every image: the cells whose centre logit is the largest of its 3 x 3 neighbours.

    Args:
        maps: of one scale.
        min_score: centres below it are none.

    Returns:
        Per image x0, y0, x1, y1 in cells (the centre of the first one being (0, 0)) and scores, the
        best first.
    """
    width = maps.center.shape[3]
    center = maps.center.sigmoid()
    is_peak = (center == F.max_pool2d(center, 3, stride=1, padding=1)) & (center >= min_score)
    score, cell = (center * is_peak).flatten(1).topk(min(MAX_PEOPLE, center[0].numel()))  # B M
    place = torch.stack([cell % width, cell // width], dim=2)  # B M 2
    offset, size = (
        values.flatten(2).gather(2, cell[:, None].expand(-1, 2, -1)).mT
        for values in (maps.offset, maps.box_size)
    )  # B M 2
    middle, half = place + offset, size.clamp(min=0).flip(2) / 2
    boxes = torch.cat([middle - half, middle + half], dim=2)  # B M 4
    return [(boxes[i][score[i] > 0], score[i][score[i] > 0]) for i in range(len(boxes))]
