"""The base of all networks: a trunk, a head, and the preprocessing of their images."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from bottomup.skeleton import Skeleton

IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)  # RGB, for values of 0..255
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)
MOVENET_MEAN = (1 / 0.007843017578125,) * 3  # also the deviation: 0..255 to about -1..1


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input, and where a peak of its maps lies in that input.

    Attributes:
        size: the length in pixels to which `side` of an image is resized, at scale 1.
        side: the side of an image that is resized to `size`.
        multiple: height and width of the input must be multiples of it.
        mean: subtracted from R, G, B, in units of 0..255.
        std: R, G, B are then divided by it.
        offset: pixels of the input to add to every predicted position. The published networks need
            0.5, since their targets were drawn at truncated coordinates; with exact ones it is 0.
    """

    size: int = 512
    side: Literal["short", "long"] = "short"
    multiple: int = 64
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    offset: float = 0.0


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a lower precision costs, as `bottomup export --check` measured it.

    Attributes:
        ap_change: AP in this precision, less that in float32.
        sha256: of the weights with which it was measured, see `weights.store.digest`.
    """

    ap_change: float
    sha256: str


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to rebuild a network: the name of its builder, and the arguments as JSON values."""

    builder: str
    arguments: Mapping[str, Any]


class Network(nn.Module):
    """A trunk and a head. Every argument is also an attribute.

    Args:
        trunk: maps normalised images (B, 3, H, W) to features.
        head: maps features to outputs.
        skeleton: the K joints.
        preprocessing: of its images. Mean and deviation become buffers of shape (3, 1, 1), which
            are saved with the weights.
        recipe: how to rebuild the network; a network without one cannot be saved.

    Attributes:
        costs: of lower precisions, as far as the weights file records them.
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
        self.costs: Mapping[str, Cost] = {}
        # a network may be built on the device "meta", without memory; these two need their values
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name), dtype=torch.float32, device="cpu")
            self.register_buffer(name, values.reshape(3, 1, 1))

    def features(self, images: UInt8[Tensor, "B 3 H W"] | Float[Tensor, "B 3 H W"]) -> Any:
        """Normalise images and compute the features of the trunk.

        Args:
            images: RGB, 0..255, integers or floats.
        """
        return self.trunk(self.normalise(images))

    def normalise(
        self, images: UInt8[Tensor, "B 3 H W"] | Float[Tensor, "B 3 H W"]
    ) -> Float[Tensor, "B 3 H W"]:
        """Images as the trunk wants them: mean and deviation as `preprocessing` says.

        They are computed in float32, then given in the precision of the trunk's weights.
        """
        normalised = (images.to(self.mean.dtype) - self.mean).div_(self.std)
        return normalised.to(next(self.trunk.parameters(), self.mean).dtype)
