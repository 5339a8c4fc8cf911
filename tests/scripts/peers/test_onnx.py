import json

import contract
import frames
import numpy as np
import pytest
import rtmo
import yolo_pose

WINDOW = frames.Window(np.zeros((64, 64, 3), np.uint8), (0.5, 0.5), (0.0, 4.0))
JOINTS = np.tile([20.0, 24.0, 0.9], (17, 1))  # in the input
IN_IMAGE = [39.5, 39.5, 0.9]
SCRIPTS = pytest.mark.parametrize("script", [rtmo, yolo_pose])


def run(script, words, *more) -> int:
    words = [*words, *map(str, more)]
    return contract.main("onnx", "", script.prepare, add_arguments=script.add_arguments, argv=words)


def test_rtmo_is_read():
    boxes = np.array([[0, 0, 9, 9, 0.8], [0, 0, 9, 9, 0.01]])
    ((keypoints, score),) = rtmo.people(boxes, np.stack([JOINTS, JOINTS]), WINDOW, threshold=0.05)
    np.testing.assert_allclose(keypoints, np.tile(IN_IMAGE, (17, 1)))
    assert score == 0.8
    assert rtmo.people(boxes[:0], np.empty((0, 17, 3)), WINDOW, threshold=0) == []


def yolo_rows(*people):
    return np.array([[*head, *JOINTS.ravel()] for head in people])


def test_yolo_of_all_places_drops_duplicates():
    rows = yolo_rows(
        [20, 24, 10, 20, 0.7], [21, 24, 10, 20, 0.9], [50, 24, 10, 20, 0.3], [50, 9, 9, 9, 0.01]
    )
    found = yolo_pose.people(rows.T, WINDOW, threshold=0.05, overlap=0.7)
    assert [score for _, score in found] == [0.9, 0.3]
    np.testing.assert_allclose(found[0][0], np.tile(IN_IMAGE, (17, 1)))


def test_yolo_that_dropped_duplicates_itself_is_left_alone():
    rows = yolo_rows(
        [15, 14, 25, 34, 0.9, 0],
        [15, 14, 25, 34, 0.8, 0],
        [15, 14, 25, 34, 0.8, 1],
        [0, 0, 0, 0, 0, 0],
    )
    found = yolo_pose.people(rows, WINDOW, threshold=0.05, overlap=0.7)
    assert [score for _, score in found] == [0.9, 0.8]
    np.testing.assert_allclose(found[1][0], np.tile(IN_IMAGE, (17, 1)))


def test_outputs_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="80 x 84"):
        yolo_pose.people(np.zeros((80, 84)), WINDOW, threshold=0, overlap=1)
    with pytest.raises(ValueError, match="17 x 3"):
        rtmo.people(np.zeros((2, 5)), np.zeros((2, 14, 3)), WINDOW, threshold=0)


@SCRIPTS
def test_without_the_runtime_or_the_file_the_peer_is_unavailable(script, words, capsys, tmp_path):
    assert run(script, words, "--model", tmp_path / "gone.onnx") == 4
    assert ("not installed" in (text := capsys.readouterr().err)) or "gone.onnx" in text
    assert run(script, words) == 4


def network(path, *, height=64, width=96, **outputs):
    """An ONNX file with constant outputs, but for -1, to which the mean of the input is added."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0)]
    constants = []
    for name, array in outputs.items():
        constants.append(onnx.numpy_helper.from_array(array.astype(np.float32), f"{name}_value"))
        constants.append(
            onnx.numpy_helper.from_array((array == -1).astype(np.float32), f"{name}_mask")
        )
        nodes.append(helper.make_node("Mul", [f"{name}_mask", "mean"], [f"{name}_mean"]))
        nodes.append(helper.make_node("Add", [f"{name}_value", f"{name}_mean"], [name]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", real, [1, 3, height, width])],
        [
            helper.make_tensor_value_info(name, real, list(array.shape))
            for name, array in outputs.items()
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def tiny(script, path, **size):
    """A network that finds one person: the score is the mean of the input minus 1."""
    joints = np.tile([48.0, 32.0, 0.5], (17, 1))
    head = np.array([30, 10, 60, 50, -1.0])
    if script is rtmo:
        return network(path, dets=head[None, None], keypoints=joints[None, None], **size)
    return network(path, output0=np.concatenate([head, joints.ravel()])[None, :, None], **size)


@SCRIPTS
@pytest.mark.parametrize("sides", [{}, {"height": "h", "width": "w"}])
def test_a_tiny_network_from_end_to_end(script, sides, words, tmp_path, capsys):
    path = tiny(script, tmp_path / "net.onnx", **sides)
    more = ("--size", 96, "--threshold", -2)
    assert run(script, words, "--model", path, *more) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert [person["image_id"] for person in results] == [5, 8]
    scale = 96 / 80  # of the wide image, 80 x 40
    left, top = (0, 0) if script is rtmo else (0, ((96 if sides else 64) - 48) // 2)
    expected = (48 - left) / scale - 0.5, (32 - top) / scale - 0.5
    np.testing.assert_allclose(results[0]["keypoints"][:3], [*expected, 0.5], atol=1e-3)
    share = 48 / (96 if sides else 64)  # of the input, the image is grey 90, what surrounds it 114
    mean = 90 * share + 114 * (1 - share)
    assert results[0]["score"] == pytest.approx(
        (mean if script is rtmo else mean / 255) - 1, rel=1e-3
    )
    timing = json.loads((tmp_path / "timing.json").read_text())
    assert timing["method"] == "onnx_net"
    assert "onnxruntime" in timing["machine"]
    assert timing["images"][0]["ms"].keys() == {"read", "pose", "group"}


@SCRIPTS
def test_files_of_another_kind_are_refused(script, words, tmp_path, capsys):
    path = network(tmp_path / "other.onnx", a=np.zeros(1), b=np.zeros(1), c=np.zeros(1))
    assert run(script, words, "--model", path) == 2
    assert "outputs, not" in capsys.readouterr().err
    path.write_bytes(path.read_bytes()[:50])
    assert run(script, words, "--model", path) == 2
    assert "cannot load it" in capsys.readouterr().err
    assert not (tmp_path / "results.json").exists()
