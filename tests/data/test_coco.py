import copy
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as masks

from bottomup import COCO, CROWDPOSE
from bottomup.data.coco import read_annotations
from bottomup.data.keypoint_files import read_skeleton

KEYPOINTS = [12, 14, 2, 18, 12, 1, *[0] * 45]


def annotations() -> dict:
    crowd = np.zeros((40, 60), np.uint8, order="F")
    crowd[:10, :20] = 1
    runs = masks.encode(crowd)
    person = {"category_id": 1, "iscrowd": 0, "area": 100}
    return {
        "images": [
            {"id": 7, "file_name": "b.png", "width": 60, "height": 40},
            {"id": 3, "file_name": "a.png", "width": 60, "height": 40},
        ],
        "annotations": [
            person | {"id": 1, "image_id": 7, "keypoints": KEYPOINTS, "bbox": [10, 10, 20, 20],
                      "segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]]},
            person | {"id": 2, "image_id": 7, "keypoints": [0] * 51, "bbox": [40, 20, 10, 10],
                      "segmentation": [[40, 20, 50, 20, 50, 30, 40, 30]]},
            person | {"id": 3, "image_id": 7, "keypoints": [0] * 51, "bbox": [0, 0, 20, 10],
                      "segmentation": {"size": [40, 60], "counts": runs["counts"].decode()},
                      "iscrowd": 1},
            person | {"id": 4, "image_id": 7, "keypoints": [0] * 51, "bbox": [52, 32, 4, 4]},
        ],
        "categories": [
            {"id": 1, "name": "person", "keypoints": list(COCO.keypoints), "skeleton": []},
        ],
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((40, 60, 3), np.uint8))
    return tmp_path


def write(folder, content) -> str:
    path = folder / "annotations.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_people_and_ignored_regions_are_read(folder):
    read = read_annotations(write(folder, annotations()), folder)
    assert read.skeleton is COCO
    assert [record.image_id for record in read.records] == [3, 7]
    empty, full = read.records
    assert empty.keypoints.shape == (0, 17, 3)
    assert empty.mask().all()
    assert full.keypoints.shape == (1, 17, 3)
    np.testing.assert_array_equal(full.keypoints[0, 1], [18, 12, 1])
    expected = np.ones((40, 60), bool)
    expected[20:30, 40:50] = False  # a person without keypoints
    expected[:10, :20] = False  # a crowd
    expected[32:36, 52:56] = False  # a person without keypoints or outline
    np.testing.assert_array_equal(full.mask(), expected)


def test_crowdpose_and_own_joints_are_recognised(folder):
    content = annotations()
    content["annotations"] = []
    content["categories"][0]["keypoints"] = list(CROWDPOSE.keypoints)
    assert read_annotations(write(folder, content), folder).skeleton is CROWDPOSE
    content["categories"][0] |= {
        "keypoints": ["left_ear", "right_ear", "tail"],
        "skeleton": [[1, 3]],
    }
    skeleton = read_skeleton(write(folder, content))
    assert skeleton.flip_indices == (1, 0, 2)
    assert skeleton.edges == ((0, 2),)
    assert skeleton.sigmas == (0.035, 0.035, 0.05)
    assert read_skeleton(write(folder, content), (0.1, 0.1, 0.2)).sigmas == (0.1, 0.1, 0.2)


def test_counts_that_contradict_the_joints_are_warned_of(folder, caplog):
    content = annotations()
    content["annotations"][0]["num_keypoints"] = 0
    read_annotations(write(folder, content), folder)
    assert (
        "contradicts the labelled joints of 1 annotations (the first ones have the ids 1)"
        in caplog.text
    )


@pytest.mark.parametrize(
    ("person", "is_odd"),
    [
        ({"keypoints": KEYPOINTS}, False),
        ({"keypoints": KEYPOINTS, "num_keypoints": 2}, False),
        ({"keypoints": KEYPOINTS, "num_keypoints": 17}, False),  # only none or some matters
        ({"keypoints": KEYPOINTS, "num_keypoints": 0}, True),
        ({"num_keypoints": 3}, True),
    ],
)
def test_only_counts_that_contradict_the_joints_are_warned_of(folder, caplog, person, is_odd):
    content = annotations()
    content["annotations"] = [{"id": 1, "image_id": 7, "category_id": 1} | person]
    read_annotations(write(folder, content), folder)
    assert ("contradicts" in caplog.text) == is_odd


def _change(path, value):
    def change(content):
        at = content
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_change(["annotations", 1, "keypoints"], [0] * 50),
         r"annotations\[1\] \(id 2\): keypoints has 50 numbers"),
        (_change(["annotations", 0, "keypoints", 2], 3),
         r"annotations\[0\] \(id 1\): joint 1: visibilities must be 0, 1 or 2"),
        (_change(["annotations", 0, "keypoints", 0], None),
         r"\(id 1\): joint 1: \[None, 14\] are not finite numbers"),
        (_change(["annotations", 0, "keypoints"], "none"),
         r"\(id 1\): keypoints has 'none' numbers"),
        (_change(["annotations", 2, "image_id"], 99),
         r"annotations\[2\] \(id 3\): image_id 99 is not among"),
        (_change(["annotations", 3, "bbox"], [1, 2, 3]), r"\(id 4\): bbox must be"),
        (_change(["images", 1, "width"], "60"),
         r"images\[1\] \(id 3\): 'width' is '60', not a whole number"),
        (_change(["images", 1, "id"], 7), r"images\[1\] \(id 7\): images\[0\] has the same id"),
        (_change(["annotations", 3, "id"], 1),
         r"annotations\[3\] \(id 1\): annotations\[0\] has the same id"),
        (_change(["annotations", 3], 5), r"annotations\[3\]: is 5, not an object"),
        (_change(["categories"], []), r"needs one category that names keypoints"),
        (_change(["images"], None), r"has no list 'images'"),
        (_change(["categories", 0, "keypoints"], ["tail", "tail"]),
         r"category 'person': keypoint names must be"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_named(folder, change, message):
    content = copy.deepcopy(annotations())
    change(content)
    with pytest.raises(ValueError, match=message):
        read_annotations(write(folder, content), folder)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ("[]", "is it a results file")]
)
def test_a_file_of_another_kind_is_refused(folder, text, message):
    with pytest.raises(ValueError, match=message):
        read_annotations(write(folder, text), folder)


def test_missing_images_are_listed_and_skipped_only_on_request(folder, caplog):
    (folder / "a.png").unlink()
    path = write(folder, annotations())
    with pytest.raises(
        FileNotFoundError, match=r"1 of 2 images are missing:\n  .*a\.png\n.*--data\.missing skip"
    ):
        read_annotations(path, folder)
    read = read_annotations(path, folder, missing="skip")
    assert [record.image_id for record in read.records] == [7]
    assert "a.png" in caplog.text
    with pytest.raises(ValueError, match="missing must be"):
        read_annotations(path, folder, missing="maybe")
    with pytest.raises(ValueError, match=r"no\.json' cannot be read: No such file"):
        read_annotations(folder / "no.json", folder)
