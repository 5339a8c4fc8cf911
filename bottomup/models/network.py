"""What every network here has in common: a trunk, a head, and what one must know to use them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from bottomup.skeleton import Skeleton

IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)  # RGB, of images of 0..255
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)
MOVENET_MEAN = (1 / 0.007843017578125,) * 3  # mean and deviation alike: 0..255 becomes about -1..1


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input, and where a peak of its maps lies in that input.

    Attributes:
        size: pixels of `side` of the input at scale 1.
        side: which side of an image is brought to `size`.
        multiple: height and width of the input are multiples of it.
        mean: subtracted from R, G, B, in 0..255.
        std: divides R, G, B after that.
        offset: pixels of the input to add to a located peak. The published networks need 0.5: their
            targets were drawn at coordinates cut toward zero. Targets at exact coordinates need 0.
    """

    size: int = 512
    side: Literal["short", "long"] = "short"
    multiple: int = 64
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    offset: float = 0.0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to build a network again: the name of its builder, and arguments as plain JSON values."""

    builder: str
    arguments: Mapping[str, Any]


class Network(nn.Module):
    """A trunk and a head; the arguments are attributes of the same names.

    Args:
        trunk: normalised images B 3 H W to features.
        head: features to outputs.
        skeleton: the K joints.
        preprocessing: of its images. Mean and deviation become buffers of shape 3 1 1, so that they
            travel with the weights.
        recipe: how to build it again; a network without one cannot be saved.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        trunk: nn.Module,
        head: nn.Module,
        *,
        skeleton: Skeleton,
        preprocessing: Preprocessing,
        recipe: Recipe | None = None,
    ):
        super().__init__()
        self.trunk, self.head = trunk, head
        self.skeleton, self.preprocessing, self.recipe = skeleton, preprocessing, recipe
        # a network is built on the device "meta" before its weights are read; these two are not
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name), dtype=torch.float32, device="cpu")
            self.register_buffer(name, values.reshape(3, 1, 1))

    def features(self, images: UInt8[Tensor, "B 3 H W"] | Float[Tensor, "B 3 H W"]) -> Any:
        """Features of the trunk.

        Args:
            images: RGB, 0..255, integers or floats.
        """
        return self.trunk((images.to(self.mean.dtype) - self.mean) / self.std)
