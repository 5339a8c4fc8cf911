"""People, results and images for the tests of the comparison."""

import json

import cv2
import numpy as np
from comparison.datasets import CATEGORY, person

STANDING = np.array([
    (0, -40), (2, -42), (-2, -42), (5, -40), (-5, -40), (12, -26), (-12, -26), (16, -8), (-16, -8),
    (18, 8), (-18, 8), (8, 10), (-8, 10), (9, 32), (-9, 32), (9, 52), (-9, 52),
], float)  # fmt: skip
"""Joints about the centre of a person, 94 pixels high."""


def placed(x, y):
    """The joints of a person whose centre is at (x, y)."""
    return STANDING + np.array([x, y], float)


def standing(x, y, *, scale=1.0, visibility=2, **more):
    """The annotation of a person whose centre is at (x, y)."""
    keypoints = np.column_stack([STANDING * scale + (x, y), np.full(17, visibility)])
    low, high = keypoints[:, :2].min(0) - 4 * scale, keypoints[:, :2].max(0) + 4 * scale
    return person(keypoints, [*low, *(high - low)], 0.53 * float(np.prod(high - low))) | more


def truth(*images):
    """Annotations; each image is a list of people."""
    infos = [
        {"id": i, "file_name": f"{i}.jpg", "width": 200, "height": 160}
        for i in range(1, len(images) + 1)
    ]
    entries = [entry | {"image_id": i} for i, people in enumerate(images, 1) for entry in people]
    entries = [entry | {"id": number} for number, entry in enumerate(entries, 1)]
    return {"images": infos, "annotations": entries, "categories": [CATEGORY]}


def result(entry, *, image_id=1, score=1.0, points=None):
    """A result that equals an annotation, or has other places for its joints."""
    keypoints = np.array(entry["keypoints"], float).reshape(17, 3)
    if points is not None:
        keypoints[:, :2] = points
    return {
        "image_id": image_id,
        "category_id": 1,
        "keypoints": keypoints.reshape(-1).tolist(),
        "score": score,
    }


def write(folder, content):
    """Write images of noise, and the annotations; returns the folder and the annotation file."""
    images = folder / "images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for info in content["images"]:
        cells = rng.integers(0, 256, (info["height"] // 8, info["width"] // 8, 3), np.uint8)
        size = (info["width"], info["height"])
        image = cv2.resize(cells, size, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(images / info["file_name"]), image)
    (folder / "annotations.json").write_text(json.dumps(content))
    return images, folder / "annotations.json"
