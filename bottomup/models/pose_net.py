"""A whole network, images in and maps out, and the functions that assemble the published ones.

A network is a trunk and a head; what an image has to look like before it (size, mean, deviation)
and what the outputs mean after it (skeleton, offset of a peak) stay with it, so they also travel
with its weights.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from bottomup.models.center_voting import CenterVotingHead
from bottomup.models.compact import CompactTrunk
from bottomup.models.heads import MultiResolutionHead, SubpixelHead
from bottomup.models.hrnet import HRNet
from bottomup.models.mobilenet import MobileNetScales
from bottomup.skeleton import COCO, Skeleton

IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)  # RGB, of images of 0..255
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)

MOVENET_MEAN = (
    1 / 0.007843017578125,
) * 3  # RGB, mean and deviation alike: 0..255 becomes about -1..1


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to assemble a network again: the name of a builder in `BUILDERS` and its arguments, plain JSON values."""

    builder: str
    arguments: Mapping[str, Any]


class PoseNet(nn.Module):
    """Trunk and head, and all that has to be known to use them; the arguments are attributes of the same names.

    Args:
        trunk: normalised images B 3 H W to features B C H/4 W/4.
        head: features to a list of `HeadOutput`, coarse to fine.
        skeleton: what the K heatmaps stand for.
        mean: subtracted from R, G, B, in 0..255; a buffer 3 1 1.
        std: divides R, G, B, in 0..255; a buffer 3 1 1.
        input_size: pixels of `input_side` of the network's input at scale 1.
        input_side: which side of an image is brought to `input_size`, the short or the long one.
        size_multiple: the input's height and width are multiples of it.
        keypoint_offset: pixels of the network's input to add to a located peak; 0.5 for networks
            that were trained on targets drawn at coordinates cut toward zero, as the published ones
            were.
        recipe: how to build it again; None for a network put together by hand, which cannot be
            saved alone.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        trunk: nn.Module,
        head: nn.Module,
        *,
        skeleton: Skeleton,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        input_size: int = 512,
        input_side: Literal["short", "long"] = "short",
        size_multiple: int = 64,
        keypoint_offset: float = 0.5,
        recipe: Recipe | None = None,
    ):
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.skeleton = skeleton
        self.input_size = input_size
        self.input_side: Literal["short", "long"] = input_side
        self.size_multiple = size_multiple
        self.keypoint_offset = keypoint_offset
        self.recipe = recipe
        # the device is named since a network is built on "meta" before its weights are read
        self.register_buffer(
            "mean", torch.tensor(mean, dtype=torch.float32, device="cpu").reshape(3, 1, 1)
        )
        self.register_buffer(
            "std", torch.tensor(std, dtype=torch.float32, device="cpu").reshape(3, 1, 1)
        )

    def forward(self, images: UInt8[Tensor, "B 3 H W"] | Float[Tensor, "B 3 H W"]) -> list[Any]:
        """Maps of a batch of images.

        Args:
            images: RGB, 0..255, integers or floats; H and W multiples of `size_multiple`.

        Returns:
            One `HeadOutput` per resolution, coarse to fine: heatmaps B K h w, and tags B K L h w or
            None. In training what the criterion of its head looks at, which may be something else
            (`center_voting.DenseMaps`).
        """
        normalised = (images.to(self.mean.dtype) - self.mean) / self.std  # B 3 H W
        features = self.trunk(normalised)  # B C H/4 W/4
        return self.head(features)


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
) -> PoseNet:
    """HigherHRNet (Cheng et al., CVPR 2020, arXiv:1908.10357) of any width, or HRNet-AE with `num_deconvs=0`.

    Args:
        width: channels of the finest branch of the trunk.
        skeleton: the joints to find.
        tag_dims: L, the numbers in a tag.
        tag_anchor: see `MultiResolutionHead`.
        num_deconvs: resolutions beyond the trunk's.
        deconv_channels: channels at those resolutions; None: `width`.
        num_blocks: residual blocks at each of those resolutions.
        input_size: pixels of an image's short side.
    """
    arguments: dict[str, Any] = {
        "tag_dims": tag_dims,
        "tag_anchor": tag_anchor,
        "num_deconvs": num_deconvs,
        "deconv_channels": deconv_channels,
        "num_blocks": num_blocks,
    }
    trunk = HRNet(width)
    head = MultiResolutionHead(trunk.out_channels, skeleton.num_keypoints, **arguments)
    recipe = Recipe("higherhrnet", {"width": width, **arguments})
    return PoseNet(trunk, head, skeleton=skeleton, input_size=input_size, recipe=recipe)


def higherhrnet_w32(skeleton: Skeleton = COCO) -> PoseNet:
    """HigherHRNet-W32 at 512 pixels: 28.6 M parameters, 47.9 GMACs for 512x512."""
    return higherhrnet(32, skeleton=skeleton, input_size=512)


def higherhrnet_w48(skeleton: Skeleton = COCO) -> PoseNet:
    """HigherHRNet-W48 at 640 pixels: 63.8 M parameters, 154.3 GMACs for 640x640."""
    return higherhrnet(48, skeleton=skeleton, input_size=640)


def hrnet_w32_ae(skeleton: Skeleton = COCO) -> PoseNet:
    """HRNet-W32 with a plain associative embedding head at stride 4, as MMPose has it."""
    return higherhrnet(32, skeleton=skeleton, num_deconvs=0)


def mobile(
    skeleton: Skeleton = COCO, *, num_scales: int = 2, fine_channels: int = 0, input_size: int = 512
) -> PoseNet:
    """The light network: MobileNetV2 with a pyramid, and tags by centre voting; 4.7 M parameters.

    Args:
        skeleton: the joints to find.
        num_scales: 2 looks at each image at half its size too, for the sake of large people; 1 does
            not.
        fine_channels: see `CenterVotingHead`; 32 gives heatmaps at stride 2 too.
        input_size: pixels of an image's long side.
    """
    trunk = MobileNetScales(num_scales)
    return PoseNet(
        trunk,
        CenterVotingHead(trunk.out_channels, skeleton.num_keypoints, fine_channels=fine_channels),
        skeleton=skeleton,
        mean=MOVENET_MEAN,
        std=MOVENET_MEAN,
        input_size=input_size,
        input_side="long",
        size_multiple=32 * 2 ** (num_scales - 1),
        keypoint_offset=0.25,
        recipe=Recipe("mobile", {"num_scales": num_scales, "fine_channels": fine_channels}),
    )


def light(
    width: int = 48,
    *,
    skeleton: Skeleton = COCO,
    tag_dims: int = 2,
    tag_anchor: float = 0.125,
    num_deconvs: int = 1,
    deconv_channels: int = 32,
    num_blocks: int = 0,
    input_size: int = 256,
) -> PoseNet:
    """A network for CPUs with the multi-resolution head: anchored tags, and little at the high resolution.

    Args:
        width: of the trunk, see `CompactTrunk`.
        skeleton: the joints to find.
        tag_dims: L, the numbers in a tag.
        tag_anchor: see `MultiResolutionHead`.
        num_deconvs: resolutions beyond the trunk's.
        deconv_channels: channels at those resolutions.
        num_blocks: residual blocks at each of those resolutions.
        input_size: pixels of an image's long side.
    """
    arguments: dict[str, Any] = {
        "tag_dims": tag_dims,
        "tag_anchor": tag_anchor,
        "num_deconvs": num_deconvs,
        "deconv_channels": deconv_channels,
        "num_blocks": num_blocks,
    }
    trunk = CompactTrunk(width)
    return PoseNet(
        trunk,
        MultiResolutionHead(trunk.out_channels, skeleton.num_keypoints, **arguments),
        skeleton=skeleton,
        input_size=input_size,
        input_side="long",
        size_multiple=32,
        recipe=Recipe("light", {"width": width, **arguments}),
    )


def compact(
    width: int = 32,
    *,
    skeleton: Skeleton = COCO,
    out_channels: int = 64,
    tag_dims: int = 2,
    tag_anchor: float = 0.0625,
    input_size: int = 256,
) -> PoseNet:
    """The network for short trainings from random weights: the compact trunk, and the head that costs least.

    Args:
        width: see `CompactTrunk`.
        skeleton: the joints to find.
        out_channels: of the trunk's pyramid.
        tag_dims: L, the numbers in a tag.
        tag_anchor: see `SubpixelHead`.
        input_size: pixels of an image's long side.
    """
    trunk = CompactTrunk(width, out_channels=out_channels)
    head = SubpixelHead(
        out_channels, skeleton.num_keypoints, tag_dims=tag_dims, tag_anchor=tag_anchor
    )
    arguments = {
        "width": width,
        "out_channels": out_channels,
        "tag_dims": tag_dims,
        "tag_anchor": tag_anchor,
    }
    return PoseNet(
        trunk,
        head,
        skeleton=skeleton,
        input_size=input_size,
        input_side="long",
        size_multiple=32,
        keypoint_offset=0.0,
        recipe=Recipe("compact", arguments),
    )


BUILDERS: dict[str, Callable[..., PoseNet]] = {
    "higherhrnet": higherhrnet,
    "mobile": mobile,
    "light": light,
    "compact": compact,
}
"""What a weights file may ask for.

A builder takes its recipe's arguments and `skeleton` by keyword. It has to work on the device
"meta", where a network is built before its weights are read, and to refuse sizes that make no
sense, since a file may ask for anything.
"""
