"""Layers in 8 bits, by post-training quantization with the package nncf."""

import contextlib
import importlib
import io
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bottomup.engines.graphs import sees_one_scale
from bottomup.engines.sessions import import_openvino
from bottomup.geometry import Transform
from bottomup.images import SAMPLES
from bottomup.images.decoding import decode
from bottomup.models.pose_net import PoseNet

NEEDS_NNCF = "8 bits need nncf: pip install 'bottomup[int8]'"
# names of all but the stages of a trunk: in 8 bits, heads and pyramids cost the most accuracy
IN_FLOAT = r"(?!.*/(stages|stage\d|transition\d|layer1)).*"


def quantize(path: Path, target: Path, inputs: Iterable[np.ndarray]) -> None:
    """Write a graph with the convolutions of the trunk's stages in 8 bits.

    The stem, the pyramid, the heads, the votes and the search for candidates stay in float.

    Args:
        path: the graph in float32, .onnx.
        target: .onnx, or .xml for OpenVINO.
        inputs: images (1, H, W, 3), whose activations give the ranges.

    Raises:
        ValueError: nncf is not installed.
    """
    try:
        openvino: Any = import_openvino()  # first: without telemetry, that of nncf is off too
        nncf: Any = importlib.import_module("nncf")
        onnx: Any = importlib.import_module("onnx")
    except ImportError as error:
        raise ValueError(NEEDS_NNCF) from error
    nncf.set_log_level(logging.ERROR)
    to_openvino = target.suffix == ".xml"
    model = openvino.Core().read_model(path) if to_openvino else onnx.load(path)
    data = [*inputs]
    dataset = nncf.Dataset(data, lambda images: {"images": images})
    advanced = nncf.AdvancedQuantizationParameters()
    if not to_openvino:  # ONNX Runtime has one zero point for all channels
        parameters = nncf.quantization.advanced_parameters.QuantizationParameters
        advanced.activations_quantization_params = parameters(per_channel=False)
    with contextlib.redirect_stdout(io.StringIO()):  # without its bars of progress
        quantized = nncf.quantize(
            model,
            dataset,
            subset_size=len(data),
            ignored_scope=nncf.IgnoredScope(patterns=[IN_FLOAT], validate=False),
            advanced_parameters=advanced,
        )
    if to_openvino:
        openvino.save_model(quantized, target, compress_to_fp16=False)
    else:
        onnx.save(quantized, target)


def sample_inputs(net: PoseNet) -> list[np.ndarray]:
    """The sample images as a network's `DenseGraph` takes them: (1, H, W, 3) float32."""
    own = net.preprocessing
    num_scales = net.trunk.num_scales if sees_one_scale(net) else 1
    inputs = []
    for image in (decode(path.read_bytes()) for path in sorted(SAMPLES.glob("*.jpg"))):
        for scale in range(num_scales):
            wh = (image.shape[1], image.shape[0])
            transform = Transform.fit(
                wh, own.size // 2**scale, side=own.side, multiple=own.multiple
            )
            inputs.append(transform.warp(image)[None].astype(np.float32))
    return inputs
