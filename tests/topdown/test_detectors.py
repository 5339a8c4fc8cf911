import json

import numpy as np
import pytest
import torch

from bottomup.topdown.detectors import Boxes, CenterDetector, ListedBoxes, TrueBoxes, suppress
from bottomup.topdown.person_detector import CenterMaps, person_detector

IMAGE = np.zeros((60, 80, 3), np.uint8)


def annotations(tmp_path, **person):
    content = {
        "images": [{"id": 7, "file_name": "a.png", "width": 80, "height": 60}, {"id": 8, "file_name": "sub/b.png"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 20, 30, 25], "keypoints": [1, 2, 2], **person}
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


def test_suppression_equals_a_slow_version():
    rng = np.random.default_rng(0)
    for _ in range(20):
        low = rng.uniform(0, 60, (12, 2))
        boxes = Boxes(
            np.concatenate([low, low + rng.uniform(5, 50, (12, 2))], 1),
            rng.uniform(0, 1, 12).round(1),
        )
        kept: list[int] = []
        for i in sorted(range(12), key=lambda i: -boxes.scores[i]):
            if all(overlap(boxes.boxes[i], boxes.boxes[j]) <= 0.4 for j in kept):
                kept.append(i)
        assert suppress(boxes, 0.4).tolist() == kept
    assert suppress(Boxes(np.zeros((0, 4)), np.zeros(0)), 0.5).tolist() == []


def overlap(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return shared / (sum(areas) - shared)


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


class TwoScales(torch.nn.Module):
    """A head that sees one person of 16 x 32 px at (100, 60) of a 256 x 192 input at both scales."""

    def forward(self, features):
        maps = []
        for scale, (height, width) in enumerate(((48, 64), (24, 32))):
            stride = 4 * 2**scale
            place = ((100 + 0.5) / stride, (60 + 0.5) / stride)
            x, y = map(int, place)
            center = torch.full((1, 1, height, width), -9.0)
            center[0, 0, y, x] = 2.0 - scale
            offset, size = torch.zeros(1, 2, height, width), torch.zeros(1, 2, height, width)
            offset[0, :, y, x] = torch.tensor([place[0] - 0.5 - x, place[1] - 0.5 - y])
            size[0, :, y, x] = torch.tensor([32 / stride, 16 / stride])
            maps.append(CenterMaps(center, offset, size))
        return maps


def test_a_person_seen_at_two_scales_is_one_box_where_it_is():
    net = person_detector(input_size=256)
    net.trunk, net.head = torch.nn.Identity(), TwoScales()
    found = CenterDetector(net)(np.zeros((384, 512, 3), np.uint8))
    expected = (np.array([[92, 44, 108, 76]]) + 0.5) * 2 - 0.5
    np.testing.assert_allclose(found.boxes, expected, atol=0.01)
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(-2.0)), rtol=1e-5)
    assert len(CenterDetector(net, min_score=0.95)(np.zeros((384, 512, 3), np.uint8))) == 0


def test_other_networks_are_refused():
    with pytest.raises(ValueError, match="holds the network 'mobile', and person_detector can"):
        CenterDetector("mobile")
