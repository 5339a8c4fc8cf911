"""What a weights file says of itself: enough to rebuild its network, in JSON."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from bottomup.models import pose_net
from bottomup.models.pose_net import PoseNet
from bottomup.skeleton import Skeleton
from bottomup.topdown import person_detector, person_net
from bottomup.topdown.person_detector import DetectorNet
from bottomup.topdown.person_net import PersonNet
from bottomup.weights.reading import WeightsError

Network = PoseNet | PersonNet | DetectorNet
"""What a weights file can hold."""

BUILDERS: dict[str, Callable[..., Network]] = {
    **pose_net.BUILDERS,
    **person_net.BUILDERS,
    **person_detector.BUILDERS,
}

FORMAT = 1
PREPROCESSING = (
    "input_size",
    "input_side",
    "size_multiple",
    "keypoint_offset",
)  # as far as a network has them
LARGEST_ARGUMENT = 4096  # of a builder, in a file: no count or width of ours comes near


def describe(net: Network, *, notes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All that a file has to say of a network beside its tensors.

    A training stores this under "bottomup" in its checkpoints, so that `load_model` takes them as
    they are.

    Args:
        net: made by one of `BUILDERS`.
        notes: anything else worth keeping.

    Returns:
        JSON values: format, builder, arguments, skeleton, preprocessing, notes.

    Raises:
        ValueError: the network was put together by hand, so nothing could rebuild it.
    """
    if net.recipe is None:
        raise ValueError(
            f"only networks made by a builder can be saved ({', '.join(BUILDERS)}); this one has no recipe"
        )
    return {
        "format": FORMAT,
        "builder": net.recipe.builder,
        "arguments": dict(net.recipe.arguments),
        "skeleton": net.skeleton.to_dict(),
        "preprocessing": {name: getattr(net, name) for name in PREPROCESSING if hasattr(net, name)},
        "notes": dict(notes or {}),
    }


def assemble(description: Any, path: Path, *, skeleton: Skeleton | None = None) -> Network:
    """Inverse of `describe`: the network, without memory for its weights yet (on the device "meta").

    Args:
        description: what was read, which may be anything.
        path: the file that said so, for the messages.
        skeleton: the joints, in place of those that the description names.

    Raises:
        WeightsError: the description is of another format, or makes no sense.
    """
    try:
        written = description["format"]
        if written != FORMAT:
            raise WeightsError(
                f"{path}: is of format {written!r:.50}, this version reads {FORMAT}; update bottomup"
            )
        builder, arguments = description["builder"], dict(description["arguments"])
        if builder not in BUILDERS:
            known = ", ".join(BUILDERS)
            raise WeightsError(
                f"{path}: wants the network {builder!r:.50}, known are {known}; update bottomup"
            )
        if any(
            not 0 <= value <= LARGEST_ARGUMENT
            for value in arguments.values()
            if isinstance(value, int | float)
        ):
            raise ValueError(f"arguments {arguments}")
        skeleton = skeleton or Skeleton.from_dict(description["skeleton"])
        with torch.device("meta"):
            net = BUILDERS[builder](**arguments, skeleton=skeleton)
        _set_preprocessing(net, **description["preprocessing"])
    except WeightsError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise WeightsError(
            f"{path}: its description of itself makes no sense ({reason}); download it again"
        ) from error
    return net


def network_name(description: Mapping[str, Any]) -> str:
    """For messages: the builder and its arguments, like a call."""
    return f"{description['builder']}({', '.join(f'{key}={value}' for key, value in description['arguments'].items())})"


def _set_preprocessing(
    net: Any,
    *,
    input_size: int | None = None,
    input_side: Literal["short", "long"] | None = None,
    size_multiple: int | None = None,
    keypoint_offset: float | None = None,
) -> None:
    """Set what a file says; what it leaves out stays as the builder has it, and what a network lacks is ignored."""
    if input_size is not None:
        net.input_size = _within(1, input_size, 65536)
    if input_side is not None:
        if input_side not in ("short", "long"):
            raise ValueError(f"input_side {input_side!r:.50}")
        net.input_side = input_side
    if size_multiple is not None:
        net.size_multiple = _within(1, size_multiple, 4096)
    if keypoint_offset is not None:
        if not math.isfinite(keypoint_offset):
            raise ValueError(f"keypoint_offset {keypoint_offset}")
        net.keypoint_offset = float(keypoint_offset)


def _within(low: int, value: int, high: int) -> int:
    if not low <= value <= high:
        raise ValueError(f"{value} is not within {low} and {high}")
    return int(value)
