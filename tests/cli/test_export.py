import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import bottomup
from bottomup.cli import main
from bottomup.engines.sessions import is_installed, supported_precisions
from bottomup.export import Runtime
from bottomup.models.pose_net import compact
from bottomup.weights.store import digest, load_model, read_description, save_model
from tests.support.commands import usage_error

FORMATS = {"openvino": "openvino", "onnx": "onnxruntime"}
SAMPLES = Path(bottomup.__file__).parent / "samples"

pytestmark = pytest.mark.skipif(
    not is_installed("onnx") or not is_installed("openvino"), reason="needs onnx and OpenVINO"
)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of the bundled weights, which may be written to."""
    path = tmp_path / "own.safetensors"
    save_model(load_model(), path)
    return path


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two photos, whose people are those that the bundled network finds."""
    tmp_path = tmp_path_factory.mktemp("labelled")
    folder = tmp_path / "photos"
    folder.mkdir()
    find = bottomup.Predictor(size=640)
    images, people = [], []
    for number, name in enumerate(("officer.jpg", "astronaut.jpg"), 1):
        shutil.copy(SAMPLES / name, folder / name)
        height, width = cv2.imread(str(folder / name)).shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        poses = find(folder / name)
        for box, entry in zip(poses.boxes, poses.to_coco(number), strict=True):
            joints = np.reshape(entry["keypoints"], (-1, 3))
            joints[:, 2] = 2 * (joints[:, 2] > 0)
            sides = box[2:] - box[:2]
            entry |= {"id": len(people) + 1, "keypoints": joints.flatten().tolist(), "iscrowd": 0}
            entry |= {"bbox": [*map(float, box[:2]), *map(float, sides)]}
            people.append(entry | {"area": float(sides.prod())})
    category = {"id": 1, "name": "person", "keypoints": list(bottomup.COCO.keypoints)}
    content = {"images": images, "annotations": people, "categories": [category]}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    return str(tmp_path / "labels.json"), str(folder)


@pytest.mark.parametrize("format", [pytest.param("onnx", marks=pytest.mark.slow), "openvino"])
def test_an_export_is_checked(format, labelled, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["export", "default", "--format", format, "--out", str(out), "--check", *labelled]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "torch float32 1.0000" in printed
    assert f"{FORMATS[format]} float32 1.0000" in printed
    assert len(Runtime(out)(SAMPLES / "astronaut.jpg")) > 0
    expected = {"openvino": {"model.xml", "model.bin"}, "onnx": {"model.onnx"}}[format]
    assert {path.name for path in out.iterdir()} == expected | {"model.json"}


def test_an_export_in_another_format_replaces_the_first(tmp_path):
    save_model(compact(8, out_channels=8), tmp_path / "a.safetensors")
    for format in ("openvino", "onnx"):
        out = str(tmp_path / "out")
        assert (
            main(["export", str(tmp_path / "a.safetensors"), "--format", format, "--out", out]) == 0
        )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.onnx", "model.json"}


def test_a_loss_beyond_the_limit_is_a_failure(labelled, tmp_path, capsys):
    words = ["export", "default", "--out", str(tmp_path / "out"), "--check", *labelled]
    assert main([*words, "--max-candidates", "1", "--max-loss", "0.05"]) == 1
    assert "it loses more than 0.05" in capsys.readouterr().out


@pytest.mark.slow
def test_labels_without_people_prove_nothing(labelled, tmp_path, capsys):
    annotations, images = labelled
    content = json.loads(Path(annotations).read_text())
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps(content | {"annotations": []}))
    words = ["export", "default", "--out", str(tmp_path / "out"), "--check", str(empty), images]
    assert main(words) != 0


@pytest.mark.skipif(
    "bfloat16" not in supported_precisions("openvino"), reason="a processor without bfloat16"
)
def test_what_a_precision_costs_is_recorded_in_a_file_of_ours(labelled, weights, tmp_path, capsys):
    words = ["export", str(weights), "--precision", "bfloat16", "--out", str(tmp_path / "out")]
    main([*words, "--check", *labelled, "--max-loss", "1"])
    assert "now records that bfloat16 changes AP by" in capsys.readouterr().out
    (name, cost), *others = read_description(weights)["costs"].items()
    assert (name, others) == ("bfloat16", [])
    net = load_model(weights)
    assert cost["sha256"] == digest(net.state_dict()) == digest(load_model().state_dict())
    assert -1 < net.costs["bfloat16"].ap_change < 1


@pytest.mark.slow
def test_bundled_weights_record_nothing(labelled, tmp_path, capsys):
    before = read_description("default")
    words = ["export", "default", "--precision", "bfloat16", "--out", str(tmp_path / "out")]
    main([*words, "--check", *labelled, "--max-loss", "1"])
    assert "records" not in capsys.readouterr().out
    assert read_description("default") == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nonsense"], "neither a file nor one of the bundled weights"),
        (["default", "--format", "onnx", "--precision", "bfloat16"], "have the format openvino"),
        (["default", "--int8", ".", "--precision", "float16"], "leave --precision out"),
        (["default", "--max-candidates", "0"], "not a whole number from 1"),
        (["default", "--max-candidates", "100000"], "from 1 to 65536"),
        (["default", "--max-loss", "2"], "not a number from 0 to 1"),
        (["default", "--check", "no.json", "."], "no.json"),
        (["default", "--int8", "no_such_folder"], "no image can be read"),
        pytest.param(
            ["default", "--int8", str(SAMPLES)],
            "bottomup[int8]",
            marks=pytest.mark.skipif(is_installed("nncf"), reason="nncf is installed"),
        ),
    ],
)
def test_wrong_usage_is_told(words, message, tmp_path, capsys):
    assert message in usage_error(capsys, "export", *words, "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out" / "model.json").exists()


def test_a_file_in_place_of_the_folder_is_wrong_usage(tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert "is a file" in usage_error(capsys, "export", "default", "--out", str(tmp_path / "out"))
