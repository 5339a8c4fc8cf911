"""Golden networks: names, shapes, types and order of all tensors, and two forward passes."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bottomup.files import read_json
from bottomup.models.pose_net import BUILDERS, PoseNet
from bottomup.skeleton import Skeleton
from bottomup.weights.reading import Checkpoint
from bottomup.weights.recognition import recognise
from golden import weight_rule
from golden.comparison import Arrays, Case, Deviation, close, read_arrays, same

HEAD = ("final_layers.", "deconv_layers.")  # the official names carry no prefix


def network_cases(folder: Path) -> list[Case]:
    """A case for every model that has names or outputs."""
    models = {path.name.removesuffix(".keys.json") for path in folder.glob("*.keys.json")}
    models |= {path.stem for path in folder.glob("*.npz")}
    return [Case(name, functools.partial(compare_network, folder, name)) for name in sorted(models)]


def compare_network(folder: Path, model: str) -> Iterator[Deviation]:
    """The tensors of one model, its rebuilt weights, and what it gives for all inputs."""
    path = folder / f"{model}.keys.json"
    keys = read_json(path, "names of tensors")
    rule = read_json(folder / "rule.json", "rule of the weights")
    digests = read_json(folder / "digests.json", "digests of the weights")

    net = build(keys, path)
    names = [
        [name, list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
        for name, tensor in official_state(net).items()
    ]
    yield same("names, shapes, types and order", names, keys)
    if names != keys:
        return

    weights = {name: weight_rule.weight(name, tuple(shape), rule) for name, shape, _ in keys}
    yield same("digest of the weights", weight_rule.digest(weights), digests.get(model))
    load(net, weights)
    yield from compare_outputs(net, read_arrays(folder / f"{model}.npz"))


def build(keys: list[Any], path: Path) -> PoseNet:
    """The network, without weights, that a list of names and shapes belongs to."""
    tensors = {
        f"head.{name}" if name.startswith(HEAD) else f"trunk.{name}": torch.empty(
            shape, dtype=getattr(torch, dtype), device="meta"
        )
        for name, shape, dtype in keys
    }
    description = recognise(Checkpoint(path, tensors, None, ""))
    skeleton = Skeleton.from_dict(description["skeleton"])
    with torch.device("meta"):
        return BUILDERS[description["builder"]](**description["arguments"], skeleton=skeleton)


def official_state(net: PoseNet) -> dict[str, torch.Tensor]:
    """Tensors by their official names and in their order: trunk, then head, without a prefix."""
    return {**net.trunk.state_dict(), **net.head.state_dict()}


def load(net: PoseNet, weights: Arrays) -> None:
    """Give a network weights by their official names, and bring it to evaluation mode."""
    for part in (net.trunk, net.head):
        part.load_state_dict(
            {name: torch.from_numpy(weights[name]) for name in part.state_dict()}, assign=True
        )
    net.eval()


def compare_outputs(net: PoseNet, golden: Arrays) -> Iterator[Deviation]:
    """The outputs of all stages for all inputs."""
    numbers = [match[1] for name in golden if (match := re.fullmatch(r"input(\d+)", name))]
    if not numbers:
        raise ValueError("there is no input")
    for number in numbers:
        outputs = {
            f"output{number}_stage{stage}": maps
            for stage, maps in enumerate(stages(net, golden[f"input{number}"]))
        }
        expected = {name for name in golden if name.startswith(f"output{number}_")}
        yield same(f"stages of input{number}", sorted(outputs), sorted(expected))
        for name in sorted(expected & outputs.keys()):
            yield close(name, outputs[name], golden[name], rtol=1e-4, atol=2e-4)


@torch.inference_mode()
def stages(net: PoseNet, images: np.ndarray) -> list[np.ndarray]:
    """Heatmaps, then tags, in the channel axis, of every resolution, for normalised images."""
    outputs = net.head(net.trunk(torch.from_numpy(images)))
    return [
        torch.cat([o.heatmaps, *([] if o.tags is None else [o.tags.flatten(1, 2)])], 1).numpy()
        for o in outputs
    ]
