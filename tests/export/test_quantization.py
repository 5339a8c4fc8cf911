"""Runs where nncf is installed: pip install -c scripts/constraints.txt -e '.[dev,int8]'."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bottomup.engines.sessions import import_openvino, open_session
from bottomup.export.runtime import Runtime
from bottomup.export.writing import describe_export, export
from bottomup.inference.predictor import Predictor
from bottomup.models.pose_net import PoseNet, mobile
from bottomup.weights.store import FOLDER, start_from

PARK = str(FOLDER.parent / "samples" / "park.jpg")

pytest.importorskip("nncf")
pytestmark = pytest.mark.filterwarnings("ignore")  # of nncf


@pytest.fixture(scope="module")
def net() -> PoseNet:
    net: PoseNet = mobile(num_scales=1).eval()
    start_from(net, "mobile")
    return net


@pytest.mark.parametrize("format", ["openvino", "onnx"])
@torch.inference_mode()
def test_an_export_in_8_bits_runs(format, net, tmp_path):
    generator = np.random.default_rng(0)
    inputs = [generator.integers(0, 256, (1, 64, 96, 3), dtype=np.uint8) for _ in range(3)]
    sizes = {}
    for precision in ("float32", "int8"):
        manifest = describe_export(net, format=format, precision=precision)
        export(net, tmp_path / precision, manifest, inputs=inputs)
        sizes[precision] = sum(p.stat().st_size for p in (tmp_path / precision).glob("model.*"))
    assert sizes["int8"] < 0.6 * sizes["float32"]
    runtime = Runtime(tmp_path / "int8")
    assert runtime.precision == "int8"
    with pytest.raises(ValueError, match="for an export in int8; choose one of int8"):
        Runtime(tmp_path / "int8", precision="float32")
    assert len(runtime(np.zeros((50, 70, 3), np.uint8))) == 0


@torch.inference_mode()
def test_only_the_trunk_is_in_8_bits(net, tmp_path: Path):
    inputs = [np.zeros((1, 64, 96, 3), np.uint8)]
    export(net, tmp_path, describe_export(net, precision="int8"), inputs=inputs)
    open_session(tmp_path / "model.xml", "openvino", precision="int8")
    model = import_openvino().Core().read_model(tmp_path / "model.xml")
    quantized = [
        op.get_friendly_name()
        for op in model.get_ordered_ops()
        if any(v.get_node().get_type_name() == "FakeQuantize" for v in op.input_values())
        and op.get_type_name() in ("Convolution", "GroupConvolution", "MatMul")
    ]
    assert len(quantized) > 40
    assert all("/net/trunk/stages" in name for name in quantized)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_predictor_in_8_bits_finds_the_clear_people(backend, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for _ in range(2):
        predictor = Predictor(backend=backend, precision="int8")
        assert predictor.engine.precision == "int8"
        clear = Predictor(backend="torch", precision="float32")(PARK).filter(0.4)
        areas = np.prod(clear.boxes[:, 2:] - clear.boxes[:, :2], axis=1) + 1
        assert len(clear) > 3
        assert clear.similarity(predictor(PARK), areas).max(axis=1).min() > 0.9
        graphs = list((tmp_path / "bottomup" / "graphs").glob("*-int8.onnx"))
        assert len(graphs) == 1
        monkeypatch.setattr("bottomup.engines.graph_cache.quantize", None)  # not made again
    assert capfd.readouterr().out == ""
