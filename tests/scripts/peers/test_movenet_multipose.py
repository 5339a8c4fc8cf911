import json
import os
from pathlib import Path

import contract
import frames
import human_models
import movenet_multipose
import numpy as np
import pytest

ROW = np.concatenate([np.tile([0.25, 0.5, 0.9], 17), [0, 0, 1, 1, 0.8]])  # y, x, score; box; score


def run(words, *more) -> int:
    add = movenet_multipose.add_arguments
    return contract.main(
        "multipose",
        "",
        movenet_multipose.prepare,
        add_arguments=add,
        argv=[*words, *map(str, more)],
    )


def test_places_are_shares_of_the_input():
    window = frames.Window(np.zeros((100, 200, 3), np.uint8), (2.0, 2.0), (0.0, 10.0))
    unused = np.zeros(56)
    ((keypoints, score),) = movenet_multipose.people(np.stack([ROW, unused]), window)
    np.testing.assert_allclose(
        keypoints, np.tile([100 / 2 - 0.5, (25 - 10) / 2 - 0.5, 0.9], (17, 1))
    )
    assert score == 0.8


def test_a_made_up_network_from_end_to_end(words, package, tmp_path):
    folder = package(movenet_multipose=("output_0", np.stack([ROW, ROW * 0])[None]))
    assert run(words, "--package", folder, "--long-side", 128) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert [person["image_id"] for person in results] == [5, 8]
    np.testing.assert_allclose(
        results[0]["keypoints"][:3], [39.5, 9.5, 0.9], atol=1e-3
    )  # of 80 x 40 pixels
    timing = json.loads((tmp_path / "timing.json").read_text())
    assert timing["method"] == "multipose_128"
    assert timing["parameters"] == 112


def test_without_the_package_the_peer_is_unavailable(words, monkeypatch, capsys, tmp_path):
    monkeypatch.delenv(human_models.VARIABLE, raising=False)
    assert run(words) == 4
    assert "npm pack" in capsys.readouterr().err.splitlines()[-1]
    assert run(words, "--package", tmp_path / "gone.tgz") == 4
    (tmp_path / "movenet-multipose.json").write_text("{}")
    assert run(words, "--package", tmp_path) == 4
    assert "not a TensorFlow.js graph model" in capsys.readouterr().err


@pytest.mark.skipif(
    "HUMAN_MODELS" not in os.environ, reason="HUMAN_MODELS does not name the npm package"
)
def test_the_network_itself_finds_the_officer(tmp_path, words):
    samples = Path(__file__).parents[3] / "bottomup" / "samples"
    (tmp_path / "list.json").write_text(
        json.dumps({"images": [{"id": 1, "file_name": "officer.jpg"}]})
    )
    words = [*words, "--images", str(samples), "--annotations", str(tmp_path / "list.json")]
    assert run(words, "--long-side", 256) == 0
    best = max(
        json.loads((tmp_path / "results.json").read_text()), key=lambda person: person["score"]
    )
    assert best["score"] > 0.5
