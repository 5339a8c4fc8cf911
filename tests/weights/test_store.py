import json
import os

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from bottomup import COCO, CROWDPOSE, Skeleton
from bottomup.models.network import Preprocessing
from bottomup.models.pose_net import PoseNet, higherhrnet
from bottomup.weights import store as weights
from bottomup.weights.description import describe
from bottomup.weights.store import (
    WeightsError,
    convert,
    load_model,
    read_description,
    save_model,
    start_from,
)


def official(net):
    """State dict with the names of the public release."""
    return {k.split(".", 1)[1]: v for k, v in net.state_dict().items() if k not in ("mean", "std")}


def randomise(net, seed=0):
    """No two tensors alike, so that a swap of any two shows."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point() and name not in ("mean", "std"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return net


@pytest.fixture(scope="module")
def net():
    return randomise(higherhrnet(4, num_blocks=1)).eval()


@pytest.fixture(scope="module")
def plain_net():
    return randomise(higherhrnet(4, num_deconvs=0)).eval()


def assert_same(a: PoseNet, b: PoseNet):
    assert list(a.state_dict()) == list(b.state_dict())
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name
        assert y.device.type == "cpu"
    assert (a.skeleton, a.preprocessing) == (b.skeleton, b.preprocessing)


def mmpose(net):
    state = {}
    for name, tensor in official(net).items():
        is_head = name.startswith(("final_layers", "deconv_layers"))
        state[("keypoint_head." if is_head else "backbone.") + name] = tensor
    return {
        "state_dict": state,
        "meta": {"mmpose_version": "0.7.0", "config": "data_cfg = dict(use_udp=False)"},
    }


def prefixed(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def lightning(net):
    state = prefixed("network.", net.state_dict()) | {"criterion.weight": torch.ones(1)}
    return {"state_dict": state, "hyper_parameters": {"lr": 1e-3}, "bottomup": describe(net)}


def without_counters(net):
    state = official(net)
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


WRITERS = {
    "official": official,
    "ddp": lambda net: prefixed("module.", official(net)),
    "half": lambda net: prefixed("1.", official(net)),
    "both": lambda net: {"model": "w32", "state_dict": prefixed("module.1.", official(net))},
    "old": without_counters,
    "mmpose": mmpose,
    "lightning": lightning,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_checkpoints_of_every_kind(net, tmp_path, writer):
    path = tmp_path / "some.pth"
    torch.save(
        WRITERS[writer](net),
        path,
        _use_new_zipfile_serialization=writer not in ("official", "mmpose"),
    )
    loaded = load_model(path)
    assert_same(net, loaded)
    assert not loaded.training
    assert all(p.requires_grad and not p.is_meta for p in loaded.parameters())


def test_plain_safetensors_of_official_names(net, tmp_path):
    safetensors.torch.save_file(official(net), tmp_path / "plain.safetensors")
    assert_same(net, load_model(tmp_path / "plain.safetensors"))


def test_mmpose_head_with_one_resolution(plain_net, tmp_path):
    checkpoint = mmpose(plain_net)
    state = checkpoint["state_dict"]
    checkpoint["state_dict"] = {
        k.replace("final_layers.0", "final_layer"): v for k, v in state.items()
    }
    assert "keypoint_head.final_layer.weight" in checkpoint["state_dict"]
    torch.save(checkpoint, tmp_path / "hrnet_w32_coco_512x512.pth")
    assert_same(plain_net, load_model(tmp_path / "hrnet_w32_coco_512x512.pth"))


def test_own_joints_need_a_skeleton(tmp_path):
    skeleton = Skeleton(("left_ear", "right_ear", "tail"), (), (0.1,) * 3, (0, 1, 2))
    net = randomise(higherhrnet(4, skeleton=skeleton, num_deconvs=0, tag_dims=2))
    torch.save(official(net), tmp_path / "cat.pth")
    with pytest.raises(WeightsError, match="skeleton"):
        load_model(tmp_path / "cat.pth")
    convert(tmp_path / "cat.pth", tmp_path / "cat.safetensors", skeleton=skeleton)
    assert_same(net, load_model(tmp_path / "cat.safetensors"))


def test_our_own_file_rebuilds_everything(tmp_path):
    net = randomise(higherhrnet(5, skeleton=CROWDPOSE, tag_dims=2, num_blocks=2, input_size=320))
    net.preprocessing = Preprocessing(320, "long", 32, mean=(7.5,) * 3, offset=0.25)
    net.mean.fill_(7.5)
    save_model(net, tmp_path / "own.safetensors", notes={"interim": True})
    loaded = load_model(str(tmp_path / "own.safetensors"))
    assert_same(net, loaded)
    assert loaded.mean[0].item() == 7.5
    assert read_description(tmp_path / "own.safetensors")["notes"] == {"interim": True}
    save_model(loaded, tmp_path / "again.safetensors", notes={"interim": True})
    assert (tmp_path / "own.safetensors").read_bytes() == (
        tmp_path / "again.safetensors"
    ).read_bytes()


def test_half_precision_files(net, tmp_path):
    save_model(net, tmp_path / "full.safetensors")
    save_model(net, tmp_path / "half.safetensors", half=True)
    loaded = load_model(tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.75 * (
        tmp_path / "full.safetensors"
    ).stat().st_size
    for (name, x), y in zip(net.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert x.dtype == y.dtype
        torch.testing.assert_close(x, y, rtol=1e-3 if x.ndim == 4 else 0, atol=0, msg=name)


def test_convert_tells_what_it_did(net, tmp_path):
    torch.save(mmpose(net), tmp_path / "in.pth")
    summary = convert(tmp_path / "in.pth", tmp_path / "out.safetensors")
    assert_same(net, load_model(tmp_path / "out.safetensors"))
    assert "width=4" in str(summary)
    assert "17 joints" in str(summary)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.pth", "out.safetensors"]


def test_convert_never_writes_over_its_source(net, tmp_path):
    source = tmp_path / "net.safetensors"
    save_model(net, source)
    before = source.read_bytes()
    (tmp_path / "link.safetensors").symlink_to(source)
    os.link(source, tmp_path / "hard.safetensors")
    for target in (source, tmp_path / "link.safetensors", tmp_path / "hard.safetensors"):
        with pytest.raises(WeightsError, match="source itself"):
            convert(source, target)
    assert source.read_bytes() == before


@pytest.mark.parametrize("target", ["out.pth", "missing/out.safetensors", "folder.safetensors"])
def test_convert_refuses_bad_targets(net, tmp_path, target):
    (tmp_path / "folder.safetensors").mkdir()
    save_model(net, tmp_path / "in.safetensors")
    with pytest.raises(WeightsError, match=r"out|folder"):
        convert(tmp_path / "in.safetensors", tmp_path / target)


def test_a_failed_write_leaves_what_was_there(net, tmp_path, monkeypatch):
    target = tmp_path / "net.safetensors"
    target.write_bytes(b"precious")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        save_model(net, target)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [
        ("net.safetensors", b"precious")
    ]


def test_what_cannot_be_saved(tmp_path):
    by_hand = PoseNet(nn.Identity(), nn.Identity(), skeleton=COCO, preprocessing=Preprocessing())
    with pytest.raises(ValueError, match="recipe"):
        save_model(by_hand, tmp_path / "a.safetensors")
    net = higherhrnet(2, num_deconvs=0)
    with pytest.raises(ValueError, match="saved as NAME"):
        save_model(net, tmp_path / "a.pth")
    net.trunk.conv1.weight.data[0, 0, 0, 0] = 1e6
    with pytest.raises(ValueError, match=r"conv1.weight is not finite in float16"):
        save_model(net, tmp_path / "a.safetensors", half=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "shared", [5, {"sha256": "0"}, {"weights": ["mobile"]}, {"weights": "a" * 10**6}]
)
def test_shared_weights_that_do_not_exist_are_refused(net, tmp_path, shared):
    description = json.dumps({**describe(net), "shared": shared})
    path = tmp_path / "part.safetensors"
    safetensors.torch.save_file({"mean": torch.zeros(3, 1, 1)}, path, {"bottomup": description})
    with pytest.raises(WeightsError, match="not there") as error:
        load_model(path)
    assert len(str(error.value)) < 600


def test_what_does_not_fit_is_told_and_nothing_is_loaded(net, tmp_path):
    state = official(net)
    del state["conv1.weight"], state["bn1.weight"], state["bn1.bias"], state["bn2.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["final_layers.1.bias"] = torch.zeros(18)
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(WeightsError) as error:
        load_model(tmp_path / "net.pth")
    message = str(error.value)
    assert (
        "4 missing: trunk.conv1.weight, trunk.bn1.weight, trunk.bn1.bias, ... (4 in all)" in message
    )
    assert "1 left over: trunk.extra.weight" in message
    assert "1 of the wrong shape: head.final_layers.1.bias (18 instead of 17)" in message


def test_diverged_trainings_are_refused(net, tmp_path):
    state = {name: tensor.clone() for name, tensor in official(net).items()}
    state["bn1.running_var"][3] = float("nan")
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"diverged.*trunk.bn1.running_var"):
        load_model(tmp_path / "net.pth")


def test_integer_weights_are_refused(net, tmp_path):
    torch.save(
        {**official(net), "conv1.weight": torch.zeros(64, 3, 3, 3, dtype=torch.int8)},
        tmp_path / "net.pth",
    )
    with pytest.raises(WeightsError, match="int8 instead of"):
        load_model(tmp_path / "net.pth")


def test_imagenet_trunks_start_a_training(net, tmp_path):
    trunk = {
        k.removeprefix("trunk."): v for k, v in net.state_dict().items() if k.startswith("trunk.")
    }
    surplus = {
        "incre_modules.0.0.conv1.weight": torch.zeros(2),
        "classifier.weight": torch.zeros(2),
    }
    torch.save({**trunk, **surplus}, tmp_path / "hrnet_w4.pth")
    with pytest.raises(WeightsError, match=r"model\.network\.weights"):
        load_model(tmp_path / "hrnet_w4.pth")

    fresh = higherhrnet(4, num_blocks=1)
    head = fresh.head.final_layers[0].weight.clone()
    start = start_from(fresh, tmp_path / "hrnet_w4.pth")
    for name, tensor in fresh.trunk.state_dict().items():
        assert torch.equal(tensor, trunk[name]), name
    assert torch.equal(head, fresh.head.final_layers[0].weight)
    assert set(start.loaded) == {f"trunk.{name}" for name in trunk}
    assert start.unused == ["trunk.incre_modules.0.0.conv1.weight", "trunk.classifier.weight"]
    assert "head.final_layers.0.weight" in start.absent
    assert "2 left over" in str(start)


def test_tensors_of_another_shape_are_left_as_they_were(net, tmp_path):
    state = official(net)
    state["stage4.2.branches.0.0.conv1.weight"] = torch.zeros(1, 2, 3, 4)
    torch.save(state, tmp_path / "net.pth")
    fresh = higherhrnet(4, num_blocks=1)
    name = "trunk.stage4.2.branches.0.0.conv1.weight"
    before = fresh.state_dict()[name].clone()
    start = start_from(fresh, tmp_path / "net.pth")
    assert name in start.absent
    assert name in start.unused
    assert torch.equal(fresh.state_dict()[name], before)
    assert torch.equal(
        fresh.state_dict()["trunk.conv1.weight"], net.state_dict()["trunk.conv1.weight"]
    )


def test_the_second_set_of_weights_is_taken_where_asked_for(net, tmp_path):
    state = official(net)
    name = "stage4.2.branches.0.0.conv1.weight"
    state[f"ema_{name.replace('.', '_')}"] = state[name] + 1
    torch.save({"state_dict": state, "meta": {"best_score": np.float64(0.7)}}, tmp_path / "net.pth")
    first, second = (load_model(tmp_path / "net.pth", ema=ema) for ema in (False, True))
    assert_same(net, first)
    before = first.state_dict()
    changed = {k for k, v in second.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {f"trunk.{name}"}
    out = tmp_path / "out.safetensors"
    assert "second set of 1 ema tensors left out" in convert(tmp_path / "net.pth", out)
    assert_same(first, load_model(out))
    assert "second set of 1 ema tensors taken" in convert(tmp_path / "net.pth", out, ema=True)
    assert_same(second, load_model(out))
    with pytest.raises(WeightsError, match="one set of weights only"):
        load_model(out, ema=True)


def test_bundled_names(net, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(WeightsError, match="none"):
        load_model()
    save_model(net, tmp_path / "mobile.safetensors")
    save_model(net, tmp_path / "large.safetensors")
    assert list(weights.bundled()) == ["large", "mobile"]
    for name in ("default", "mobile", "large"):
        assert_same(net, load_model(name))
    with pytest.raises(WeightsError, match=r"default, large, mobile\); did you mean mobile\?"):
        load_model("mobil")
    with pytest.raises(WeightsError, match="neither a file"):
        load_model(tmp_path / "nowhere.pth")
