import json

import contract
import frames
import movenet_thunder
import numpy as np
import pytest

POSE = np.tile([0.5, 0.5, 0.6], (17, 1))


def run(words, *more) -> int:
    add = movenet_thunder.add_arguments
    return contract.main(
        "thunder", "", movenet_thunder.prepare, add_arguments=add, argv=[*words, *map(str, more)]
    )


@pytest.fixture
def networks(package):
    """A detector that finds one person three times, and a dog; joints in the centre of the crop."""
    detections = np.zeros((1, 100, 6))
    detections[0, :4] = [
        [128, 192, 256, 320, 0.8, 0],
        [130, 192, 256, 320, 0.7, 0],
        [0, 0, 512, 512, 0.1, 0],
        [0, 0, 90, 90, 0.9, 16],
    ]
    return package(
        movenet_thunder=("Identity:0", POSE[None, None]),
        centernet=("tower_0/detections", detections),
    )


def test_boxes_of_people_in_the_image():
    window = frames.Window(np.zeros((512, 512, 3), np.uint8), (2.0, 2.0), (0.0, 100.0))
    rows = np.array(
        [[100, 200, 300, 400, 0.9, 0], [102, 200, 300, 400, 0.8, 0], [0, 0, 9, 9, 0.9, 1]]
    )
    found = movenet_thunder.people_boxes(rows, window, 0.25)
    np.testing.assert_allclose(found, [[50, 50, 150, 150, 0.9]])


def test_a_person_scores_as_its_box_and_its_joints():
    window = frames.Window(np.zeros((256, 256, 3), np.uint8), (2.0, 2.0), (-20.0, 0.0))
    keypoints, score = movenet_thunder.person(POSE, window, 0.5)
    np.testing.assert_allclose(keypoints[0], [(128 + 20) / 2 - 0.5, 63.5, 0.6])
    assert score == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("detector", {5: [[29.5, 19.5]], 8: [[7.0, 29.5]]}),
        ("truth", {8: [[4.5, 4.5]]}),
        ("file", {5: [[19.5, 9.5], [59.5, 29.5]]}),
    ],
)
def test_boxes_of_every_source(words, networks, tmp_path, source, found):
    if source == "file":
        source = tmp_path / "boxes.json"
        boxes = [[10, 0, 20, 20], [50, 20, 20, 20], [900, 900, 5, 5]]
        rows = [{"image_id": 5, "category_id": 1, "bbox": box, "score": 0.5} for box in boxes]
        source.write_text(json.dumps(rows))
    assert run(words, "--package", networks, "--boxes", source) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    places = {}
    for person in results:
        places.setdefault(person["image_id"], []).append(person["keypoints"][:2])
    assert places.keys() == found.keys()
    for image_id, expected in found.items():
        np.testing.assert_allclose(places[image_id], expected, atol=1)
    stages = json.loads((tmp_path / "timing.json").read_text())["images"][0]["ms"].keys()
    assert stages == ({"read", "detect", "pose"} if source == "detector" else {"read", "pose"})


def test_a_boxes_file_that_is_missing(words, networks, tmp_path, capsys):
    assert run(words, "--package", networks, "--boxes", tmp_path / "gone.json") == 2
    assert "gone.json: cannot be read" in capsys.readouterr().err
