import json

import numpy as np
import pytest
from comparison.listed_boxes import ListedBoxes, TrueBoxes

IMAGE = np.zeros((60, 80, 3), np.uint8)


def annotations(tmp_path, **person):
    content = {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 80, "height": 60},
            {"id": 8, "file_name": "sub/b.png", "width": 80, "height": 60},
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 3,
                "bbox": [10, 20, 30, 25],
                "keypoints": [1, 2, 2],
                **person,
            }
        ],
        "categories": [{"id": 3, "name": "person", "keypoints": ["nose"]}],
    }  # fmt: skip
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def results(tmp_path, content):
    path = tmp_path / "boxes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


BOX = {"image_id": 7, "category_id": 1, "bbox": [10, 20, 30, 25], "score": 0.5}


def test_listed_boxes_go_by_the_name_of_the_image(tmp_path):
    entries = [
        BOX,
        {**BOX, "score": 0.9},
        {**BOX, "category_id": 2},
        {**BOX, "image_id": 99},
        {**BOX, "score": 0.1},
    ]
    detector = ListedBoxes(results(tmp_path, entries), annotations(tmp_path), min_score=0.3)
    found = detector(IMAGE, "a.png")
    assert found.scores.tolist() == [0.9, 0.5]
    assert found.boxes.tolist() == [[10, 20, 40, 45]] * 2
    assert len(detector(IMAGE, "sub/b.png")) == 0
    assert len(detector(IMAGE, "somewhere/a.png")) == 2
    with pytest.raises(ValueError, match=r"no image 'c\.png'"):
        detector(IMAGE, "c.png")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ({"a": 1}, "holds a dict, not a list of results"),
        ([{"image_id": 7, "score": 1}], "entry 0 is no box"),
        ([BOX, {**BOX, "bbox": [1, 2, 3]}], "entry 1 is no box"),
        ([{**BOX, "bbox": [1, 2, -3, 4]}], "entry 0 .image 7. has the bbox"),
        ([{**BOX, "score": float("nan")}], "score nan"),
        (["x"], "entry 0 is no box"),
    ],
)
def test_bad_files_are_refused_with_the_entry(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        ListedBoxes(results(tmp_path, content), annotations(tmp_path))


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        ListedBoxes(tmp_path / "no.json", annotations(tmp_path))


@pytest.mark.parametrize(
    ("person", "count"),
    [({}, 1), ({"iscrowd": 1}, 0), ({"keypoints": [0, 0, 0]}, 0), ({"keypoints": None}, 0)],
)
def test_true_boxes_are_those_of_labelled_people(tmp_path, person, count):
    found = TrueBoxes(annotations(tmp_path, **person))(IMAGE, "a.png")
    assert len(found) == count
    assert found.boxes.tolist() == [[10, 20, 40, 45]] * count
