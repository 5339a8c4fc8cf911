import io
import json
import tarfile

import numpy as np
import pytest
import tfjs


def test_tensors_of_every_kind():
    data = np.array([0.5, -2], np.float16).tobytes() + np.array([[0, 255]], np.uint8).tobytes()
    data += (
        np.array([7], np.uint16).tobytes()
        + np.array(-3, np.int32).tobytes()
        + np.array([1.25], np.float32).tobytes()
    )
    entries = [
        {"name": "half", "shape": [2], "dtype": "float32", "quantization": {"dtype": "float16"}},
        {
            "name": "byte",
            "shape": [1, 2],
            "dtype": "float32",
            "quantization": {"dtype": "uint8", "scale": 0.1, "min": -1},
        },
        {
            "name": "word",
            "shape": [1],
            "dtype": "float32",
            "quantization": {"dtype": "uint16", "scale": 2, "min": 1},
        },
        {"name": "whole", "shape": [], "dtype": "int32"},
        {"name": "plain", "shape": [1], "dtype": "float32"},
    ]
    tensors = dict(tfjs.read_tensors(entries, data))
    assert tensors["half"].tolist() == [0.5, -2]
    np.testing.assert_allclose(tensors["byte"], [[-1, 24.5]], rtol=1e-6)
    assert tensors["word"].tolist() == [15]
    assert tensors["whole"] == -3
    assert tensors["plain"].tolist() == [1.25]


@pytest.mark.parametrize(
    ("num_bytes", "message"), [(7, "end at byte 7, within b"), (9, "have 9 bytes")]
)
def test_weights_of_the_wrong_length_are_refused(num_bytes, message):
    entries = [{"name": name, "shape": [1], "dtype": "float32"} for name in "ab"]
    with pytest.raises(tfjs.PackageError, match=message):
        dict(tfjs.read_tensors(entries, bytes(num_bytes)))


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "a", "shape": [-1], "dtype": "float32"},
        {"name": "a", "shape": ["x"], "dtype": "float32"},
        {"name": "a", "shape": [1], "dtype": "object"},
        {"name": "a", "shape": [1], "dtype": "float32", "quantization": 7},
        {"shape": [1], "dtype": "float32"},
        "text",
    ],
)
def test_entries_that_make_no_sense(entry):
    with pytest.raises(tfjs.PackageError, match="cannot be read"):
        dict(tfjs.read_tensors([entry], bytes(4)))


def test_a_shape_beyond_all_memory_claims_none():
    entry = {"name": "a", "shape": [2**40, 2**40], "dtype": "float32"}
    with pytest.raises(tfjs.PackageError, match="end at byte 4"):
        dict(tfjs.read_tensors([entry], bytes(4)))


def archive(path, **files):
    with tarfile.open(path, "w:gz") as tgz:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/models/{name.replace('_', '.')}")
            member.size = len(content)
            tgz.addfile(member, io.BytesIO(content))
    return path


def test_folders_and_archives_are_read_alike(tmp_path):
    tgz = archive(tmp_path / "a.tgz", other_json=b"no", net_bin=b"12", net_json=b"{}")
    folder = tmp_path / "unpacked" / "package" / "models"
    folder.mkdir(parents=True)
    (folder / "net.json").write_bytes(b"{}")
    (folder / "net.bin").write_bytes(b"12")
    for package in (tgz, tmp_path / "unpacked", folder):
        read = tfjs.open_package(package, ["net"])
        assert (read("net.json"), read("net.bin")) == (b"{}", b"12")


def test_packages_that_are_none(tmp_path):
    with pytest.raises(tfjs.PackageError, match="npm pack"):
        tfjs.open_package(tmp_path / "absent.tgz", ["net"])
    with pytest.raises(tfjs.PackageError, match=r"no net\.json in it"):
        tfjs.open_package(tmp_path, ["net"])
    with pytest.raises(tfjs.PackageError, match=r"no net\.json in it"):
        tfjs.open_package(archive(tmp_path / "a.tgz", other_json=b"{}"), ["net"])
    (tmp_path / "page.tgz").write_bytes(b"<html>")
    with pytest.raises(tfjs.PackageError, match="not a readable archive"):
        tfjs.open_package(tmp_path / "page.tgz", ["net"])
    whole = archive(
        tmp_path / "b.tgz", net_json=b"{}", net_bin=np.random.default_rng(0).bytes(9000)
    ).read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[:5000])
    with pytest.raises(tfjs.PackageError, match="not a readable archive"):
        tfjs.open_package(tmp_path / "cut.tgz", ["net"])


def test_headers_of_any_length_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setitem(tfjs.MAX_BYTES, ".json", 10)
    (tmp_path / "net.json").write_bytes(bytes(11))
    with pytest.raises(tfjs.PackageError, match="more than 10"):
        tfjs.open_package(tmp_path, ["net"])("net.json")
    with pytest.raises(tfjs.PackageError, match="more than 10"):
        tfjs.open_package(archive(tmp_path / "a.tgz", net_json=bytes(11)), ["net"])


def test_a_model_does_not_reach_beyond_its_folder(tmp_path):
    (tmp_path / "net.json").write_text(
        json.dumps(
            {
                "modelTopology": {"node": []},
                "weightsManifest": [{"paths": ["../secret.bin"], "weights": []}],
            }
        )
    )
    with pytest.raises(tfjs.PackageError, match="outside of its folder"):
        tfjs.read_graph_model(tfjs.open_package(tmp_path, ["net"]), "net.json")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"[" * 100_000, b'{"modelTopology": 1, "weightsManifest": []}']
)
def test_a_file_that_is_no_model(content):
    with pytest.raises(tfjs.PackageError, match="not a TensorFlow"):
        tfjs.read_graph_model(lambda name: content, "net.json")
