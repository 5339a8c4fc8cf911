"""Which network a checkpoint of others belongs to, told from its names, its shapes and what its program left in it."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bottomup.skeleton import COCO, CROWDPOSE, Skeleton
from bottomup.weights.reading import Checkpoint, WeightsError

USUAL_INPUT_SIZE = {
    48: 640
}  # of the published networks by width; the others were trained on 512 pixels


def recognise(checkpoint: Checkpoint, skeleton: Skeleton | None = None) -> dict[str, Any]:
    """Describe the HigherHRNet or HRNet-AE in a checkpoint; the keys are those of `weights.describe`.

    Width, deconvolutions, blocks, joints and tag dimensions follow from the shapes. The input size
    is in no checkpoint: it is read from the file's name (..._512x512...), else the usual one for
    the width.

    Args:
        checkpoint: as read, with standard names.
        skeleton: the joints; None: COCO for 17, CrowdPose for 14.

    Raises:
        WeightsError: this is no such network, or a variant that would give wrong coordinates.
    """
    refuse_udp(checkpoint)
    tensors, path = checkpoint.tensors, checkpoint.path
    width = _size(tensors, "trunk.stage2.0.branches.0.0.conv1.weight", 0)
    outputs = _sizes(tensors, "head.final_layers.{}.weight")
    if not width:
        raise WeightsError(
            f"{path}: no HRNet in it; it has tensors like {', '.join(list(tensors)[:3])}"
        )
    if not outputs:
        raise WeightsError(
            f"{path}: an HRNet trunk without a head that finds joints (ImageNet weights?); it can "
            "start a training (--model.network.weights), but finds nobody by itself"
        )
    num_keypoints, tag_dims = _joints_and_tags(checkpoint, outputs, skeleton)
    skeleton = skeleton or _usual_skeleton(checkpoint, num_keypoints)
    deconv_channels = _size(tensors, "head.deconv_layers.0.0.0.weight", 1)
    blocks = [
        size
        for i in range(1, 65)
        if (size := _size(tensors, f"head.deconv_layers.0.{i}.0.conv1.weight", 0))
    ]
    size_in_name = re.search(r"(?<!\d)(512|640)(?!\d)", path.stem)
    return {
        "format": 1,
        "builder": "higherhrnet",
        "arguments": {
            "width": width,
            "tag_dims": tag_dims,
            "num_deconvs": len(outputs) - 1,
            "deconv_channels": deconv_channels or None,
            "num_blocks": len(blocks),
        },
        "skeleton": skeleton.to_dict(),
        "preprocessing": {
            "input_size": int(size_in_name[1]) if size_in_name else USUAL_INPUT_SIZE.get(width, 512)
        },
        "notes": {},
    }


def refuse_udp(checkpoint: Checkpoint) -> None:
    """Refuse what was trained with unbiased data processing (Huang et al. 2020); no shape tells, only words do.

    Raises:
        WeightsError: the file's name or the configuration in it says UDP.
    """
    says_so = re.search(r"""use_udp['"]?\s*[=:]\s*True""", checkpoint.config)
    if says_so or "udp" in _words(checkpoint):
        where = "its configuration" if says_so else "its name"
        raise WeightsError(
            f"{checkpoint.path}: a UDP checkpoint, says {where}. UDP networks mean other pixels (align_corners=True, "
            "no half pixel to add), so every joint would be off; use the variant that was trained without UDP"
        )


def _joints_and_tags(
    checkpoint: Checkpoint, outputs: list[int], skeleton: Skeleton | None
) -> tuple[int, int]:
    """K and L from the output channels: K + K*L at the first resolution, K at the others."""
    told = skeleton.num_keypoints if skeleton else outputs[0] // 2
    num_keypoints = outputs[1] if len(outputs) > 1 else told
    tag_dims, rest = divmod(outputs[0] - num_keypoints, num_keypoints)
    if rest or tag_dims < 1 or (skeleton and skeleton.num_keypoints != num_keypoints):
        wanted = (
            f" for the {skeleton.num_keypoints} joints of the skeleton"
            if skeleton
            else " (no skeleton is given)"
        )
        raise WeightsError(
            f"{checkpoint.path}: output channels {outputs} do not add up{wanted}: heatmaps and one tag per joint are "
            "needed at the first resolution, heatmaps alone at the others"
        )
    return num_keypoints, tag_dims


def _usual_skeleton(checkpoint: Checkpoint, num_keypoints: int) -> Skeleton:
    for known in (COCO, CROWDPOSE):
        other_body = known is CROWDPOSE and "aic" in _words(
            checkpoint
        )  # AI Challenger's 14 joints are others
        if num_keypoints == known.num_keypoints and not other_body:
            return known
    raise WeightsError(
        f"{checkpoint.path}: finds {num_keypoints} joints and does not say which; give the skeleton, for instance "
        "Skeleton.from_category of the annotations that it was trained on"
    )


def _words(checkpoint: Checkpoint) -> set[str]:
    """Words of the file's name, and of the names of files and data sets in its configuration."""
    data_sets = re.findall(r"BottomUp([A-Z][a-z]+)Dataset", checkpoint.config)
    files = re.findall(r"[\w./-]+_udp[\w.]*\.py", checkpoint.config)
    return set(re.split(r"[\W_]+", " ".join([checkpoint.path.stem, *data_sets, *files]).lower()))


def _size(tensors: Mapping[str, Tensor], name: str, axis: int) -> int:
    """Length of an axis of a tensor, 0 where there is no such tensor or axis."""
    shape = tensors[name].shape if name in tensors else ()
    return int(shape[axis]) if len(shape) > axis else 0


def _sizes(tensors: Mapping[str, Tensor], pattern: str) -> list[int]:
    """First lengths of the tensors numbered 0, 1, ... without a gap (nobody has more than a few)."""
    sizes = [_size(tensors, pattern.format(i), 0) for i in range(8)]
    return sizes[: sizes.index(0)] if 0 in sizes else sizes
