"""Weights of a network for other joints: the channels of the joints that both have, by name."""

import logging
from collections.abc import Mapping, Sequence

from torch import Tensor

from bottomup.models.network import Network
from bottomup.skeleton import Skeleton, match_joints
from bottomup.weights.reading import Checkpoint
from bottomup.weights.recognition import recognise

log = logging.getLogger(__name__)


def take_joints(net: Network, given: dict[str, Tensor], checkpoint: Checkpoint) -> None:
    """Bring tensors of a file of other joints into the order of the network's own joints.

    Joints are the same if their names are, however they are spelled; the log says which. A joint
    that the file lacks gets the initial values of the network. Tensors without any common joint are
    left out.

    Args:
        net: whose head names its channels in `joint_channels`; with other heads nothing changes.
        given: tensors of the file by their names in the network; changed in place.
        checkpoint: the file. If it does not say its joints, nothing changes.
    """
    joints, names = _joints_of(checkpoint), net.skeleton.keypoints
    layers = getattr(net.head, "joint_channels", None)
    if layers is None or joints in (None, names):
        return
    own = net.state_dict()
    same = match_joints(names, joints)
    theirs = layers(len(joints))
    for layer, channels in layers(len(names)).items():
        for name in (f"head.{layer}.weight", f"head.{layer}.bias"):
            if name in given and name in own and len(given[name]) == len(theirs[layer]):
                _take_channels(name, own[name], given, channels, theirs[layer], same)
    known = ", ".join(names[k] for k in same) or "none"
    new = ", ".join(name for k, name in enumerate(names) if k not in same) or "none"
    log.warning("joints with the weights of the file: %s; new joints: %s", known, new)


def _joints_of(checkpoint: Checkpoint) -> tuple[str, ...] | None:
    """The joints of a checkpoint; None where it does not say."""
    try:
        described = checkpoint.description or recognise(checkpoint)
        return Skeleton.from_dict(described["skeleton"]).keypoints
    except (LookupError, TypeError, ValueError):
        return None


def _take_channels(
    name: str,
    own: Tensor,
    given: dict[str, Tensor],
    channels: Sequence[int],
    theirs: Sequence[int],
    same: Mapping[int, int],
) -> None:
    """Replace a tensor of the file by one with the channels of the network's joints."""
    old, new = given.pop(name), own.clone()
    if not same or old.shape[1:] != own.shape[1:]:
        return
    for ours, other in {-1: -1, **same}.items():
        to = [c for c, joint in enumerate(channels) if joint == ours]
        new[to] = old[[c for c, joint in enumerate(theirs) if joint == other]].to(new)
    given[name] = new
