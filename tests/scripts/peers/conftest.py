import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

PEERS = Path(__file__).parents[3] / "scripts" / "peers"
sys.path.insert(0, str(PEERS))  # as when one of them is run


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder with two images and a text file; the annotations list these and a missing one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, wh in (("wide.png", (80, 40)), ("tall.png", (30, 60))):
        cv2.imwrite(str(folder / name), np.full((wh[1], wh[0], 3), 90, np.uint8))
    (folder / "text.png").write_text("text")
    names = ("wide", "text", "gone", "tall")
    entries = [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate(names, 5)]
    person = {"image_id": 8, "bbox": [0, 0, 10, 10], "category_id": 1, "num_keypoints": 3, "id": 1}
    (folder / "list.json").write_text(json.dumps({"images": entries, "annotations": [person]}))
    return folder


@pytest.fixture
def words(photos, tmp_path) -> list[str]:
    """The command line that every method takes."""
    options = {"images": photos, "annotations": photos / "list.json"}
    options |= {"results": tmp_path / "results.json", "timing": tmp_path / "timing.json"}
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


@pytest.fixture
def package(tmp_path):
    """Makes an unpacked package of made-up networks, each of which has one constant output."""

    def make(**outputs: tuple[str, np.ndarray]) -> Path:
        folder = tmp_path / "package" / "models"
        folder.mkdir(parents=True)
        for model, (output, array) in outputs.items():
            name = model.replace("_", "-")
            nodes = [
                {"name": "answer", "op": "Const"},
                {"name": "out", "op": "Identity", "input": ["answer"]},
            ]
            entry = {"name": "answer", "shape": list(array.shape), "dtype": "float32"}
            content = {
                "modelTopology": {"node": nodes},
                "signature": {"outputs": {output: {"name": "out:0"}}},
                "weightsManifest": [{"paths": [f"{name}.bin"], "weights": [entry]}],
            }
            (folder / f"{name}.json").write_text(json.dumps(content))
            (folder / f"{name}.bin").write_bytes(array.astype(np.float32).tobytes())
        return tmp_path / "package"

    return make
