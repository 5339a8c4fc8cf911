"""Layers in 8 bits, by post-training quantization with the package nncf."""

import importlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bottomup.engines.sessions import import_openvino

# names of layers outside the trunk, and in its pyramid: in 8 bits they cost the most accuracy
IN_FLOAT = r"(?!.*/net/trunk/(?!smooth|lateral)).*"


def quantize(path: Path, target: Path, inputs: Iterable[np.ndarray]) -> None:
    """Write a graph with the convolutions of the trunk in 8 bits.

    The heads, the pyramid, the votes and the search for candidates stay in float.

    Args:
        path: the graph in float32, .onnx.
        target: .onnx, or .xml for OpenVINO.
        inputs: images (1, H, W, 3) uint8, whose activations give the ranges.

    Raises:
        ValueError: nncf is not installed.
    """
    try:
        openvino: Any = import_openvino()  # first: without telemetry, that of nncf is off too
        nncf: Any = importlib.import_module("nncf")
        onnx: Any = importlib.import_module("onnx")
    except ImportError as error:
        raise ValueError("8 bits need nncf: pip install 'bottomup[int8]'") from error
    nncf.set_log_level(logging.ERROR)
    to_openvino = target.suffix == ".xml"
    model = openvino.Core().read_model(path) if to_openvino else onnx.load(path)
    data = [*inputs]
    dataset = nncf.Dataset(data, lambda images: {"images": images})
    advanced = nncf.AdvancedQuantizationParameters()
    if not to_openvino:  # ONNX Runtime has one zero point for all channels
        parameters = nncf.quantization.advanced_parameters.QuantizationParameters
        advanced.activations_quantization_params = parameters(per_channel=False)
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
