"""The network of a foreign checkpoint, from its names and shapes and the program's text in it."""

import itertools
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bottomup.skeleton import COCO, CROWDPOSE, Skeleton
from bottomup.weights.description import FORMAT
from bottomup.weights.reading import Checkpoint, WeightsError

USUAL_INPUT_SIZE = {48: 640}  # of the published networks by width; the others have 512


def recognise(checkpoint: Checkpoint, skeleton: Skeleton | None = None) -> dict[str, Any]:
    """Describe the HigherHRNet or HRNet-AE in a checkpoint, as `weights.describe` does.

    Width, deconvolutions, blocks, joints and tag dimensions follow from the shapes. The input size
    is not in a checkpoint: it is read from the file's name (..._512x512...), or is the usual one
    for the width.

    Args:
        checkpoint: as read, with standard names.
        skeleton: the joints; None: COCO for 17, CrowdPose for 14.

    Raises:
        WeightsError: this is no such network, or a variant that would give wrong coordinates.
    """
    _refuse_udp(checkpoint)
    tensors, path = checkpoint.tensors, checkpoint.path
    width = _size(tensors, "trunk.stage2.0.branches.0.0.conv1.weight")
    if not width:
        raise WeightsError(
            f"{path}: no HRNet in it; it has tensors like {', '.join(list(tensors)[:3])}"
        )
    outputs = _sizes(tensors, "head.final_layers.{}.weight", range(8))
    if not outputs:
        raise WeightsError(
            f"{path}: an HRNet trunk without a head that finds joints (ImageNet weights?); it can "
            "start a training (--model.network.weights), but finds nobody by itself"
        )
    num_keypoints, tag_dims = _joints_and_tags(checkpoint, outputs, skeleton)
    skeleton = skeleton or _usual_skeleton(checkpoint, num_keypoints)
    blocks = _sizes(tensors, "head.deconv_layers.0.{}.0.conv1.weight", range(1, 65))
    size_in_name = re.search(r"(?<!\d)(512|640)(?!\d)", path.stem)
    input_size = int(size_in_name[1]) if size_in_name else USUAL_INPUT_SIZE.get(width, 512)
    return {
        "format": FORMAT,
        "builder": "higherhrnet",
        "arguments": {
            "width": width,
            "tag_dims": tag_dims,
            "num_deconvs": len(outputs) - 1,
            "deconv_channels": _size(tensors, "head.deconv_layers.0.0.0.weight", axis=1) or None,
            "num_blocks": len(blocks),
        },
        "skeleton": skeleton.to_dict(),
        "preprocessing": {"input_size": input_size},
        "notes": {},
    }


def _refuse_udp(checkpoint: Checkpoint) -> None:
    """Refuse networks of unbiased data processing (Huang et al. 2020), by words: shapes are alike.

    Raises:
        WeightsError: the file's name, or the configuration in it, mentions UDP.
    """
    in_config = re.search(r"""use_udp['"]?\s*[=:]\s*True""", checkpoint.config)
    if in_config or "udp" in _words(checkpoint):
        raise WeightsError(
            f"{checkpoint.path}: a UDP checkpoint, by its "
            f"{'configuration' if in_config else 'name'}. UDP networks use other pixel positions "
            "(align_corners=True, no half pixel to add), so every joint would be off; use the "
            "variant that was trained without UDP"
        )


def _joints_and_tags(
    checkpoint: Checkpoint, outputs: list[int], skeleton: Skeleton | None
) -> tuple[int, int]:
    """K and L from the output channels: K + K*L at the first resolution, K at the others."""
    known = skeleton.num_keypoints if skeleton else None
    num_keypoints = outputs[1] if len(outputs) > 1 else known or max(outputs[0] // 2, 1)
    tag_dims, rest = divmod(outputs[0] - num_keypoints, num_keypoints)
    if rest or tag_dims < 1 or known not in (None, num_keypoints):
        wanted = f"for the {known} joints of the skeleton" if known else "(no skeleton is given)"
        raise WeightsError(
            f"{checkpoint.path}: output channels {outputs} do not add up {wanted}: heatmaps and "
            "one tag per joint are needed at the first resolution, heatmaps alone at the others"
        )
    return num_keypoints, tag_dims


def _usual_skeleton(checkpoint: Checkpoint, num_keypoints: int) -> Skeleton:
    """COCO for 17 joints, CrowdPose for 14, but not for those of AI Challenger."""
    if num_keypoints == COCO.num_keypoints:
        return COCO
    if num_keypoints == CROWDPOSE.num_keypoints and "aic" not in _words(checkpoint):
        return CROWDPOSE
    raise WeightsError(
        f"{checkpoint.path}: finds {num_keypoints} joints and does not say which; give the "
        "skeleton, for instance Skeleton.from_category of the annotations that it was trained on"
    )


def _words(checkpoint: Checkpoint) -> set[str]:
    """Words of the file's name, and of the names of files and data sets in its configuration."""
    data_sets = re.findall(r"BottomUp([A-Z][a-z]+)Dataset", checkpoint.config)
    files = re.findall(r"[\w./-]+_udp[\w.]*\.py", checkpoint.config)
    return set(re.split(r"[\W_]+", " ".join([checkpoint.path.stem, *data_sets, *files]).lower()))


def _size(tensors: Mapping[str, Tensor], name: str, axis: int = 0) -> int:
    """Length of an axis of a tensor, 0 where there is no such tensor or axis."""
    shape = tensors[name].shape if name in tensors else ()
    return int(shape[axis]) if len(shape) > axis else 0


def _sizes(tensors: Mapping[str, Tensor], pattern: str, numbers: range) -> list[int]:
    """First lengths of the tensors of these numbers, up to the first one that is missing."""
    sizes = (_size(tensors, pattern.format(number)) for number in numbers)
    return list(itertools.takewhile(bool, sizes))
