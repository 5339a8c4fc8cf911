"""The description of a network in its weights file: enough to rebuild it, in JSON."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch

from bottomup.files import write_whole
from bottomup.models.network import Cost, Network, Preprocessing
from bottomup.skeleton import Skeleton
from bottomup.weights.reading import DOWNLOAD_AGAIN, WeightsError, in_short

FORMAT = 1
LARGEST_ARGUMENT = 4096  # of a builder, in a file: our counts and widths are far smaller
# names in a file and in `Preprocessing`; mean and deviation are tensors of the file
PREPROCESSING = {
    "input_size": "size",
    "input_side": "side",
    "size_multiple": "multiple",
    "keypoint_offset": "offset",
}

N = TypeVar("N", bound=Network)


def describe(net: Network, *, notes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All that a file has to hold of a network besides its tensors.

    Training stores it under "bottomup" in its checkpoints, so that `load_model` reads them.

    Args:
        net: made by a builder.
        notes: anything else to keep.

    Returns:
        JSON values: format, builder, arguments, skeleton, preprocessing, costs, notes.

    Raises:
        ValueError: the network was not made by a builder, so it cannot be rebuilt.
    """
    if net.recipe is None:
        raise ValueError("only networks made by a builder can be saved; this one has no recipe")
    return {
        "format": FORMAT,
        "builder": net.recipe.builder,
        "arguments": dict(net.recipe.arguments),
        "skeleton": net.skeleton.to_dict(),
        "preprocessing": {
            name: getattr(net.preprocessing, field) for name, field in PREPROCESSING.items()
        },
        "costs": {name: dataclasses.asdict(cost) for name, cost in net.costs.items()},
        "notes": dict(notes or {}),
    }


def assemble(
    description: Mapping[str, Any],
    path: Path,
    builders: Mapping[str, Callable[..., N]],
    *,
    skeleton: Skeleton | None = None,
) -> N:
    """Inverse of `describe`: the network, without memory for its weights (on the device "meta").

    Args:
        description: as it was read; its values may be anything.
        path: the file that it was read from, for messages.
        builders: the networks that it may name, as in `bottomup.models.pose_net.BUILDERS`.
        skeleton: the joints, in place of the described ones.

    Raises:
        WeightsError: the description is damaged, or of another format or network.
    """
    try:
        if description["format"] != FORMAT:
            raise WeightsError(
                f"{path}: is of format {description['format']!r:.50}, this version reads {FORMAT}; "
                "update bottomup"
            )
        builder, arguments = description["builder"], dict(description["arguments"])
        if builder not in builders:
            raise WeightsError(
                f"{path}: holds the network {builder!r:.50}, and {', '.join(builders)} can be used "
                "here. Networks that find everybody go to `Predictor`, those of top-down methods "
                "to `bottomup.topdown`, newer ones need a newer bottomup"
            )
        numbers = (value for value in arguments.values() if isinstance(value, int | float))
        if not all(0 <= value <= LARGEST_ARGUMENT for value in numbers):
            raise ValueError(f"arguments {arguments}")
        skeleton = skeleton or Skeleton.from_dict(description["skeleton"])
        with torch.device("meta"):
            net = builders[builder](**arguments, skeleton=skeleton)
        net.preprocessing = _preprocessing(net.preprocessing, description["preprocessing"])
        costs = dict(description.get("costs") or {})
        net.costs = {
            str(name): Cost(float(c["ap_change"]), str(c["sha256"])) for name, c in costs.items()
        }
        return net
    except WeightsError:
        raise
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
        OverflowError,
    ) as error:
        raise WeightsError(
            f"{path}: its description is damaged ({in_short(error)}); {DOWNLOAD_AGAIN}"
        ) from error


def record_cost(path: Path, precision: str, cost: Cost) -> None:
    """Write what a precision costs into a file of our own format; its tensors stay as they are.

    Raises:
        ValueError: it is not of our own format.
        OSError: it cannot be written.
    """
    with safetensors.safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get("bottomup")
    if text is None:
        raise ValueError("it does not describe its network; bottomup convert makes one that does")
    description = json.loads(text)
    costs = dict(description.get("costs") or {}) | {precision: dataclasses.asdict(cost)}
    metadata = {"bottomup": json.dumps(description | {"costs": costs})}
    content = safetensors.torch.save(safetensors.torch.load_file(path), metadata)
    with write_whole(path) as out:
        out.write(content)


def network_name(description: Mapping[str, Any]) -> str:
    """The builder and its arguments, written as a call, for messages."""
    arguments = ", ".join(f"{key}={value}" for key, value in description["arguments"].items())
    return f"{description['builder']}({arguments})"


def _preprocessing(built: Preprocessing, given: Mapping[str, Any]) -> Preprocessing:
    """The preprocessing of a file; what the file leaves out stays as the builder has it."""
    read = {PREPROCESSING[name]: value for name, value in given.items() if value is not None}
    changed = dataclasses.replace(built, **read)
    if not (
        changed.side in ("short", "long")
        and 1 <= changed.size <= 65536
        and 1 <= changed.multiple <= 4096
        and math.isfinite(changed.offset)
    ):
        raise ValueError(f"preprocessing {dict(given)}")
    return dataclasses.replace(
        changed,
        size=int(changed.size),
        multiple=int(changed.multiple),
        offset=float(changed.offset),
    )
