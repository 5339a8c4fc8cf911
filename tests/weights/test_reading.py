import argparse
import collections
import datetime
import json
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch

from bottomup.weights.reading import WeightsError, fitted, read_checkpoint


class RunsCode:
    """A pickle of it writes a file when it is opened carelessly."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def refused(path, match):
    with pytest.raises(WeightsError, match=match) as error:
        read_checkpoint(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "empty"),
        (b"hello", "not a checkpoint"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 115172215\n",
            "git lfs pull",
        ),
        (b"\n<!DOCTYPE html><html><body>Google Drive - Quota exceeded</body></html>", "web page"),
        (b"<html>", "web page"),
        (b"\x80\x02", "damaged"),
        (b"\x80\x05\x95 garbage", "damaged"),
        (b"PK\x03\x04 cut off here", "cut off"),
        (b"\x89PNG\r\n\x1a\n", "not a checkpoint"),
        (bytes(range(256)) * 20, "not a checkpoint"),
        (struct.pack("<Q", 2**63) + b"{}", "header"),
        (struct.pack("<Q", 2**40) + b'{"a"' + bytes(1000), "header"),
        (struct.pack("<Q", 0) + b"{", "damaged"),
        (struct.pack("<Q", 50) + b"{" * 50, "damaged"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_are_no_checkpoints(tmp_path, content, match, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    refused(path, match)


def test_paths_that_are_no_files(tmp_path):
    refused(tmp_path / "missing.pth", "no such file")
    refused(tmp_path / ("x" * 300), "cannot be read")
    refused(tmp_path, "not a file")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "not a file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files(tmp_path):
    path = tmp_path / "secret.pth"
    path.write_bytes(b"x")
    path.chmod(0)
    refused(path, "cannot be read")


@pytest.mark.parametrize("zipped", [True, False])
def test_what_training_programs_leave_is_read_or_skipped(tmp_path, monkeypatch, zipped):
    theirs = types.ModuleType("strange_trainer")
    made = {
        name: type(name, bases, {"__module__": theirs.__name__})
        for name, bases in {"History": (), "Config": (dict,), "Losses": (list,)}.items()
    }
    vars(theirs).update(made)
    monkeypatch.setitem(sys.modules, theirs.__name__, theirs)
    history = theirs.History()
    history.values = np.arange(5)
    settings = theirs.Config(lr=0.1)
    settings.note = "an attribute beside the entries"
    left = {
        "best": np.float64(0.5), "step": np.int64(3), "half": np.float16(1.5),
        "yes": np.bool_(True), "history": history, "settings": settings, "losses": theirs.Losses(),
        "ordered": collections.OrderedDict(a=1), "by_name": collections.defaultdict(list, a=[1]),
        "recent": collections.deque([1]), "time": datetime.datetime(2024, 1, 1),
        "folder": pathlib.PurePosixPath("/x"), "arguments": argparse.Namespace(a=1),
        "size": torch.Size([1]), "array": np.array(["a", None], object), "complex": np.complex64(1),
    }  # fmt: skip
    torch.save(
        {"state_dict": {"conv1.weight": torch.ones(2)}, "meta": left, "message_hub": history},
        tmp_path / "weights.pth",
        _use_new_zipfile_serialization=zipped,
    )
    monkeypatch.delitem(sys.modules, theirs.__name__)
    checkpoint = read_checkpoint(tmp_path / "weights.pth")
    assert checkpoint.tensors["trunk.conv1.weight"].tolist() == [1, 1]
    assert checkpoint.config == "0.5 3 1.5 True"
    assert theirs.__name__ not in sys.modules


@pytest.mark.parametrize(
    "call",
    [
        (eval, "1"),
        (subprocess.Popen, "ls"),
        (__import__, "this"),
        (open, "x", "w"),
        (bytearray, 60_000_000_000),  # all memory
    ],
)
def test_files_that_ask_for_functions_of_python_are_refused(tmp_path, call):
    class Calls:
        def __reduce__(self):
            return call[0], call[1:]

    content = {"state_dict": {"conv1.weight": torch.ones(2)}, "meta": {"best": Calls()}}
    torch.save(content, tmp_path / "evil.pth")
    refused(tmp_path / "evil.pth", r"asks for .*harm")


def test_settings_that_are_no_text_are_not_made_into_one(tmp_path):
    nested = []
    for _ in range(40):  # as text, 2 ** 40 pairs of brackets
        nested = [nested, nested]
    content = {"state_dict": {"conv1.weight": torch.ones(2)}, "meta": {"config": "x", "n": nested}}
    torch.save(content, tmp_path / "nested.pth")
    assert read_checkpoint(tmp_path / "nested.pth").config == "x"


def test_tensors_may_share_memory(tmp_path):
    flat = torch.arange(60_000.0)
    parts = {"a.weight": flat[:30_000], "b.weight": flat[30_000:], "c.weight": flat[::2]}
    tied = parts | {"d.weight": parts["a.weight"], "e.weight": parts["a.weight"].view(300, 100).T}
    torch.save({"state_dict": tied, "ema": dict(tied)}, tmp_path / "weights.pth")
    tensors = read_checkpoint(tmp_path / "weights.pth").tensors
    for name, tensor in tied.items():
        assert torch.equal(tensors[f"trunk.{name}"], tensor)


TWO = {"backbone.conv1.weight": torch.zeros(2), "backbone.bn1.running_mean": torch.zeros(2)}


@pytest.mark.parametrize(
    "second",
    [
        {"state_dict": {**TWO, "ema_backbone_conv1_weight": torch.ones(2)}},
        {"state_dict": {f"module.{n}": t for n, t in TWO.items()}
         | {"module.ema_backbone_conv1_weight": torch.ones(2)}},
        {"state_dict": TWO, "ema_state_dict": {"module.backbone.conv1.weight": torch.ones(2),
                                               "steps": torch.tensor(5)}},
        {"model": TWO, "state_dict_ema": {"backbone.conv1.weight": torch.ones(2)}},
        {"model": TWO, "ema": {"module": {"backbone.conv1.weight": torch.ones(2)}, "updates": 3}},
        {"model": TWO, "model_ema": {"module.backbone.conv1.weight": torch.ones(2),
                                     "n_averaged": torch.tensor(5)}},
    ],
)  # fmt: skip
def test_a_second_set_of_weights_is_told_from_the_first(tmp_path, second):
    torch.save(second, tmp_path / "weights.pth")
    checkpoint = read_checkpoint(tmp_path / "weights.pth")
    assert sorted(checkpoint.tensors) == ["trunk.bn1.running_mean", "trunk.conv1.weight"]
    assert checkpoint.tensors["trunk.conv1.weight"].tolist() == [0, 0]
    assert [*checkpoint.second] == ["trunk.conv1.weight"]
    assert checkpoint.second["trunk.conv1.weight"].tolist() == [1, 1]


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_run_no_code(tmp_path, zipped):
    torch.save(
        {"state_dict": {"conv1.weight": torch.zeros(1)}, "meta": RunsCode(tmp_path / "owned")},
        tmp_path / "evil.pth",
        _use_new_zipfile_serialization=zipped,
    )
    refused(tmp_path / "evil.pth", r"asks for posix\.mkdir")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(RunsCode(tmp_path / "owned")))
    refused(tmp_path / "evil.pkl", "damaged|asks for")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_files_cut_off_in_the_download(tmp_path, zipped, kept):
    path = tmp_path / "weights.pth"
    torch.save({"conv1.weight": torch.randn(64, 64)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    refused(path, "download it again")
    safetensors.torch.save_file({"conv1.weight": torch.randn(64, 64)}, path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    refused(path, "download it again")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([torch.zeros(1)], "holds a list"),
        (torch.zeros(1), "holds a Tensor"),
        (3, "holds a int"),
        ({}, "no tensors"),
        ({"state_dict": {}, "epoch": 3}, "no tensors"),
        ({"epoch": 3, 5: torch.zeros(1)}, "no tensors"),
        ({"conv1.weight": torch.eye(3).to_sparse()}, "sparse"),
        ({"conv1.weight": torch.zeros(1).expand(10**12)}, "claims"),
        ({"conv1.weight": torch.zeros(1, device="meta")}, "sparse"),
        ({"conv1.weight": torch.zeros(1), "module.conv1.weight": torch.zeros(1)}, "two tensors"),
    ],
)
def test_pickles_with_something_else(tmp_path, content, match):
    torch.save(content, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth", match)


def test_many_names_for_one_tensor_claim_no_more_than_the_file_has(tmp_path):
    tensor = torch.zeros(1000)
    torch.save({f"a{i}.weight": tensor for i in range(100)}, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth", "claims 400000 bytes")


def test_storages_larger_than_the_file(tmp_path):
    torch.save({"conv1.weight": torch.zeros(77777)}, tmp_path / "true.pth")
    with (
        zipfile.ZipFile(tmp_path / "true.pth") as true,
        zipfile.ZipFile(tmp_path / "false.pth", "w") as false,
    ):
        for entry in true.infolist():
            content = true.read(entry)
            if entry.filename.endswith("data.pkl"):
                number = struct.pack("<I", 77777)
                assert content.count(number) == 2  # the storage's length and the tensor's
                content = content.replace(number, struct.pack("<I", 2**31 - 1))
            false.writestr(entry.filename, content)
    refused(tmp_path / "false.pth", "damaged|claims")


def test_archives_that_are_bombs_or_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    refused(tmp_path / "bomb.pth", "compressed")
    with zipfile.ZipFile(tmp_path / "padded.pth", "w") as archive:  # larger than all it unpacks to
        archive.writestr("archive/data.pkl", bytes(100), zipfile.ZIP_DEFLATED)
        archive.writestr("archive/data/0", bytes(4))
    refused(tmp_path / "padded.pth", "compressed")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photo.txt", "hello")
    refused(tmp_path / "photos.zip", "not a checkpoint of torch.save")


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in "ab"},
        {"a": 3},
        {"__metadata__": {"bottomup": 5}},
    ],
)  # fmt: skip
def test_safetensors_headers_that_lie(tmp_path, header):
    text = json.dumps(header).encode()
    (tmp_path / "lie.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    refused(tmp_path / "lie.safetensors", "damaged safetensors")


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        ("conv1.weight", "trunk.conv1.weight"),
        ("module.1.stage2.0.branches.0.0.conv1.weight", "trunk.stage2.0.branches.0.0.conv1.weight"),
        ("1.module.deconv_layers.0.0.0.weight", "head.deconv_layers.0.0.0.weight"),
        ("final_layers.1.bias", "head.final_layers.1.bias"),
        ("backbone.bn1.weight", "trunk.bn1.weight"),
        ("module.keypoint_head.final_layers.0.bias", "head.final_layers.0.bias"),
        ("keypoint_head.final_layer.bias", "head.final_layers.0.bias"),
        ("final_layer.bias", "trunk.final_layer.bias"),
        ("network.trunk.conv1.weight", "trunk.conv1.weight"),
        ("network._orig_mod.head.final_layers.0.bias", "head.final_layers.0.bias"),
        ("network.mean", "mean"),
        ("std", "std"),
    ],
)
def test_names_of_every_origin(tmp_path, name, standard):
    torch.save({name: torch.ones(2)}, tmp_path / "weights.pth")
    assert list(read_checkpoint(tmp_path / "weights.pth").tensors) == [standard]


def test_configuration_and_description_are_kept(tmp_path):
    content = {
        "state_dict": {"a": torch.ones(1)},
        "meta": {"config": "use_udp=False", "epoch": 3},
        "bottomup": {"x": 1},
    }
    torch.save(content, tmp_path / "weights.pth")
    checkpoint = read_checkpoint(tmp_path / "weights.pth")
    assert "use_udp=False" in checkpoint.config
    assert checkpoint.description == {"x": 1}


def test_fitted_tensors_are_copies_in_the_wanted_format(tmp_path):
    torch.save(
        {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float16).T},
        tmp_path / "weights.pth",
    )
    given = read_checkpoint(tmp_path / "weights.pth").tensors
    (tensor,) = fitted({"trunk.a": torch.zeros(2, 2)}, given, "x").values()
    (tmp_path / "weights.pth").write_bytes(b"overwritten" * 1000)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert tensor.tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", "3", '"x"'])
def test_descriptions_that_are_none(tmp_path, text):
    safetensors.torch.save_file(
        {"a": torch.zeros(1)}, tmp_path / "a.safetensors", {"bottomup": text}
    )
    refused(tmp_path / "a.safetensors", "description of itself")
