"""Layers in 8 bits, by post-training quantization with the package nncf."""

import importlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bottomup.engines.sessions import import_openvino

# what turns votes into heatmaps and tags, and all that follows, stays in float
NOT_THE_NETWORK = r"(?!.*/net/(trunk|head)/).*"


def quantize(
    path: Path, target: Path, inputs: Iterable[np.ndarray], *, in_float: Sequence[str] = ()
) -> None:
    """Write a graph with convolutions in 8 bits.

    Args:
        path: the graph in float32, .onnx.
        target: .onnx, or .xml for OpenVINO.
        inputs: images (1, H, W, 3) uint8, whose activations give the ranges.
        in_float: patterns of the names of further layers that stay in float.

    Raises:
        ValueError: nncf is not installed.
    """
    try:
        nncf: Any = importlib.import_module("nncf")
        onnx: Any = importlib.import_module("onnx")
        openvino: Any = import_openvino()
    except ImportError as error:
        raise ValueError("8 bits need the packages of bottomup[int8]: pip install them") from error
    nncf.set_log_level(logging.ERROR)
    to_openvino = target.suffix == ".xml"
    model = openvino.Core().read_model(path) if to_openvino else onnx.load(path)
    data = [*inputs]
    dataset = nncf.Dataset(data, lambda images: {"images": images})
    patterns = [NOT_THE_NETWORK, *in_float]
    advanced = nncf.AdvancedQuantizationParameters()
    if not to_openvino:  # ONNX Runtime has one zero point for all channels
        parameters = nncf.quantization.advanced_parameters.QuantizationParameters
        advanced.activations_quantization_params = parameters(per_channel=False)
    quantized = nncf.quantize(
        model,
        dataset,
        preset=nncf.QuantizationPreset.MIXED,  # activations need not be symmetric
        subset_size=len(data),
        ignored_scope=nncf.IgnoredScope(patterns=patterns, validate=False),
        advanced_parameters=advanced,
    )
    if to_openvino:
        openvino.save_model(quantized, target, compress_to_fp16=False)
    else:
        onnx.save(quantized, target)
