import json

import cv2
import numpy as np
import pytest

from bottomup import COCO
from bottomup.data.coco import read_annotations


@pytest.fixture
def annotations(tmp_path):
    """Three photos: one person, two people, nobody."""
    images, people = [], []
    for number, count in enumerate((1, 2, 0)):
        image = np.full((48, 64, 3), 40 * number + 40, np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 48})
        for _ in range(count):
            keypoints = [10 + number, 12, 2, 40, 30, 1, *[0] * 45]
            people.append(
                {"id": len(people), "image_id": number, "category_id": 1, "keypoints": keypoints}
            )
    category = {"id": 1, "name": "person", "keypoints": list(COCO.keypoints)}
    content = {"images": images, "annotations": people, "categories": [category]}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    return read_annotations(tmp_path / "annotations.json", tmp_path)
