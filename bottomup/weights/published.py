"""Weights that others publish and that this package reads: addresses, and places after fetching.

MMPose and torch put the first eight hexadecimal digits of a file's SHA-256 into its name. Addresses
are those of MMPose's model zoo (docs and configs of open-mmlab/mmpose 0.x). Sizes follow from the
networks.
"""

import dataclasses
import re
from pathlib import Path

from bottomup.files import user_cache


@dataclasses.dataclass(frozen=True)
class Published:
    """A file that others publish.

    Attributes:
        url: its address.
        megabytes: its size, about, in 1e6 bytes.
        licence: of the project that publishes it. The data that it was trained on has its own
            terms.
        purpose: what it is for.
    """

    url: str
    megabytes: float
    licence: str
    purpose: str

    @property
    def file_name(self) -> str:
        """The publisher's name for it, which tells size and variant."""
        return self.url.rsplit("/", 1)[1]

    @property
    def sha256(self) -> str:
        """The first digits of its SHA-256."""
        return re.findall(r"-([0-9a-f]{8})(?=[_.])", self.file_name)[-1]


_MMPOSE = "https://download.openmmlab.com/mmpose"
_COCO, _CROWDPOSE = "finds COCO's 17 joints", "finds CrowdPose's 14 joints"
_TRUNK = "trunk trained on ImageNet, to start a training from"
_POSE, _IMAGENET = f"{_MMPOSE}/bottom_up", f"{_MMPOSE}/pretrain_models"

# by the name that `bottomup weights fetch` and then `--weights` take
PUBLISHED = {
    "higherhrnet_w32_512": Published(
        f"{_POSE}/higher_hrnet32_coco_512x512-8ae85183_20200713.pth", 115, "Apache-2.0", _COCO
    ),
    "higherhrnet_w32_640": Published(
        f"{_POSE}/higher_hrnet32_coco_640x640-a22fe938_20200712.pth", 115, "Apache-2.0", _COCO
    ),
    "higherhrnet_w48_512": Published(
        f"{_POSE}/higher_hrnet48_coco_512x512-60fedcbc_20200712.pth", 256, "Apache-2.0", _COCO
    ),
    "higherhrnet_w32_crowdpose": Published(
        f"{_POSE}/higher_hrnet32_crowdpose_512x512-1aa4a132_20201017.pth",
        115,
        "Apache-2.0",
        _CROWDPOSE,
    ),
    "hrnet_w32_ae": Published(
        f"{_POSE}/hrnet_w32_coco_512x512-bcb8c247_20200816.pth", 115, "Apache-2.0", _COCO
    ),
    "hrnet_w48_ae": Published(
        f"{_POSE}/hrnet_w48_coco_512x512-cf72fcdf_20200816.pth", 256, "Apache-2.0", _COCO
    ),
    "hrnet_w32_imagenet": Published(f"{_IMAGENET}/hrnet_w32-36af842e.pth", 165, "MIT", _TRUNK),
    "hrnet_w48_imagenet": Published(f"{_IMAGENET}/hrnet_w48-8ef0771d.pth", 311, "MIT", _TRUNK),
}


def cache_folder() -> Path:
    """The folder of fetched weights, in the user's cache."""
    return user_cache("weights")


def cached_path(name: str) -> Path:
    """Where published weights are after fetching."""
    return cache_folder() / PUBLISHED[name].file_name
