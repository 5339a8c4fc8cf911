"""Networks as configs name them: a builder's arguments, the joints, and weights to start from.

model:
network:
class_path: bottomup.networks.higherhrnet
init_args: {width: 32, weights: null}
"""

import logging
from pathlib import Path
from typing import Any, TypeVar

from bottomup.data.coco import read_skeleton
from bottomup.models import pose_net
from bottomup.models.pose_net import PoseNet
from bottomup.skeleton import COCO, CROWDPOSE, Skeleton
from bottomup.topdown import person_detector as detector_net
from bottomup.topdown import person_net
from bottomup.topdown.person_detector import DetectorNet
from bottomup.topdown.person_net import PersonNet
from bottomup.weights.description import Network
from bottomup.weights.reading import read_checkpoint
from bottomup.weights.store import find, read_tensors

log = logging.getLogger(__name__)

N = TypeVar("N", PoseNet, PersonNet, DetectorNet)


def higherhrnet(
    weights: str | None = None,
    skeleton: str = "coco",
    keypoint_offset: float = 0.5,
    **arguments: Any,
) -> PoseNet:
    """HigherHRNet of any width, or HRNet-AE.

    Args:
        weights: a file or the name of bundled weights to start from; what does not fit is left as
            it is, and reported.
        skeleton: "coco", "crowdpose", or an annotation file whose category names the joints.
        keypoint_offset: input pixels to add to a located peak: 0.5 for truncated target centres, 0
            for exact ones.
        **arguments: of `bottomup.models.pose_net.higherhrnet`.
    """
    return _ready(
        pose_net.higherhrnet(skeleton=named_skeleton(skeleton), **arguments),
        weights,
        keypoint_offset,
    )


def light(
    weights: str | None = None,
    skeleton: str = "coco",
    keypoint_offset: float = 0.5,
    **arguments: Any,
) -> PoseNet:
    """A network for CPUs.

    Args:
        weights: a file or the name of bundled weights to start from; what does not fit is left as
            it is, and reported.
        skeleton: "coco", "crowdpose", or an annotation file whose category names the joints.
        keypoint_offset: input pixels to add to a located peak: 0.5 for truncated target centres, 0
            for exact ones.
        **arguments: of `bottomup.models.pose_net.light`.
    """
    return _ready(
        pose_net.light(skeleton=named_skeleton(skeleton), **arguments), weights, keypoint_offset
    )


def compact(
    weights: str | None = None,
    skeleton: str = "coco",
    keypoint_offset: float = 0.0,
    **arguments: Any,
) -> PoseNet:
    """The network for short trainings from random weights.

    Args:
        weights: a file or the name of bundled weights to start from; what does not fit is left as
            it is, and reported.
        skeleton: "coco", "crowdpose", or an annotation file whose category names the joints.
        keypoint_offset: input pixels to add to a located peak: 0 for exact target centres, 0.5 for
            truncated ones.
        **arguments: of `bottomup.models.pose_net.compact`.
    """
    return _ready(
        pose_net.compact(skeleton=named_skeleton(skeleton), **arguments), weights, keypoint_offset
    )


def mobile(
    weights: str | None = None,
    skeleton: str = "coco",
    keypoint_offset: float = 0.25,
    **arguments: Any,
) -> PoseNet:
    """The default network of the product.

    Args:
        weights: a file or the name of bundled weights to start from; what does not fit is left as
            it is, and reported.
        skeleton: "coco", "crowdpose", or an annotation file whose category names the joints.
        keypoint_offset: input pixels to add to a located peak.
        **arguments: of `bottomup.models.pose_net.mobile`.
    """
    return _ready(
        pose_net.mobile(skeleton=named_skeleton(skeleton), **arguments), weights, keypoint_offset
    )


def topdown_heatmap(
    weights: str | None = None, skeleton: str = "coco", **arguments: Any
) -> PersonNet:
    """Heatmaps of one person in a crop.

    Args:
        weights: a file or the name of bundled weights to start from; what does not fit is left as
            it is, and reported.
        skeleton: "coco", "crowdpose", or an annotation file whose category names the joints.
        **arguments: of `bottomup.topdown.person_net.topdown_heatmap`.
    """
    return _filled(
        person_net.topdown_heatmap(skeleton=named_skeleton(skeleton), **arguments), weights
    )


def topdown_softargmax(
    weights: str | None = None, skeleton: str = "coco", **arguments: Any
) -> PersonNet:
    """Joints of one person in a crop as means of maps.

    Args:
        weights: a file or the name of bundled weights to start from; what does not fit is left as
            it is, and reported.
        skeleton: "coco", "crowdpose", or an annotation file whose category names the joints.
        **arguments: of `bottomup.topdown.person_net.topdown_softargmax`.
    """
    return _filled(
        person_net.topdown_softargmax(skeleton=named_skeleton(skeleton), **arguments), weights
    )


def topdown_regression(
    weights: str | None = None, skeleton: str = "coco", **arguments: Any
) -> PersonNet:
    """Joints of one person in a crop as plain numbers.

    Args:
        weights: a file or the name of bundled weights to start from; what does not fit is left as
            it is, and reported.
        skeleton: "coco", "crowdpose", or an annotation file whose category names the joints.
        **arguments: of `bottomup.topdown.person_net.topdown_regression`.
    """
    return _filled(
        person_net.topdown_regression(skeleton=named_skeleton(skeleton), **arguments), weights
    )


def person_detector(
    weights: str | None = None, skeleton: str = "coco", **arguments: Any
) -> DetectorNet:
    """Boxes of people.

    Args:
        weights: a file or the name of bundled weights to start from; what does not fit is left as
            it is, and reported.
        skeleton: of the training data, of which only the boxes count: "coco", "crowdpose", or an
            annotation file.
        **arguments: of `bottomup.topdown.person_detector.person_detector`.
    """
    return _filled(
        detector_net.person_detector(skeleton=named_skeleton(skeleton), **arguments), weights
    )


def named_skeleton(name: str) -> Skeleton:
    """The joints of COCO, of CrowdPose, or of an annotation file.

    Raises:
        ValueError: it is none of these.
    """
    known = {"coco": COCO, "crowdpose": CROWDPOSE}
    if name in known:
        return known[name]
    if not Path(name).is_file():
        raise ValueError(
            f"skeleton must be 'coco', 'crowdpose' or an annotation file, not {name!r}"
        )
    return read_skeleton(name)


def start_from(net: Network, weights: str | Path) -> tuple[list[str], list[str], list[str]]:
    """Copy every tensor of a weights file that fits the network by name and shape; says in the log what did not.

    Args:
        net: the network to fill.
        weights: a file of any kind that `load_model` takes, or the name of bundled weights.

    Returns:
        the names that were loaded, those of the network that were not, and those of the file that
        were left over.

    Raises:
        ValueError: nothing fits.
    """
    own = net.state_dict()
    given = read_tensors(read_checkpoint(find(weights)), own)
    loaded = [name for name in own if name in given and given[name].shape == own[name].shape]
    fresh = [name for name in own if name not in loaded]
    left = [name for name in given if name not in loaded]
    if set(loaded) <= {"mean", "std"}:
        raise ValueError(
            f"{weights}: none of its {len(given)} tensors fits the network: were they made for another one?"
        )
    net.load_state_dict({name: given[name] for name in loaded}, strict=False)
    log.warning(
        "%s: %d tensors loaded%s%s",
        weights,
        len(loaded),
        _some("not in it", fresh),
        _some("left over", left),
    )
    return loaded, fresh, left


def _ready(net: PoseNet, weights: str | None, keypoint_offset: float) -> PoseNet:
    net.keypoint_offset = keypoint_offset
    return _filled(net, weights)


def _filled(net: N, weights: str | None) -> N:
    if weights is not None:
        start_from(net, weights)
    return net.train()


def _some(what: str, names: list[str]) -> str:
    if not names:
        return ""
    return f"; {len(names)} {what}: {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}"
