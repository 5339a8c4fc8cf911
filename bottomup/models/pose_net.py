"""Bottom-up networks, which find the joints of all people at once, and their builders."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float, UInt8
from torch import Tensor

from bottomup.models.center_voting import CenterVotingHead, DenseMaps
from bottomup.models.compact import CompactTrunk
from bottomup.models.heads import HeadOutput, MultiResolutionHead, SubpixelHead
from bottomup.models.hrnet import HRNet
from bottomup.models.mobilenet import MobileNetScales
from bottomup.models.network import MOVENET_MEAN, Network, Preprocessing, Recipe
from bottomup.skeleton import COCO, Skeleton


class PoseNet(Network):
    """From images to the heatmaps and tags of all people, in two steps.

    `forward` returns the raw outputs, from which losses are computed. `read` turns them into
    heatmaps and tags. For most heads these are the raw outputs; `CenterVotingHead` needs a voting
    step.
    """

    trunk: Any  # with `at_scale` where people vote
    head: Any  # with `read`: a `TagHead` or a `CenterVotingHead`

    @property
    def lower_small(self) -> bool:
        """Whether scores of small people are to be lowered, see `Grouper`.

        It helps where people vote on maps of stride 4, and was seen to harm on finer ones.
        """
        return isinstance(self.head, CenterVotingHead) and self.head.fine_heatmaps is None

    def forward(
        self, images: UInt8[Tensor, "B 3 H W"] | Float[Tensor, "B 3 H W"]
    ) -> list[HeadOutput] | list[DenseMaps]:
        """Outputs of the head for a batch of images.

        Args:
            images: RGB, 0..255, integers or floats; H and W are multiples of
                `preprocessing.multiple`.

        Returns:
            A list: one `HeadOutput` per resolution, coarse to fine, or one `DenseMaps` per scale,
            fine to coarse.
        """
        return self.head(self.features(images))

    def at_scale(
        self, images: UInt8[Tensor, "B 3 H W"] | Float[Tensor, "B 3 H W"], scale: int
    ) -> DenseMaps:
        """Outputs of one scale alone, for networks whose people vote.

        Args:
            images: as in `forward`.
            scale: how often they are halved before the trunk sees them.
        """
        (maps,) = self.head([self.trunk.at_scale(self.normalise(images), scale)])
        return maps

    def read(self, outputs: list[HeadOutput] | list[DenseMaps]) -> list[HeadOutput]:
        """Heatmaps (B, K, h, w) and tags (B, K, L, h, w) of every resolution, coarse to fine.

        Args:
            outputs: of `forward`.
        """
        return self.head.read(outputs)


def higherhrnet(
    width: int = 32,
    *,
    skeleton: Skeleton = COCO,
    tag_dims: int = 1,
    tag_anchor: float = 0.0,
    num_deconvs: int = 1,
    deconv_channels: int | None = None,
    num_blocks: int = 4,
    input_size: int = 512,
    keypoint_offset: float = 0.5,
) -> PoseNet:
    """HigherHRNet (Cheng et al., CVPR 2020, arXiv:1908.10357), or HRNet-AE with `num_deconvs=0`.

    As published: W32 at 512 pixels has 28.6 M parameters and takes 47.9 GMACs for 512 x 512, W48 at
    640 pixels has 63.8 M and takes 154.3 GMACs for 640 x 640.

    Args:
        width: channels of the finest branch of the trunk.
        skeleton: the joints to find.
        tag_dims: L, the numbers in a tag.
        tag_anchor: see `TagHead`.
        num_deconvs: resolutions beyond the trunk's.
        deconv_channels: channels at those resolutions; None: `width`.
        num_blocks: residual blocks at each of those resolutions.
        input_size: pixels of an image's short side.
        keypoint_offset: see `Preprocessing.offset`; 0 for training with exact target positions.
    """
    arguments: dict[str, Any] = {
        "tag_dims": tag_dims,
        "tag_anchor": tag_anchor,
        "num_deconvs": num_deconvs,
        "deconv_channels": deconv_channels,
        "num_blocks": num_blocks,
    }
    trunk = HRNet(width)
    return PoseNet(
        trunk,
        MultiResolutionHead(trunk.out_channels, skeleton.num_keypoints, **arguments),
        skeleton=skeleton,
        preprocessing=Preprocessing(input_size, offset=keypoint_offset),
        recipe=Recipe("higherhrnet", {"width": width, **arguments}),
    )


def mobile(
    *,
    skeleton: Skeleton = COCO,
    num_scales: int = 2,
    fine_channels: int = 0,
    input_size: int = 512,
    keypoint_offset: float = 0.25,
) -> PoseNet:
    """The default network: MobileNetV2 with a pyramid, and tags by centre voting; 4.7 M parameters.

    Args:
        skeleton: the joints to find.
        num_scales: 2 also processes each image at half its size, which helps with large people.
        fine_channels: see `CenterVotingHead`; 32 adds heatmaps at stride 2.
        input_size: pixels of an image's long side.
        keypoint_offset: see `Preprocessing.offset`.
    """
    trunk = MobileNetScales(num_scales)
    multiple = 32 * 2 ** (num_scales - 1)
    return PoseNet(
        trunk,
        CenterVotingHead(trunk.out_channels, skeleton.num_keypoints, fine_channels=fine_channels),
        skeleton=skeleton,
        preprocessing=Preprocessing(
            input_size,
            "long",
            multiple,
            mean=MOVENET_MEAN,
            std=MOVENET_MEAN,
            offset=keypoint_offset,
        ),
        recipe=Recipe("mobile", {"num_scales": num_scales, "fine_channels": fine_channels}),
    )


def compact(
    width: int = 32,
    *,
    skeleton: Skeleton = COCO,
    out_channels: int = 64,
    tag_dims: int = 2,
    tag_anchor: float = 0.0625,
    input_size: int = 256,
    keypoint_offset: float = 0.0,
) -> PoseNet:
    """The network for short trainings from random weights: a compact trunk, the cheapest head.

    Args:
        width: see `CompactTrunk`.
        skeleton: the joints to find.
        out_channels: of the trunk's pyramid.
        tag_dims: L, the numbers in a tag.
        tag_anchor: see `TagHead`, in cells of stride 2.
        input_size: pixels of an image's long side.
        keypoint_offset: see `Preprocessing.offset`; 0.5 for training with truncated positions.
    """
    tags = {"tag_dims": tag_dims, "tag_anchor": tag_anchor}
    return PoseNet(
        CompactTrunk(width, out_channels=out_channels),
        SubpixelHead(out_channels, skeleton.num_keypoints, **tags),
        skeleton=skeleton,
        preprocessing=Preprocessing(input_size, "long", 32, offset=keypoint_offset),
        recipe=Recipe("compact", {"width": width, "out_channels": out_channels, **tags}),
    )


BUILDERS: dict[str, Callable[..., PoseNet]] = {
    "higherhrnet": higherhrnet,
    "mobile": mobile,
    "compact": compact,
}
"""The builders that a weights file may name.

A builder takes `skeleton` and the arguments of its `Recipe` by keyword. It must work on the device
"meta", where a network is built before its weights are read. It must refuse impossible sizes, since
a file may hold any values.
"""
