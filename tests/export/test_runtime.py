import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bottomup
from bottomup import Poses, Predictor, load_model
from bottomup.engines.sessions import is_installed
from bottomup.export import Runtime
from bottomup.export.manifest import read_manifest
from bottomup.export.writing import describe_export, export
from bottomup.models.pose_net import PoseNet, mobile
from bottomup.weights.store import start_from
from tests.support.dots import crowd, dot_net, picture

FORMATS = [f for f, e in (("openvino", "openvino"), ("onnx", "onnxruntime")) if is_installed(e)]
PHOTOS = sorted((Path(bottomup.__file__).parent / "samples").glob("*.jpg"))

pytestmark = [
    pytest.mark.skipif(not is_installed("onnx"), reason="graphs are written with the package onnx"),
    pytest.mark.skipif(not FORMATS, reason="needs OpenVINO or ONNX Runtime"),
]


@pytest.fixture(scope="module", params=FORMATS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled network in each format."""
    folder = tmp_path_factory.mktemp(request.param)
    net = load_model()
    export(net, folder, describe_export(net, format=request.param))
    return folder


def require_equal(actual: Poses, expected: Poses) -> None:
    """The same people, each with an OKS of at least 0.99, and the same scores."""
    assert len(actual) == len(expected) > 0
    sides = expected.boxes[:, 2:] - expected.boxes[:, :2]
    similarity = expected.similarity(actual, np.maximum(sides.prod(axis=1), 1))
    partner = similarity.argmax(axis=1)
    assert sorted(partner) == list(range(len(actual)))
    assert similarity.max(axis=1).min() >= 0.99
    np.testing.assert_allclose(actual.scores[partner], expected.scores, atol=1e-3)
    found = expected.keypoint_scores > 0
    assert ((actual.keypoint_scores[partner] > 0) == found).mean() > 0.99


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.stem)
def test_the_runtime_finds_the_people_of_the_predictor(photo, exported):
    predictor = Predictor(size=512, backend="torch", precision="float32")
    require_equal(Runtime(exported, size=512)(photo), predictor(photo))


def test_the_size_follows_from_the_image(exported):
    require_equal(Runtime(exported)(PHOTOS[0]), Predictor(precision="float32")(PHOTOS[0]))


@pytest.mark.parametrize("wh", [(300, 200), (97, 211), (40, 40)])
@pytest.mark.parametrize("multiple", [32, 64])
def test_positions_are_those_of_the_image(wh, multiple, tmp_path):
    people = crowd(wh, 3, np.random.default_rng(0))
    image = picture(wh, people)
    net = dot_net(size_multiple=multiple, keypoint_offset=0.5)
    export(net, tmp_path, describe_export(net, format=FORMATS[0]))
    actual = Runtime(tmp_path)(image)
    require_equal(actual, Predictor(net, backend="torch")(image))
    assert np.abs(np.sort(actual.keypoints[:, 0, 0]) - np.sort(people[:, 0, 0])).max() < 2


def test_fine_heatmaps_are_exported_too(tmp_path):
    net: PoseNet = mobile(fine_channels=8).eval()
    start_from(net, "mobile")
    manifest = describe_export(net, format=FORMATS[0])
    assert not manifest.follows_image
    export(net, tmp_path, manifest)
    require_equal(Runtime(tmp_path)(PHOTOS[0]), Predictor(net, backend="torch")(PHOTOS[0]))


def test_an_image_without_people_is_an_ordinary_value(exported):
    poses = Runtime(exported)(np.zeros((48, 64, 3), np.uint8))
    assert len(poses) == 0
    assert poses.skeleton == bottomup.COCO


def test_a_description_is_read_as_it_was_written(exported):
    net = load_model()
    assert read_manifest(exported) == describe_export(net, format=read_manifest(exported).format)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("version", 99),
        ("format", "../../etc/passwd"),
        ("size", 10**9),
        ("size", "512"),
        ("size", True),
        ("multiple", 0),
        ("side", "both"),
        ("tag_threshold", 0),
        ("refine_threshold", float("nan")),
        ("skeleton", {"keypoints": ["nose"]}),
        ("skeleton", 3),
    ],
)
def test_a_damaged_description_is_refused_with_a_remedy(entry, value, exported, tmp_path):
    content = json.loads((exported / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(content | {entry: value}))
    with pytest.raises(ValueError, match="export it again"):
        Runtime(tmp_path)


def test_a_folder_without_an_export_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        Runtime(tmp_path)


def test_a_graph_that_is_damaged_or_absent_is_refused(exported, tmp_path):
    (tmp_path / "model.json").write_bytes((exported / "model.json").read_bytes())
    with pytest.raises(ValueError, match="cannot run this graph"):
        Runtime(tmp_path)
    for name in ("model.onnx", "model.xml", "model.bin"):
        (tmp_path / name).write_bytes(b"no graph")
    with pytest.raises(ValueError, match="cannot run this graph"):
        Runtime(tmp_path)


def test_a_graph_of_another_network_is_refused(exported, tmp_path):
    net = dot_net()
    manifest = describe_export(net, format=read_manifest(exported).format)
    export(net, tmp_path, manifest)
    dataclasses.replace(manifest, skeleton=bottomup.COCO).write(tmp_path)
    with pytest.raises(ValueError, match="export it again"):
        Runtime(tmp_path)(PHOTOS[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "torch"}, "choose openvino or onnxruntime"),
        ({"precision": "float64"}, "choose one of"),
        ({"precision": "int8"}, "not what .* has on this machine for an export in float32"),
        ({"size": 0}, "give the pixels"),
    ],
)
def test_wrong_options_are_told(options, message, exported):
    with pytest.raises(ValueError, match=message):
        Runtime(exported, **options)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        "missing.jpg",
    ],
    ids=["gray", "float", "empty", "missing"],
)
def test_what_is_no_image_is_told(image, exported):
    with pytest.raises(ValueError, match=r"an image is|cannot be read"):
        Runtime(exported)(image)


def test_neither_torch_nor_other_packages_are_needed(exported):
    """Whatever is not one of four packages, or of what they need, cannot be imported."""
    code = f"""
import sys

ALLOWED = {{"bottomup", "numpy", "scipy", "cv2", "openvino", "onnxruntime"}}
ALLOWED |= {{"google", "flatbuffers", "packaging", "openvino_telemetry"}}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        is_ours = top in ALLOWED or top in sys.stdlib_module_names or top.startswith("_")
        if is_ours or path is not None:
            return None
        raise ImportError(f"{{name}} is not installed here")

sys.meta_path.insert(0, Blocked())
from bottomup.export import Runtime
poses = Runtime({str(exported)!r})({str(PHOTOS[0])!r})
for name in ("torch", "jaxtyping", "pycocotools", "safetensors", "rich", "platformdirs"):
    assert name not in sys.modules, name
print(len(poses))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) == len(Runtime(exported)(PHOTOS[0]))
