import importlib.util
import json
import sys
from pathlib import Path

import pytest

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
