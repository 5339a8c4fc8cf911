import numpy as np
import pytest
import torch

from bottomup import Skeleton
from bottomup.method import targets
from bottomup.method.aggregation import combine
from bottomup.method.grouping import Grouper
from bottomup.method.voting_losses import VotingCriterion, focal_loss, person_boxes, read_cells
from bottomup.models.center_voting import CenterVotingHead, DenseMaps
from bottomup.models.network import Preprocessing
from bottomup.models.pose_net import PoseNet

NAMES = ["center", "heatmap", "displacement", "size"]


def crowd(*people: tuple[float, float, float]) -> torch.Tensor:
    """1 N 17 3 keypoints: joints in a square of some size about a centre, in input pixels."""
    rng = np.random.default_rng(0)
    shape = rng.uniform(-0.5, 0.5, (17, 2))
    shape = (shape - (shape.min(0) + shape.max(0)) / 2) / np.ptp(shape, axis=0)
    rows = [np.column_stack([shape * size + (x, y), np.full(17, 2.0)]) for x, y, size in people]
    return torch.from_numpy(np.stack(rows)[None]).float()


def perfect_maps(
    keypoints: torch.Tensor, size: int, stride: int, criterion: VotingCriterion
) -> DenseMaps:
    """What a perfect network says at one scale, written down person by person."""
    cells = size // stride
    people = torch.cat([(keypoints[..., :2] + 0.5) / stride, keypoints[..., 2:]], dim=3)
    boxes, sides = person_boxes(people)
    sigma = targets.adaptive_sigma(people, sigma=criterion.sigma)
    heat = targets.render_heatmaps(
        people, cells, cells, sigma=sigma, max_sigma=criterion.sigma, exact=True
    )
    center, displacements = torch.zeros(1, 1, cells, cells), torch.zeros(1, 34, cells, cells)
    box_size = torch.zeros(1, 2, cells, cells)
    at = (
        torch.stack(torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="xy"), -1)
        + 0.5
    )
    for person, middle, side in zip(people[0], boxes[0], sides[0], strict=True):
        length = float(side.max()) * criterion.box_factor
        spread = max(criterion.center_sigma * length, 1.0)
        center = torch.maximum(center, torch.exp(-(at - middle).square().sum(-1) / (2 * spread**2)))
        x, y = (int(value) for value in middle)
        displacements[0, :, y, x] = (person[:, :2] - torch.tensor([x, y]) - 0.5).flip(1).reshape(-1)
        box_size[0, :, y, x] = length
    return DenseMaps(
        center.clamp(1e-6, 1 - 1e-6).logit(),
        heat.clamp(1e-6, 1 - 1e-6).logit(),
        displacements,
        box_size,
    )


def sharpened(maps: DenseMaps, keypoints: torch.Tensor, stride: int) -> DenseMaps:
    """Sure of the cells that hold a centre, and that no other does."""
    people = torch.cat([(keypoints[..., :2] + 0.5) / stride, keypoints[..., 2:]], dim=3)
    center = torch.full_like(maps.center, -12.0)
    for x, y in person_boxes(people)[0][0].long().tolist():
        center[0, 0, y, x] = 12.0
    return maps._replace(center=center)


def test_perfect_maps_cost_nothing():
    criterion = VotingCriterion()
    keypoints = crowd((60.0, 60.0, 80.0), (180.0, 100.0, 120.0), (120.0, 200.0, 60.0))
    maps = sharpened(perfect_maps(keypoints, 256, 4, criterion), keypoints, 4)
    losses = criterion([maps], keypoints, torch.ones(1, 256, 256, dtype=torch.bool))
    assert list(losses) == NAMES
    for name, loss in losses.items():
        assert loss < 1e-4, name


def test_perfect_maps_are_read_as_the_same_people():
    criterion = VotingCriterion()
    keypoints = crowd((60.0, 60.0, 80.0), (180.0, 100.0, 120.0), (120.0, 200.0, 60.0))
    maps = perfect_maps(keypoints, 256, 4, criterion)
    (output,) = CenterVotingHead(24, 17).read([maps])
    (poses,) = Grouper()(output.heatmaps, output.tags.permute(0, 1, 3, 4, 2))
    assert len(poses) == 3
    found = (poses.keypoints + 0.5) * 4 - 0.5
    for person in keypoints[0, :, :, :2].numpy():
        assert min(np.abs(other - person).max() for other in found) < 1.5


@pytest.mark.parametrize("name", NAMES)
def test_every_error_costs_its_own_loss(name):
    criterion = VotingCriterion()
    keypoints = crowd((100.0, 100.0, 90.0))
    maps = perfect_maps(keypoints, 256, 4, criterion)
    field = {
        "center": "center",
        "heatmap": "heatmaps",
        "displacement": "displacements",
        "size": "box_size",
    }[name]
    wrong = maps._replace(**{field: getattr(maps, field) + 3.0})
    mask = torch.ones(1, 256, 256, dtype=torch.bool)
    before, after = criterion([maps], keypoints, mask), criterion([wrong], keypoints, mask)
    assert [other for other in NAMES if after[other] > before[other] + 0.005] == [name]


def test_displacements_are_measured_in_sizes_of_the_person():
    criterion = VotingCriterion()
    mask = torch.ones(1, 256, 256, dtype=torch.bool)
    for size in (60.0, 120.0):
        keypoints = crowd((128.0, 128.0, size))
        maps = perfect_maps(keypoints, 256, 4, criterion)
        moved = maps._replace(
            displacements=maps.displacements + size / 4 * criterion.box_factor * 0.1
        )
        loss = criterion([moved], keypoints, mask)["displacement"]
        torch.testing.assert_close(
            loss, torch.tensor(0.2), rtol=1e-3, atol=1e-3
        )  # 0.1 along x and along y


def test_each_scale_learns_from_the_people_that_it_suits():
    criterion = VotingCriterion(largest=30.0, smallest=12.0)
    mask = torch.ones(1, 256, 256, dtype=torch.bool)
    small, large = crowd((60.0, 60.0, 40.0)), crowd((128.0, 128.0, 200.0))
    for keypoints, learns in ((small, [True, False]), (large, [False, True])):
        scales = [
            DenseMaps(*(torch.zeros(1, n, size, size, requires_grad=True) for n in (1, 17, 34, 2)))
            for size in (64, 32)
        ]
        sum(criterion(scales, keypoints, mask).values()).backward()
        assert [bool(maps.displacements.grad.abs().sum() > 0) for maps in scales] == learns
        center, _ = person_boxes((keypoints + 0.5) / 4)
        x, y = (int(value) for value in center[0, 0])
        assert (
            bool(scales[0].center.grad[0, 0, y, x] != 0) == learns[0]
        )  # left free where it does not suit
        assert scales[0].center.grad[0, 0, 0, 0] != 0 or not learns[0]


def test_unlabelled_joints_masked_regions_and_padding_are_left_free():
    criterion = VotingCriterion()
    keypoints = torch.cat([crowd((100.0, 100.0, 90.0)), torch.zeros(1, 2, 17, 3)], dim=1)
    keypoints[0, 0, 5] = 0
    maps = DenseMaps(*(torch.zeros(1, n, 64, 64, requires_grad=True) for n in (1, 17, 34, 2)))
    mask = torch.ones(1, 256, 256, dtype=torch.bool)
    mask[:, 200:] = False
    sum(criterion([maps], keypoints, mask).values()).backward()
    heat, ways = maps.heatmaps.grad[0], maps.displacements.grad[0]
    assert heat[5, 25, 25] == 0
    assert heat[6, 25, 25] != 0
    assert heat[:, 50:].abs().sum() == 0
    assert heat[:, :50].abs().sum() > 0
    assert ways[[10, 11]].abs().sum() == 0
    assert ways[[12, 13]].abs().sum() > 0


def test_a_person_with_one_labelled_joint_is_learned_from_by_its_box():
    """Centre and size are those of the box; other joints may be anywhere in it."""
    criterion, mask = VotingCriterion(), torch.ones(1, 256, 256, dtype=torch.bool)
    keypoints = torch.zeros(1, 1, 17, 3)
    keypoints[0, 0, 7] = torch.tensor([110.0, 60.0, 2])
    box = torch.tensor([[[80.0, 40.0, 140.0, 160.0]]])  # centre 110, 100 and 120 pixels long
    maps = DenseMaps(*(torch.zeros(1, n, 64, 64, requires_grad=True) for n in (1, 17, 34, 2)))
    sum(criterion([maps], keypoints, mask, box).values()).backward()
    # the centre's cell, and displacements y, x from its middle in cells, 30 cells long
    center, x, y = maps.center.grad[0, 0], 27, 25
    assert (center[y, x], center[0, 0], center[y + 3, x]) < (0, center[0, 0], 0)
    assert (center < 0).sum() == 1
    away = maps.displacements.grad.abs().sum(1)[0]
    assert away[y, x] > 0
    assert away.sum() == away[y, x]
    right = torch.zeros(1, 34, 64, 64)
    right[0, 14:16, y, x] = torch.tensor([60.5 / 4 - 25.5, 110.5 / 4 - 27.5])
    length = torch.full((1, 2, 64, 64), 30.0)
    found = criterion([maps._replace(displacements=right, box_size=length)], keypoints, mask, box)
    assert found["displacement"] == pytest.approx(0, abs=1e-6)
    assert found["size"] == pytest.approx(0, abs=1e-6)
    # the labelled joint has a map of its own; the others are left free where they may be
    heat = maps.heatmaps.grad[0]
    assert heat[7, 15, 27] < 0
    assert (heat[6, 15:36, 22:34] == 0).all()
    assert heat[6, 5, 5] > 0


def test_a_box_changes_nothing_for_people_with_more_joints_and_none_is_as_before():
    criterion, mask = VotingCriterion(), torch.ones(1, 256, 256, dtype=torch.bool)
    keypoints = torch.cat([crowd((100.0, 100.0, 90.0)), torch.zeros(1, 2, 17, 3)], dim=1)
    keypoints[0, 1, :2] = torch.tensor([[150.0, 90, 2], [160, 120, 1]])  # two joints
    keypoints[0, 2, 5] = torch.tensor([30.0, 200, 2])  # one
    maps = perfect_maps(crowd((100.0, 90.0, 80.0)), 256, 4, criterion)
    boxes = torch.tensor([[[1.0, 2, 250, 200], [0, 0, 200, 200], [30, 200, 30, 200]]])
    before = criterion([maps, maps], keypoints, mask)
    after = criterion([maps, maps], keypoints, mask, boxes)  # the last one has no area
    assert {name: float(loss) for name, loss in after.items()} == {
        name: float(loss) for name, loss in before.items()
    }
    boxes[0, 2] += torch.tensor([-10.0, -20, 20, 30])
    assert criterion([maps, maps], keypoints, mask, boxes)["center"] != before["center"]


class Pixels(torch.nn.Module):
    """A tiny trunk: features at stride 4, of one scale."""

    def __init__(self):
        super().__init__()
        layers = [torch.nn.Conv2d(3, 16, 4, stride=4)]
        layers += [torch.nn.Conv2d(16, 16, 3, padding=1) for _ in range(2)]
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        for layer in self.layers:
            images = torch.relu(layer(images))
        return [images]


def test_a_skeleton_of_one_joint_trains_and_its_people_are_found():
    torch.manual_seed(0)
    ball = Skeleton(("ball",), (), (0.1,), (0,))
    size, places = 128, [[(30, 40), (90, 30)], [(60, 90), (100, 100)]]
    images, keypoints = torch.zeros(2, 3, size, size), torch.zeros(2, 2, 1, 3)
    for number, people in enumerate(places):
        for row, (x, y) in enumerate(people):
            images[number, :, y - 12 : y + 13, x - 12 : x + 13] = 200
            images[number, 0, y - 4 : y + 5, x - 4 : x + 5] = 0
            keypoints[number, row, 0] = torch.tensor([x, y, 2])
    boxes = torch.cat([keypoints[:, :, 0, :2] - 12, keypoints[:, :, 0, :2] + 12], dim=2)
    net = PoseNet(
        Pixels(), CenterVotingHead(16, 1), skeleton=ball, preprocessing=Preprocessing(size, "long")
    )
    criterion, mask = VotingCriterion(), torch.ones(2, size, size, dtype=torch.bool)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    totals = []
    for _ in range(150):
        losses = criterion(net(images), keypoints, mask, boxes)
        total = sum(criterion.weights[name] * loss for name, loss in losses.items())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.1 * totals[0]
    with torch.no_grad():
        maps = combine(net.read(net(images)))
    for people, poses in zip(places, Grouper(skeleton=ball)(*maps), strict=True):
        found = sorted((poses.keypoints[:, 0] * 4 + 1.5).tolist())
        np.testing.assert_allclose(found, sorted(people), atol=3)


def test_an_image_without_people_teaches_only_that_nobody_is_there():
    maps = DenseMaps(*(torch.zeros(1, n, 16, 16, requires_grad=True) for n in (1, 17, 34, 2)))
    losses = VotingCriterion()(
        [maps], torch.zeros(1, 0, 17, 3), torch.ones(1, 64, 64, dtype=torch.bool)
    )
    sum(losses.values()).backward()
    assert torch.isfinite(torch.stack(list(losses.values()))).all()
    assert (maps.center.grad > 0).all()
    assert (maps.heatmaps.grad > 0).all()


def test_the_focal_loss_equals_its_sum_over_cells():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(1, 2, 5, 6)), rng.uniform(size=(1, 2, 5, 6)) * 0.9
    target[0, 0, 2, 3] = target[0, 1, 4, 0] = 1.0
    known = rng.uniform(size=(1, 1, 5, 6)) < 0.8
    known[0, 0, 2, 3] = True
    expected = 0.0
    for _, k, y, x in np.ndindex(target.shape):
        p, t = 1 / (1 + np.exp(-logits[0, k, y, x])), target[0, k, y, x]
        loss = -((1 - p) ** 2) * np.log(p) if t == 1 else -((1 - t) ** 4) * p**2 * np.log(1 - p)
        expected += loss * known[0, 0, y, x]
    actual = focal_loss(
        torch.tensor(logits).float(), torch.tensor(target).float(), torch.tensor(known)
    )
    assert float(actual) == pytest.approx(expected, rel=1e-5)


def test_reading_cells():
    maps = torch.arange(24.0).view(1, 2, 3, 4)
    assert read_cells(maps, torch.tensor([[5, 0]])).tolist() == [[[5.0, 17.0], [0.0, 12.0]]]


def test_heatmaps_at_stride_2_have_a_loss_of_their_own():
    criterion = VotingCriterion()
    keypoints = crowd((100.0, 100.0, 90.0))
    maps = sharpened(perfect_maps(keypoints, 256, 4, criterion), keypoints, 4)
    fine = sharpened(perfect_maps(keypoints, 256, 2, criterion), keypoints, 2).heatmaps
    mask = torch.ones(1, 256, 256, dtype=torch.bool)
    right = criterion([maps._replace(fine_heatmaps=fine)], keypoints, mask)
    wrong = criterion([maps._replace(fine_heatmaps=fine.flip(3))], keypoints, mask)
    assert list(right) == [*NAMES, "fine_heatmap"]
    assert right["fine_heatmap"] < 1e-4
    assert wrong["fine_heatmap"] > 1
    assert all(right[name] == wrong[name] for name in NAMES)


@pytest.mark.parametrize("part", ["center", "heatmaps"])
def test_a_batch_of_nobody_does_not_outweigh_one_with_people(part):
    """The background's gradient is at most 5 times that of four images with ten people."""
    criterion, mask = VotingCriterion(), torch.ones(4, 256, 256, dtype=torch.bool)
    keypoints = crowd((60.0, 60.0, 50.0), (180.0, 100.0, 60.0), (120.0, 200.0, 40.0)).repeat(
        4, 1, 1, 1
    )
    keypoints[2:, 2] = 0
    sizes = []
    for people in (keypoints, torch.zeros_like(keypoints)):
        maps = DenseMaps(
            *(torch.full((4, n, 64, 64), -3.0, requires_grad=True) for n in (1, 17, 34, 2))
        )
        sum(criterion([maps], people, mask).values()).backward()
        sizes.append(getattr(maps, part).grad[..., 60:, 60:].norm())
    assert 1 < sizes[1] / sizes[0] <= 5.001


def test_joints_learn_positions_within_a_cell():
    """A network that is a pixel off pays, unless that is the offset which prediction takes back."""
    criterion, mask = VotingCriterion(), torch.ones(1, 256, 256, dtype=torch.bool)
    keypoints = crowd((128.0, 128.0, 90.0))
    for way in (-1.0, 1.0):  # less than half a cell
        moved = keypoints + torch.tensor([way, way, 0.0])
        maps = [perfect_maps(moved, 256, 4, criterion)]
        assert criterion(maps, keypoints, mask)["heatmap"] > 0.01
        assert criterion(maps, keypoints, mask, offset=-way)["heatmap"] < 1e-4
