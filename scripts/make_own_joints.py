"""Make photos with four joints of one's own, to try the recipe custom_keypoints.

    python scripts/make_own_joints.py OUT                      # drawn boards with four markers
    python scripts/make_own_joints.py OUT --people FILE PHOTOS # shoulders and hips of a COCO file

OUT/train.json and OUT/train then hold 30 photos to learn from, OUT/val.json and OUT/val 30 others.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bottomup.data.keypoint_files import read_keypoints

NUM_PHOTOS = 30  # of each kind
WIDTH, HEIGHT = 640, 480
COLOURS = {"red": (230, 40, 40), "green": (40, 200, 60), "blue": (50, 80, 240),
           "yellow": (240, 210, 40)}  # fmt: skip
CORNERS = np.array([[-0.6, -0.7], [0.6, -0.7], [-0.5, 0.7], [0.5, 0.7]])
BOARD = {
    "name": "board",
    "keypoints": list(COLOURS),
    "skeleton": [[1, 2], [2, 4], [4, 3], [3, 1]],
}
JOINTS = ["left_shoulder", "right_shoulder", "left_hip", "right_hip"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="the new folder")
    parser.add_argument("--people", nargs=2, type=Path, metavar=("FILE", "PHOTOS"))
    arguments = parser.parse_args()
    for number, kind in enumerate(("train", "val")):
        folder = arguments.out / kind
        folder.mkdir(parents=True, exist_ok=True)
        if arguments.people:
            file, photos = arguments.people
            labels = people(file, photos, folder, start=number * NUM_PHOTOS)
        else:
            labels = boards(folder, np.random.default_rng(number + 1))
        (arguments.out / f"{kind}.json").write_text(json.dumps(labels))
        counts = f"{len(labels['images'])} photos, {len(labels['annotations'])} labelled"
        print(f"{folder}: {counts}")


def boards(folder: Path, rng: np.random.Generator) -> dict[str, Any]:
    """Draw photos of one to four boards; returns their labels."""
    images, annotations = [], []
    for number in range(1, NUM_PHOTOS + 1):
        coarse = rng.normal(0, 30, (HEIGHT // 16, WIDTH // 16, 3)).astype(np.float32)
        noise = cv2.resize(coarse, (WIDTH, HEIGHT)) + rng.normal(0, 6, (HEIGHT, WIDTH, 3))
        picture = np.clip(rng.integers(60, 200, 3) + noise, 0, 255).astype(np.uint8)
        for corners, radius in _places(rng):
            outline = corners[[0, 1, 3, 2]].round().astype(np.int32)
            cv2.fillPoly(picture, [outline], rng.integers(0, 256, 3).tolist())
            for centre, colour in zip(corners, COLOURS.values(), strict=True):
                place = [round(value) for value in centre.tolist()]
                cv2.circle(picture, place, radius, colour, -1, cv2.LINE_AA)
            low, high = corners.min(0) - radius, corners.max(0) + radius
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": 1,
                "keypoints": np.insert(corners, 2, 2, axis=1).ravel().tolist(),
                "bbox": [*low.tolist(), *(high - low).tolist()],
            })  # fmt: skip
        name = f"{number:03}.jpg"
        cv2.imwrite(str(folder / name), picture[..., ::-1])
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
    return {"images": images, "annotations": annotations, "categories": [{"id": 1} | BOARD]}


def _places(rng: np.random.Generator) -> list[tuple[np.ndarray, int]]:
    """Corners of boards that do not touch, and the radius of their markers."""
    found: list[tuple[np.ndarray, float, np.ndarray]] = []
    for _ in range(rng.integers(1, 5)):
        size = rng.uniform(40, 110)
        centre = rng.uniform(size, [WIDTH - size, HEIGHT - size])
        if all(np.linalg.norm(centre - other) > size + theirs for other, theirs, _ in found):
            angle = rng.uniform(-0.6, 0.6)
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            corners = (CORNERS + rng.normal(0, 0.08, (4, 2))) * size @ turn + centre
            found.append((centre, size, corners))
    return [(corners, max(3, int(size * 0.12))) for _, size, corners in found]


def people(file: Path, photos: Path, folder: Path, *, start: int) -> dict[str, Any]:
    """Copy photos of somebody with all four joints; returns the labels reduced to these."""
    raw = read_keypoints(file).raw
    (category,) = (category for category in raw["categories"] if category.get("keypoints"))
    chosen = [category["keypoints"].index(name) for name in JOINTS]
    by_image: dict[int, list[dict[str, Any]]] = {}
    for person in raw["annotations"]:
        keypoints = np.reshape(person["keypoints"], (-1, 3))[chosen]
        reduced = {"keypoints": keypoints.ravel().tolist(), "num_keypoints": None}
        by_image.setdefault(person["image_id"], []).append(person | reduced)
    images = [
        info
        for info in raw["images"]
        if any(all(p["keypoints"][2::3]) for p in by_image.get(info["id"], []))
    ][start : start + NUM_PHOTOS]
    for info in images:
        shutil.copy(photos / info["file_name"], folder / info["file_name"])
    return {
        "images": images,
        "annotations": [person for info in images for person in by_image[info["id"]]],
        "categories": [{"id": category["id"], "name": "person", "keypoints": JOINTS}],
    }


if __name__ == "__main__":
    main()
