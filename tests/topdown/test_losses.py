import numpy as np
import pytest
import torch

from bottomup.method import targets
from bottomup.topdown.losses import DetectorCriterion, PersonCriterion
from bottomup.topdown.person_detector import CenterMaps
from bottomup.topdown.person_net import PersonOutput

MASK = torch.ones(2, 256, 192, dtype=torch.bool)


def joints(seed: int = 0) -> torch.Tensor:
    """2 1 5 3, all labelled."""
    points = (
        torch.rand(2, 1, 5, 2, generator=torch.Generator().manual_seed(seed))
        * torch.tensor([160.0, 220.0])
        + 10
    )
    return torch.cat([points, torch.full((2, 1, 5, 1), 2.0)], dim=3)


def outputs(kind: str) -> PersonOutput:
    generator = torch.Generator().manual_seed(1)
    points = (torch.rand(2, 5, 2, generator=generator) * 190).requires_grad_(kind == "points")
    maps = (
        torch.rand(2, 5, 64, 48, generator=generator).requires_grad_(kind == "heatmap")
        if kind == "heatmap"
        else None
    )
    return PersonOutput(points, torch.ones(2, 5), maps)


@pytest.mark.parametrize("kind", ["heatmap", "points"])
def test_unlabelled_joints_have_no_loss_and_no_gradient(kind):
    keypoints = joints()
    keypoints[0, 0, 2] = 0
    keypoints[1] = 0
    output = outputs(kind)
    (loss,) = PersonCriterion()(output, keypoints, MASK).values()
    learner = output.heatmaps if kind == "heatmap" else output.points
    loss.backward()
    assert loss > 0
    taught = learner.grad.flatten(2).abs().sum(2) > 0
    assert taught.tolist() == [[True, True, False, True, True], [False] * 5]
    everything_else = outputs(kind)
    with torch.no_grad():
        (everything_else.heatmaps if kind == "heatmap" else everything_else.points)[0, 2] += 9
    assert PersonCriterion()(everything_else, keypoints, MASK)[kind].item() == pytest.approx(
        loss.item()
    )


@pytest.mark.parametrize("kind", ["heatmap", "points"])
def test_without_labelled_joints_the_loss_is_zero(kind):
    (loss,) = PersonCriterion()(outputs(kind), torch.zeros(2, 1, 5, 3), MASK).values()
    assert loss == 0


def test_the_loss_of_the_right_answer_is_zero():
    keypoints = joints()
    cells = torch.cat([(keypoints[..., :2] + 0.5) / 4, keypoints[..., 2:]], dim=3)
    maps = targets.render_heatmaps(cells, 64, 48, exact=True)
    points = keypoints[:, 0, :, :2]
    assert (
        PersonCriterion()(PersonOutput(points, torch.ones(2, 5), maps), keypoints, MASK)["heatmap"]
        == 0
    )
    assert PersonCriterion()(PersonOutput(points, torch.ones(2, 5)), keypoints, MASK)["points"] == 0


def test_points_are_compared_in_heights_of_the_crop():
    keypoints = joints()
    off = keypoints[:, 0, :, :2] + torch.tensor([2.56, -2.56])
    loss = PersonCriterion()(PersonOutput(off, torch.ones(2, 5)), keypoints, MASK)["points"]
    assert loss.item() == pytest.approx(0.02, rel=1e-3)


def perfect(boxes: np.ndarray, scale: int) -> CenterMaps:
    """Maps of a 256 x 256 input with exactly one image's boxes."""
    size, stride = 64 // 2**scale, 4 * 2**scale
    center = torch.full((1, 1, size, size), -20.0)
    offset, box_size = torch.zeros(1, 2, size, size), torch.zeros(1, 2, size, size)
    for x0, y0, x1, y1 in boxes:
        middle = (np.array([x0 + x1, y0 + y1]) / 2 + 0.5) / stride
        x, y = middle.astype(int)
        center[0, 0, y, x] = 20.0
        offset[0, :, y, x] = torch.from_numpy(middle - 0.5 - [x, y])
        box_size[0, :, y, x] = torch.tensor([(y1 - y0) / stride, (x1 - x0) / stride])
    return CenterMaps(center, offset, box_size)


def as_keypoints(boxes: np.ndarray) -> torch.Tensor:
    corners = torch.from_numpy(boxes.reshape(1, -1, 2, 2)).float()
    return torch.cat([corners, torch.full((*corners.shape[:3], 1), 2.0)], dim=3)


BOXES = np.array([[20.0, 30, 60, 100], [150, 40, 200, 140], [90, 180, 110, 230]])


def test_right_offsets_and_sizes_have_no_loss():
    losses = DetectorCriterion()(
        [perfect(BOXES, 0), perfect(BOXES[:0], 1)], as_keypoints(BOXES), torch.ones(1, 256, 256) > 0
    )
    assert losses["offset"].item() == pytest.approx(0, abs=1e-5)
    assert losses["size"].item() == pytest.approx(0, abs=1e-5)
    wrong = [perfect(BOXES + 3, 0), perfect(BOXES[:0], 1)]
    assert (
        DetectorCriterion()(wrong, as_keypoints(BOXES), torch.ones(1, 256, 256) > 0)["center"]
        > losses["center"]
    )


def test_a_box_that_does_not_count_and_ignored_regions_have_no_gradient():
    maps = perfect(BOXES, 0)._replace(center=torch.zeros(1, 1, 64, 64, requires_grad=True))
    keypoints = as_keypoints(BOXES)
    keypoints[0, :, :, 2] = 0
    mask = torch.ones(1, 256, 256, dtype=torch.bool)
    mask[:, :128] = False
    losses = DetectorCriterion()([maps], keypoints, mask)
    losses["center"].backward()
    assert losses["offset"] == losses["size"] == 0
    assert (maps.center.grad[0, 0, :32] == 0).all()
    assert (maps.center.grad[0, 0, 32:] > 0).all()


def test_each_scale_learns_from_the_people_that_suit_it():
    """With `largest` 30, a person of 50 cells of the finest map is for the coarse scale only."""
    box = np.array([[20.0, 20, 120, 220]])
    criterion = DetectorCriterion(largest=30, smallest=20)
    mask = torch.ones(1, 256, 256) > 0
    flat = [perfect(box[:0], scale) for scale in (0, 1)]
    flat = [
        maps._replace(center=torch.full_like(maps.center, -9.0, requires_grad=True))
        for maps in flat
    ]
    criterion(flat, as_keypoints(box), mask)["center"].backward()
    middle = [(maps.center.grad[0, 0]) for maps in flat]
    assert middle[0][30, 17] == 0  # ignored
    assert middle[1][15, 8] < 0  # a person is missing here
