import argparse
import json
import subprocess
import sys
from pathlib import Path

import contract
import numpy as np
import pytest
from comparison.timing import read_timing

KEYPOINTS = np.arange(51.0).reshape(17, 3)


def prepare(arguments: argparse.Namespace) -> contract.Peer:
    def find(image, entry, watch):
        with watch("pose"):
            count = 1 if entry["file_name"] == "wide.png" else 3
            return [(KEYPOINTS + image.shape[1], 0.5)] * count

    def count_gflops(function):
        return float(len(function()))

    return contract.Peer(find, "tiny", 12, count_gflops, {"onnxruntime": "1"})


def run(words, prepare=prepare, **options) -> int:
    return contract.main("peer", "About.", prepare, argv=words, **options)


def test_results_and_timing(words, tmp_path, capsys):
    assert run(words) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert [person["image_id"] for person in results] == [5, 8, 8, 8]
    assert results[0] == {
        "image_id": 5,
        "category_id": 1,
        "keypoints": (KEYPOINTS + 80).reshape(-1).tolist(),
        "score": 0.5,
    }
    timing = read_timing(tmp_path / "timing.json")
    assert (timing.method, timing.threads, timing.parameters) == ("peer_tiny", 1, 12)
    assert timing.gflops == 3  # of the image with the upper median of people
    assert timing.machine["onnxruntime"] == "1"
    good, text, gone, last = timing.images
    assert (good.image_id, good.file_name, good.people) == (5, "wide.png", 1)
    assert good.ms.keys() == {"read", "pose"}
    assert "not an image" in text.error
    assert "No such file" in gone.error
    assert last.people == 3


def test_limit(words, tmp_path):
    assert run([*words, "--limit", "1"]) == 0
    assert len(read_timing(tmp_path / "timing.json").images) == 1


def test_an_unavailable_peer_says_why_in_its_last_line(words, tmp_path, capsys):
    def prepare(arguments):
        return contract.require("no_such_module", "no-such==1")

    assert run(words, prepare) == contract.UNAVAILABLE == 4
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("peer: no-such==1 is not installed; --help")
    )
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "list no 'images'"),
        ('{"images": []}', "list no 'images'"),
        ('{"images": [{"id": "x", "file_name": "a"}]}', "no whole number 'id'"),
    ],
)
def test_annotations_that_are_none(words, photos, tmp_path, capsys, content, reason):
    (photos / "list.json").write_text(content)
    assert run(words) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "results.json").exists()


def test_a_folder_that_is_missing_is_told_before_the_run(words, tmp_path, capsys):
    assert run([*words, "--results", str(tmp_path / "deep" / "results.json")]) == 2
    assert "make it first" in capsys.readouterr().err


def test_numbers_that_are_not_finite_end_the_run(words, tmp_path, capsys):
    peer = contract.Peer(lambda image, entry, watch: [(KEYPOINTS * np.nan, 0.5)])
    assert run(words, lambda arguments: peer) == 2
    assert "not finite" in capsys.readouterr().err
    assert not (tmp_path / "timing.json").exists()


@pytest.mark.parametrize("number", [0, 3])
def test_outputs_that_do_not_fit_are_not_a_bad_image(words, tmp_path, capsys, number):
    calls = iter(range(9))

    def find(image, entry, watch):
        if next(calls) == number:
            raise ValueError("expected are other shapes")
        return []

    assert run(words, lambda arguments: contract.Peer(find)) == 2
    assert "expected are other shapes" in capsys.readouterr().err
    assert not (tmp_path / "results.json").exists()


def test_the_stopwatch_adds_up():
    watch = contract.Stopwatch()
    for _ in range(2):
        with watch("pose"):
            pass
    assert list(watch.ms) == ["pose"]
    assert watch.ms["pose"] >= 0


def test_peers_do_without_bottomup():
    folder = Path(contract.__file__).parent
    names = [path.stem for path in sorted(folder.glob("*.py"))]
    assert "movenet_multipose" in names
    code = f"import sys; sys.modules['bottomup'] = None; import {', '.join(names)}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)
