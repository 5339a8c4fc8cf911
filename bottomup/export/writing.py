"""From a network to a folder that the runtime reads: a graph, and what has to be known of it."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from bottomup.engines.graphs import example_of, write_graph
from bottomup.engines.sessions import import_openvino, is_installed
from bottomup.export import FORMATS, MAX_CANDIDATES, MAX_VOTES, PRECISIONS
from bottomup.export.manifest import NAME, Manifest
from bottomup.export.pose_graph import PoseGraph
from bottomup.inference import pyramid
from bottomup.method.grouping import Grouper
from bottomup.models.pose_net import PoseNet
from bottomup.weights.store import digest


def describe_export(
    net: PoseNet,
    *,
    format: str = "openvino",
    precision: str = "float32",
    max_candidates: int = MAX_CANDIDATES,
) -> Manifest:
    """What the file beside a graph will say.

    Args:
        net: the network.
        format: one of `FORMATS`.
        precision: one of `PRECISIONS`; in the format onnx float32 or int8 only.
        max_candidates: of each joint.

    Raises:
        ValueError: an argument does not fit.
    """
    for what, given, known in (
        ("format", format, FORMATS),
        ("precision", precision, PRECISIONS),
    ):
        if given not in known:
            raise ValueError(f"{what} is {given!r}; choose one of {', '.join(known)}")
    if format == "onnx" and precision in ("bfloat16", "float16"):
        raise ValueError(f"graphs of {precision} have the format openvino, not onnx")
    if not 1 <= max_candidates <= 65536:
        raise ValueError(f"max_candidates is {max_candidates}; give a number from 1 to 65536")
    grouper, own = Grouper(skeleton=net.skeleton), net.preprocessing
    return Manifest(
        format=format,
        precision=precision,
        network=net.recipe.builder if net.recipe else type(net).__name__,
        weights_sha256=digest(net.state_dict()),
        skeleton=net.skeleton,
        size=own.size,
        side=own.side,
        multiple=own.multiple,
        cell=_cell(net),
        lower_small=net.lower_small,
        follows_image=pyramid.can_read(net, grouper),
        detection_threshold=grouper.detection_threshold,
        refine_threshold=grouper.refine_threshold,
        tag_threshold=grouper.tag_threshold,
        max_candidates=max_candidates,
        max_votes=MAX_VOTES,
    )


@torch.inference_mode()
def _cell(net: PoseNet) -> float:
    """Pixels of the input along a cell of the heatmaps."""
    example = example_of(net, torch.uint8).permute(0, 3, 1, 2)
    (*_, finest) = net.read(net(example))
    return example.shape[3] / finest.heatmaps.shape[3]


def export(
    net: PoseNet,
    folder: str | Path,
    manifest: Manifest,
    *,
    inputs: Iterable[np.ndarray] = (),
) -> None:
    """Write a network to a folder; a graph that is there is replaced.

    Args:
        net: on the CPU.
        folder: it is made if it does not exist.
        manifest: see `describe_export`.
        inputs: images (1, H, W, 3) uint8 as the network sees them, for int8.

    Raises:
        ValueError: a package is missing, or there are no images for int8.
        OSError: the folder cannot be written.
    """
    folder, name = Path(folder), FORMATS[manifest.format]
    if manifest.format == "openvino" and not is_installed("openvino"):
        raise ValueError(
            "openvino is not installed: pip install 'bottomup[openvino]', or choose --format onnx"
        )
    graph = PoseGraph(
        net,
        Grouper(skeleton=net.skeleton),
        max_candidates=manifest.max_candidates,
        max_votes=manifest.max_votes,
    ).eval()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        path = Path(temporary) / FORMATS["onnx"]
        write_graph(graph, path, example_of(net, torch.uint8))
        if manifest.precision == "int8":
            from bottomup.engines.quantization import quantize

            quantize(path, path.with_name(name), inputs)
        elif manifest.format == "openvino":
            openvino = import_openvino()
            openvino.save_model(
                openvino.Core().read_model(path),
                path.with_name(name),
                compress_to_fp16=manifest.precision == "float16",
            )
        # without its description, a folder that is written half is not read
        (folder / NAME).unlink(missing_ok=True)
        for old in (*FORMATS.values(), "model.bin"):
            (folder / old).unlink(missing_ok=True)
        for new in (name, "model.bin")[: 1 + (manifest.format == "openvino")]:
            path.with_name(new).replace(folder / new)
    manifest.write(folder)
