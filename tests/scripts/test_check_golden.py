import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import network, weight_rule
from golden.families import FAMILIES

from bottomup.models.pose_net import higherhrnet
from scripts import check_golden

SMALL = Path(__file__).parents[1] / "golden"
RULE = {"salt": "small", "gain": [["fuse_layers", 0.4]], "gain_default": 0.5}


@pytest.fixture(scope="module")
def small_network(tmp_path_factory):
    """A folder of the family network, with a narrow network of its own."""
    folder = tmp_path_factory.mktemp("golden") / "network"
    folder.mkdir()
    with torch.device("meta"):
        net = higherhrnet(4)
    keys = [
        [name, list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
        for name, tensor in network.official_state(net).items()
    ]
    weights = {name: weight_rule.weight(name, tuple(shape), RULE) for name, shape, _ in keys}
    network.load(net, weights)
    arrays = {}
    for i, size in enumerate([(64, 96), (64, 64)]):
        images = np.random.default_rng(i).normal(0, 1, (1, 3, *size)).astype(np.float32)
        outputs = {f"output{i}_stage{s}": m for s, m in enumerate(network.stages(net, images))}
        arrays |= {f"input{i}": images, **outputs}
    np.savez(folder / "w4_coco.npz", **arrays)
    write(folder / "w4_coco.keys.json", keys)
    write(folder / "rule.json", RULE)
    write(folder / "digests.json", {"w4_coco": weight_rule.digest(weights)})
    return folder


@pytest.fixture
def golden(tmp_path, small_network):
    """A folder of all families that the test may spoil."""
    for family in FAMILIES:
        shutil.copytree(small_network if family == "network" else SMALL / family, tmp_path / family)
    return tmp_path


@pytest.fixture
def check(monkeypatch, capsys):
    """Call the script: its status and the lines that it prints."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["check_golden.py", *map(str, arguments)])
        status = check_golden.main()
        return status, capsys.readouterr().out.splitlines()

    return call


def write(path, content):
    path.write_text(json.dumps(content))


def spoil(path, keys, amount):
    """Add to one number: the first of an array, or what stands at `keys` in a JSON file."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        arrays[keys[0]].flat[0] += np.array(amount).astype(arrays[keys[0]].dtype)
        np.savez(path, **arrays)
        return
    content = json.loads(path.read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] += amount
    write(path, content)


def test_all_families_pass(golden, check):
    status, lines = check(golden)
    assert status == 0
    assert [line.split()[:2] for line in lines] == [[family, "PASS"] for family in FAMILIES]


@pytest.mark.parametrize(
    ("path", "keys", "amount", "told"),
    [
        ("network/w4_coco.npz", ["output1_stage0"], 1e-3, "w4_coco: output1_stage0:"),
        ("network/w4_coco.npz", ["output0_stage1"], 1e-3, "w4_coco: output0_stage1:"),
        ("network/w4_coco.keys.json", [3, 0], "x", "w4_coco: names, shapes, types and order:"),
        ("network/w4_coco.keys.json", [3, 2], "x", "has no attribute 'float32x'"),
        ("network/rule.json", ["salt"], "x", "w4_coco: digest of the weights:"),
        ("network/digests.json", ["w4_coco"], "x", "w4_coco: digest of the weights:"),
        ("aggregation/case_0.npz", ["heatmaps_flip0_project0"], 2e-5, "flip0_project0"),
        ("aggregation/case_1.npz", ["tags_flip1_project1"], 2e-5, "flip1_project1"),
        ("geometry/geometry.json", [0, "base_wh", 0], 1, "geometry.json[0]: base_wh:"),
        ("geometry/geometry.json", [1, "scales", 0, "resized_wh", 1], 1, "[1]: resized_wh"),
        ("geometry/geometry.json", [2, "scales", 0, "center", 0], 1e-6, "[2]: center"),
        ("geometry/geometry.json", [3, "scales", 0, "scale", 1], 1e-8, "[3]: scale"),
        ("geometry/geometry.json", [4, "scales", 0, "affine", 0, 0], 1e-2, "[4]: affine"),
        ("geometry/geometry.json", [5, "final", "half", "image_points", 2, 0], 2e-3, "of half:"),
        ("geometry/warp.npz", ["warped0_min1_s1"], 9, "warp.npz: warped0_min1_s1, largest:"),
        ("grouping/scene_04.npz", ["joint_order"], 1, "scene_04.npz: joint_order:"),
        ("grouping/scene_04.npz", ["match"], 2e-4, "scene_04.npz: match:"),
        ("grouping/scene_05.npz", ["adjust"], 2e-4, "scene_05.npz: adjust:"),
        ("grouping/scene_06.npz", ["refine"], 2e-4, "scene_06.npz: refine:"),
        ("grouping/scene_07.npz", ["scores"], 2e-5, "scene_07.npz: scores:"),
        ("crowds/crowd_0.npz", ["people"], 1, "crowd_0.npz: pure groups: 40, not 41"),
        ("crowds/crowd_1.npz", ["tag"], 90, "crowd_1.npz: pure groups: 49, not 48"),
        ("loss/case_0.npz", ["pull_float64"], 1e-8, "case_0.npz: pull_float64:"),
        ("loss/case_1.npz", ["push_float32"], 2e-5, "case_1.npz: push_float32:"),
        ("loss/case_2.npz", ["push_max_float64"], 2e-9, "case_2.npz: push_max_float64:"),
        ("loss/case_3.npz", ["grad_pull"], 2e-9, "case_3.npz: grad_pull"),
        ("loss/case_3.npz", ["grad_push"], 2e-9, "case_3.npz: grad_push"),
        ("loss/case_4.npz", ["heatmap_loss_float64"], 2e-9, "heatmap_loss_float64:"),
        ("loss/two_stage.npz", ["weighted_pull_stage0"], 1e-6, "two_stage.npz: pull_stage0:"),
        ("loss/two_stage.npz", ["total"], 2e-5, "two_stage.npz: total:"),
        ("targets/case_00.npz", ["heatmaps_64"], 2e-6, "case_00.npz: heatmaps_64:"),
        ("targets/case_01.npz", ["joints_128"], 1, "case_01.npz: joints_128:"),
        ("evaluation/expected.json", ["coco", "APM"], 2e-6, "coco: APM:"),
        ("evaluation/expected.json", ["crowdpose", "AP_hard"], 1e-4, "crowdpose: AP_hard:"),
    ],
)
def test_one_number_beyond_the_tolerance_fails(golden, check, path, keys, amount, told):
    spoil(golden / path, keys, amount)
    family = Path(path).parent.name
    status, (line,) = check(golden, family)
    assert status == 1
    assert line.startswith(f"{family:12}FAIL")
    assert "1 failed, the first:" in line
    assert told in line


def test_a_deviation_within_the_tolerance_is_told(golden, check):
    spoil(golden / "grouping/scene_05.npz", ["scores"], 5e-6)
    status, (line,) = check(golden, "grouping")
    assert status == 0
    assert line.endswith("worst 5.0e-06 of 1.0e-05 (scene_05.npz, scores)")


def test_people_in_another_order_and_one_too_many_fail(golden, check):
    path = golden / "grouping/scene_05.npz"
    with np.load(path, allow_pickle=False) as file:
        scene = dict(file)
    for rows in ([1, 0], [0, 1, 1]):
        steps = {name: scene[name][rows] for name in ("match", "adjust", "refine", "scores")}
        np.savez(path, **scene | steps)
        status, _ = check(golden, "grouping")
        assert status == 1


def test_tensors_in_another_order_fail(golden, check):
    path = golden / "network/w4_coco.keys.json"
    keys = json.loads(path.read_text())
    write(path, [keys[1], keys[0], *keys[2:]])
    status, (line,) = check(golden, "network")
    assert status == 1
    assert "names, shapes, types and order: ['conv1.weight'" in line


def test_all_that_the_folder_has_is_compared(golden, check):
    """Files that the index does not list, and those that it lists and are not there."""
    shutil.copy(golden / "grouping/scene_04.npz", golden / "grouping/scene_99.npz")
    spoil(golden / "grouping/scene_99.npz", ["match"], 1)
    (golden / "crowds/crowd_2.npz").unlink()
    status, (grouping, crowds) = check(golden, "grouping", "crowds")
    assert status == 1
    assert "1 failed, the first: scene_99.npz: match:" in grouping
    assert "1 failed, the first: crowd_2.npz: FileNotFoundError:" in crowds


def test_a_family_that_is_missing_or_empty_fails(golden, check):
    shutil.rmtree(golden / "network")
    for family in FAMILIES:
        if family not in ("network", "targets"):
            shutil.rmtree(golden / family)
            (golden / family).mkdir()
    status, lines = check(golden)
    assert status == 1
    assert "network is no folder" in lines[0]
    assert all(line.endswith("the first: no cases") for line in lines[1:6] + lines[7:])
    assert check(golden, "targets")[0] == 0
    assert check(golden, "network")[0] == 1


def test_nothing_is_unpickled(golden, check):
    path = golden / "targets/case_00.npz"
    np.savez(path, keypoints_64=np.array([{"not": "numbers"}], dtype=object))
    status, (line,) = check(golden, "targets")
    assert status == 1
    assert "case_00.npz: ValueError: Object arrays cannot be loaded" in line


def test_a_case_without_anything_to_compare_fails(golden, check):
    np.savez(golden / "targets/case_00.npz", other=np.zeros(3))
    status, (line,) = check(golden, "targets")
    assert status == 1
    assert "the first: case_00.npz: nothing to compare" in line


@pytest.mark.parametrize("content", ["[{", "{}", "[7]", '[{"name": "case_0.npz"}]'])
def test_a_damaged_index_is_wrong_usage(golden, check, capsys, content):
    (golden / "aggregation/index.json").write_text(content)
    with pytest.raises(SystemExit) as error:
        check(golden)
    assert error.value.code == 2
    assert "aggregation/index.json" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["missing"], ["empty"], ["golden", "loss", "faces"]])
def test_wrong_usage(golden, check, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "golden").symlink_to(SMALL)
    with pytest.raises(SystemExit) as error:
        check(*arguments)
    assert error.value.code == 2
