import numpy as np
import pytest
import torch

from bottomup.topdown.detectors import Boxes, CenterDetector, suppress
from bottomup.topdown.person_detector import CenterMaps, person_detector


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


class TwoScales(torch.nn.Module):
    """A head that sees one person of 16 x 32 px at (100, 60) of a 256 x 192 input, twice."""

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
