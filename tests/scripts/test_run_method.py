import importlib.util
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from comparison.timing import UNAVAILABLE, read_timing

from tests.support.dots import crowd, dot_net, picture
from tests.support.person_dots import dot_person_net

SCRIPT = Path(__file__).parents[2] / "scripts" / "run_method.py"


@pytest.fixture(scope="module")
def run_method():
    spec = importlib.util.spec_from_file_location("run_method", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_method"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photos(tmp_path):
    """Two images with two people each, a damaged one and a missing one."""
    rng = np.random.default_rng(0)
    images, people = [], []
    for number in (1, 2):
        joints = crowd((256, 192), 2, rng)
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture((256, 192), joints)[..., ::-1])
        for person in joints:
            low, high = person.min(0) - 12, person.max(0) + 12
            about = {"id": len(people) + 1, "image_id": number, "category_id": 1}
            keypoints = [float(v) for x, y in person for v in (x, y, 2)]
            box = {"bbox": [*low, *(high - low)]}
            people.append(about | box | {"keypoints": keypoints, "num_keypoints": 3})
    (tmp_path / "3.png").write_bytes(b"nothing")
    images = [{"id": i, "file_name": f"{i}.png", "width": 256, "height": 192} for i in (1, 2, 3, 4)]
    category = {"id": 1, "name": "dots", "keypoints": ["red", "green", "blue"]}
    content = {"images": images, "annotations": people, "categories": [category]}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    return tmp_path


def call(run_method, monkeypatch, photos, *arguments: str) -> int:
    files = [f"--{name}={photos / name}.json" for name in ("annotations", "results", "timing")]
    monkeypatch.setattr(
        sys, "argv", ["run_method", arguments[0], f"--images={photos}", *files, *arguments[1:]]
    )
    return run_method.main()


@pytest.mark.parametrize("name", ["bottomup", "topdown_heatmap"])
def test_results_and_timing_of_every_photo(run_method, monkeypatch, photos, name):
    monkeypatch.setattr(run_method, "load_model", lambda weights: dot_net())
    monkeypatch.setattr(run_method, "available", lambda weights: weights)
    monkeypatch.setattr(
        "bottomup.topdown.predictor.load_network", lambda weights, builders: dot_person_net()
    )
    extra = ["--boxes=truth"] if name == "topdown_heatmap" else []
    assert call(run_method, monkeypatch, photos, name, *extra) == 0
    results = json.loads((photos / "results.json").read_bytes())
    timing = read_timing(photos / "timing.json")
    assert sorted({r["image_id"] for r in results}) == [1, 2]
    assert all(len(r["keypoints"]) == 9 for r in results)
    assert [row.image_id for row in timing.images] == [1, 2, 3, 4]
    assert [row.people for row in timing.images] == [2, 2, None, None]
    stages = {"read", "pose", "group", "aggregate" if name == "bottomup" else "detect"}
    assert all(set(row.ms) == stages for row in timing.images[:2])
    assert "not an image" in timing.images[2].error
    assert timing.gflops is not None
    assert timing.parameters == 0


def test_limit_and_a_file_of_boxes(run_method, monkeypatch, photos):
    monkeypatch.setattr(run_method, "available", lambda weights: weights)
    monkeypatch.setattr(
        "bottomup.topdown.predictor.load_network", lambda weights, builders: dot_person_net()
    )
    box = {"image_id": 1, "bbox": [10, 10, 90, 150], "score": 0.5}
    (photos / "boxes.json").write_text(json.dumps([box]))
    boxes = f"--boxes={photos / 'boxes.json'}"
    assert call(run_method, monkeypatch, photos, "topdown_heatmap", boxes, "--limit=2") == 0
    assert [row.people for row in read_timing(photos / "timing.json").images] == [1, 0]
    assert len(json.loads((photos / "results.json").read_bytes())) == 1


def test_missing_weights_are_unavailable(run_method, monkeypatch, photos, capsys):
    monkeypatch.setattr(run_method, "bundled", dict)
    assert call(run_method, monkeypatch, photos, "topdown_regression") == UNAVAILABLE
    assert "bottomup fit" in capsys.readouterr().err
    assert not (photos / "results.json").exists()


def test_annotations_of_another_kind_are_wrong_usage(run_method, monkeypatch, photos, capsys):
    (photos / "annotations.json").write_text("[]")
    assert call(run_method, monkeypatch, photos, "bottomup") == 2
    assert "not a COCO file" in capsys.readouterr().err
